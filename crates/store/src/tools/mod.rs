//! What people do with data directories besides running a broker on them: check, export, import and
//! back up. All of it is behind the feature `tools`, so that a program that embeds a broker can
//! leave it out.
//!
//! Only the target of an import or a backup is ever written to. A store that is checked, exported
//! or backed up stays as it is, byte for byte, however damaged it is.

mod backup;
pub mod base64;
mod check;
mod claims;
mod export;
mod import;
mod inspection;
mod line;
mod part;
mod progress;
mod read_only;
mod source;
mod target;
mod user;

pub use backup::{BackupError, BackupOptions, backup};
pub use check::{Checked, Content, check};
pub use export::{ExportError, Exported, export};
pub use import::{ImportError, Imported, import, import_into};
pub use progress::Progress;
pub use read_only::ReadOnlyDisk;
pub use target::{TargetError, is_inside};
