//! Passwords: hashes of them, files of users, and a memory of logins that were right.
//!
//! Nothing here ever shows a password, a generated secret or a hash: neither `Debug`, nor an error,
//! nor a verdict. The one exception is `Display` of a [`PasswordHash`], which writes the text for a
//! password file. A line that is malformed lets nobody in (CVE-2018-12550, CVE-2018-12551), and a
//! file that is not wholly good changes nothing (CVE-2017-7652).

mod argon2id;
mod fields;
mod file_version;
mod generated_secret;
mod password_file;
mod password_hash;
mod password_lines;
mod reloading_password_file;
mod sha512;
mod user_line;
mod verified_logins;

pub use argon2id::Argon2Cost;
pub use file_version::FileVersion;
pub use generated_secret::GeneratedSecret;
pub use password_file::{FileFault, PasswordFile, PasswordFileError};
pub use password_hash::{Algorithm, DeriveError, HashError, OutOfMemory, PasswordHash};
pub use password_lines::PasswordLines;
pub use reloading_password_file::{Changes, ReloadingPasswordFile};
pub use sha512::Iterations;
pub use user_line::{LineError, check_user_name};
