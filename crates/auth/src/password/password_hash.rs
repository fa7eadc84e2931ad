//! The hash of a password or of a generated secret, as it stands in a password file.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::argon2id::{self, Argon2Cost};
use super::fields::Fields;
use super::generated_secret;
use super::sha512::{self, Iterations};

/// The hash of a password. `Display` writes what [`PasswordHash::parse`] reads; `Debug` shows
/// neither salt nor hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    scheme: Scheme,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

/// How a password is hashed that a person has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// argon2id: slow, and it needs memory, which makes guessing expensive. For Midge, and for
    /// mosquitto from 2.1 on.
    Argon2id(Argon2Cost),
    /// PBKDF2 with HMAC-SHA512: for files that mosquitto 2.0 reads too.
    Pbkdf2Sha512(Iterations),
}

/// How a password was hashed, with all parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Argon2id(Argon2Cost),
    Pbkdf2Sha512(Iterations),
    Sha512,
    GeneratedSecret,
}

/// The properties of a hash that decide how long a verification takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    scheme: Scheme,
    salt_bytes: usize,
    digest_bytes: usize,
}

/// The reason for which a text is no hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashError {
    /// The place in the text, in bytes.
    pub offset: usize,
    /// The mistake and its remedy. It repeats nothing of the text.
    pub detail: String,
}

/// There is no memory for a verification now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// How much it needs.
    pub bytes: usize,
}

/// The reason for which a password cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveError {
    /// It is empty.
    Empty,
    /// It is longer than a Password of MQTT can be.
    TooLong,
    /// There is no memory now.
    OutOfMemory(OutOfMemory),
}

impl PasswordHash {
    /// The most bytes that the text of a hash may have.
    pub const TEXT_BYTES_MAX: usize = 512;
    /// The most bytes that MQTT has room for in a Password.
    pub const PASSWORD_BYTES_MAX: usize = 65_535;

    pub(super) fn new(scheme: Scheme, salt: Box<[u8]>, digest: Box<[u8]>) -> Self {
        Self { scheme, salt, digest }
    }

    /// Reads a hash: `$argon2id$…`, `$7$…` or `$6$…` of mosquitto, or `$midge-secret$…`.
    ///
    /// # Errors
    ///
    /// The text is none of these, or its parameters would take more memory or time than a
    /// verification may have.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.len() > Self::TEXT_BYTES_MAX {
            let detail = format!("a hash has at most {} bytes", Self::TEXT_BYTES_MAX);
            return Err(HashError::new(Self::TEXT_BYTES_MAX, detail).at_character_of(text));
        }
        if !text.starts_with('$') {
            let detail = "a hash begins with `$`; if this is a password in plain text, `midge \
                          passwd --upgrade FILE` makes hashes of them";
            return Err(HashError::new(0, detail));
        }
        let mut fields = Fields::new(text);
        let id = fields.next("the name of the algorithm")?;
        match id.text {
            argon2id::NAME => argon2id::parse(fields),
            "7" => sha512::parse_pbkdf2(fields),
            "6" => sha512::parse_salted(fields),
            generated_secret::NAME => generated_secret::parse(fields),
            _ => Err(id.error(
                "there is no such kind of hash; there are `$argon2id$`, `$7$`, `$6$` and \
                 `$midge-secret$`, and `midge passwd FILE USER` makes one",
            )),
        }
    }

    /// Hashes a password. `random` comes from a cryptographic random source, and no two hashes
    /// share it.
    ///
    /// # Errors
    ///
    /// The password is empty or too long, or there is no memory for it.
    pub fn derive(
        algorithm: Algorithm,
        password: &[u8],
        random: [u8; 16],
    ) -> Result<Self, DeriveError> {
        if password.is_empty() {
            return Err(DeriveError::Empty);
        }
        if password.len() > Self::PASSWORD_BYTES_MAX {
            return Err(DeriveError::TooLong);
        }
        let (scheme, salt, digest_bytes) = match algorithm {
            Algorithm::Argon2id(cost) => {
                (Scheme::Argon2id(cost), &random[..], argon2id::DIGEST_BYTES)
            }
            Algorithm::Pbkdf2Sha512(iterations) => {
                let scheme = Scheme::Pbkdf2Sha512(iterations);
                (scheme, &random[..sha512::SALT_BYTES], sha512::DIGEST_BYTES)
            }
        };
        let digest = scheme.hash(password, salt, digest_bytes).map_err(DeriveError::OutOfMemory)?;
        Ok(Self::new(scheme, salt.into(), digest))
    }

    /// Returns whether this is the password. The comparison takes the same time wherever they
    /// differ. The empty password is never right.
    ///
    /// # Errors
    ///
    /// There is no memory for it now.
    pub fn verify(&self, password: &[u8]) -> Result<bool, OutOfMemory> {
        if password.is_empty() || password.len() > Self::PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let found = self.scheme.hash(password, &self.salt, self.digest.len())?;
        Ok(verify_slices_are_equal(&found, &self.digest).is_ok())
    }

    /// Returns whether a verification takes no more than a microsecond or so.
    pub(super) fn is_fast(&self) -> bool {
        matches!(self.scheme, Scheme::GeneratedSecret)
    }

    /// Returns how much memory a verification needs, besides some hundreds of bytes.
    pub fn memory_bytes(&self) -> usize {
        match self.scheme {
            Scheme::Argon2id(cost) => cost.memory_bytes(),
            Scheme::Pbkdf2Sha512(_) | Scheme::Sha512 | Scheme::GeneratedSecret => 0,
        }
    }

    /// Returns the properties that decide how long a verification takes.
    pub(super) fn shape(&self) -> Shape {
        let [salt_bytes, digest_bytes] = [&self.salt, &self.digest].map(|it| it.len());
        Shape { scheme: self.scheme, salt_bytes, digest_bytes }
    }

    /// Makes a hash that takes as long to verify as others of this shape. The result of verifying
    /// it must not be used.
    pub(super) fn decoy(shape: Shape) -> Self {
        let [salt, digest] = [shape.salt_bytes, shape.digest_bytes].map(|length| vec![0; length]);
        Self::new(shape.scheme, salt.into(), digest.into())
    }
}

impl Scheme {
    fn hash(
        self,
        password: &[u8],
        salt: &[u8],
        digest_bytes: usize,
    ) -> Result<Box<[u8]>, OutOfMemory> {
        let mut digest = vec![0; digest_bytes].into_boxed_slice();
        match self {
            Self::Argon2id(cost) => cost.hash(password, salt, &mut digest)?,
            Self::Pbkdf2Sha512(iterations) => {
                sha512::pbkdf2(iterations, password, salt, &mut digest);
            }
            Self::Sha512 => sha512::salted(password, salt, &mut digest),
            Self::GeneratedSecret => generated_secret::hash(password, salt, &mut digest),
        }
        Ok(digest)
    }
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::Argon2id(Argon2Cost::default())
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, digest) = (&*self.salt, &*self.digest);
        match self.scheme {
            Scheme::Argon2id(cost) => {
                write!(f, "${}", argon2id::NAME)?;
                argon2id::write(cost, salt, digest, f)
            }
            Scheme::Pbkdf2Sha512(iterations) => {
                f.write_str("$7")?;
                sha512::write(Some(iterations), salt, digest, f)
            }
            Scheme::Sha512 => {
                f.write_str("$6")?;
                sha512::write(None, salt, digest, f)
            }
            Scheme::GeneratedSecret => {
                write!(f, "${}", generated_secret::NAME)?;
                generated_secret::write(salt, digest, f)
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl HashError {
    pub(super) fn new(offset: usize, detail: impl Into<String>) -> Self {
        Self { offset, detail: detail.into() }
    }

    /// Moves the place to the begin of the character that it is in.
    fn at_character_of(mut self, text: &str) -> Self {
        while !text.is_char_boundary(self.offset) {
            self.offset -= 1;
        }
        self
    }
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.detail, self.offset)
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes.div_ceil(1 << 20);
        write!(f, "there is no memory to verify a password now: it needs {mib} MiB")
    }
}

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty; an empty one would let nobody in"),
            Self::TooLong => {
                let max = PasswordHash::PASSWORD_BYTES_MAX;
                write!(f, "the password is too long; MQTT has room for {max} bytes")
            }
            Self::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HashError {}
impl std::error::Error for OutOfMemory {}
impl std::error::Error for DeriveError {}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::password::GeneratedSecret;

    /// Hashes of `hunter2` by others: the first three by Python's hashlib, as mosquitto 1.6, 2.0
    /// and 2.1 would write them; the fourth by the reference implementation of argon2, as mosquitto
    /// 2.1 would. The last is a test vector of that implementation.
    const OF_OTHERS: [(&str, &[u8]); 5] = [
        (SHA512_OF_HUNTER2, b"hunter2"),
        (
            "$7$101$AAECAwQFBgcICQoL$\
             VWxVANxkFeHCm5uOn8rOPTQDMK9mSE/ohhmzvuRzpMN2\
             gHRxlNxYm7W8MbMYzkkdo0UinpiCpO1MXzUiHFrHig==",
            b"hunter2",
        ),
        (
            "$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEy\
             MzQ1Njc4OTo7PD0+Pw==$\
             zrx3yb37jNWrgMrLhkvR/xQAL9tKKXAajZE1dlM2KsSF\
             c2s98IDxfPmhhZpbUVKUzJOCOELwBv1BrIDEMp2jNg==",
            b"hunter2",
        ),
        (
            "$argon2id$v=19$m=47104,t=1,p=1$\
             AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUm\
             JygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$\
             w0rzkd+f36OkB0Xa0lkNxFDOAMYuTDQAiFZyZqqgS6l/\
             5QIF2RgnFgbmtqo0tAO3zToaJHDZJyeUikUl76kPQg",
            b"hunter2",
        ),
        (
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
             CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            b"password",
        ),
    ];

    pub(in crate::password) const SHA512_OF_HUNTER2: &str = "$6$AAECAwQFBgcICQoL$\
        M9uy5baAQVewJoSC57pHtZGlGqRX3jq5tEx8s7W8w29wGLojIaP2qVdfjIolAUlK8fbO0hmJW7cZTx1fVju1PQ==";

    /// A hash that takes little time.
    pub(in crate::password) fn quick(password: &[u8], salt: u8) -> PasswordHash {
        let cost = Argon2Cost::new(8, 1, 1).unwrap();
        PasswordHash::derive(Algorithm::Argon2id(cost), password, [salt; 16]).unwrap()
    }

    #[test]
    fn hashes_that_others_have_made_are_verified_and_written_as_they_were() {
        for (text, password) in OF_OTHERS {
            let hash = PasswordHash::parse(text).unwrap();
            assert_eq!(hash.verify(password), Ok(true), "{text}");
            assert_eq!(hash.verify(&[password, b"x"].concat()), Ok(false), "{text}");
            assert_eq!(hash.verify(&password[1..]), Ok(false), "{text}");
            assert_eq!(hash.verify(b""), Ok(false), "{text}");
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn derived_hashes_are_verified() {
        let few = Iterations::new(3).unwrap();
        for (algorithm, begin, memory) in [
            (Algorithm::default(), "$argon2id$v=19$m=19456,t=2,p=1$CQkJ", 19_456 << 10),
            (Algorithm::Pbkdf2Sha512(few), "$7$3$CQkJCQkJCQkJCQkJ$", 0),
        ] {
            let hash = PasswordHash::derive(algorithm, b"hunter2", [9; 16]).unwrap();
            assert!(hash.to_string().starts_with(begin), "{hash}");
            assert_eq!(hash.memory_bytes(), memory);
            let hash = PasswordHash::parse(&hash.to_string()).unwrap();
            assert_eq!((hash.verify(b"hunter2"), hash.verify(b"hunter3")), (Ok(true), Ok(false)));
            let derive = |password: &[u8]| PasswordHash::derive(algorithm, password, [9; 16]);
            assert_eq!(derive(b""), Err(DeriveError::Empty));
            assert_eq!(derive(&[b'x'; 65_536]), Err(DeriveError::TooLong));
        }
        let secret = GeneratedSecret::from_random([0xa5; 20]);
        assert_eq!(secret.expose(), "a5".repeat(20));
        let hash = PasswordHash::parse(&secret.hash([1; 16]).to_string()).unwrap();
        assert_eq!(hash.verify(secret.expose().as_bytes()), Ok(true));
        assert_eq!(hash.verify("A5".repeat(20).as_bytes()), Ok(false));
        assert_ne!(hash, secret.hash([2; 16]));
    }

    #[test]
    fn costs_beyond_the_bounds_are_refused() {
        for (memory_kib, passes, lanes, is_good) in [
            (8, 1, 1, true),
            (7, 1, 1, false),
            (15, 1, 2, false),
            (128, 1, 16, true),
            (136, 1, 17, false),
            (8, 0, 1, false),
            (8, 1, 0, false),
            (8, 64, 1, true),
            (8, 65, 1, false),
            (256 << 10, 4, 1, true),
            (256 << 10, 5, 1, false),
            ((256 << 10) + 1, 1, 1, false),
            (u32::MAX, u32::MAX, u32::MAX, false),
        ] {
            let cost = Argon2Cost::new(memory_kib, passes, lanes);
            assert_eq!(cost.is_some(), is_good, "{memory_kib} {passes} {lanes}");
            let text = format!(
                "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}$c29tZXNhbHQ$\
                 CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            );
            assert_eq!(PasswordHash::parse(&text).is_ok(), is_good, "{text}");
        }
        assert_eq!(Iterations::new(0), None);
        assert_eq!(Iterations::new(2_000_001), None);
        assert!(Iterations::new(2_000_000).is_some());
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_without_the_text() {
        let salt = "AAECAwQFBgcICQoL";
        let digest = "A".repeat(86) + "==";
        for (text, offset, part) in [
            ("", 0, "begins with `$`"),
            ("hunter2", 0, "--upgrade"),
            ("$", 1, "no such kind"),
            ("$5$hunter2$x", 1, "no such kind"),
            ("$2y$10$hunter2", 1, "no such kind"),
            ("$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$hunter2", 1, "no such kind"),
            ("$7", 2, "ends before the iterations"),
            ("$7$", 3, "from 1 to 2000000"),
            ("$7$0$", 3, "from 1 to 2000000"),
            ("$7$0101$", 3, "from 1 to 2000000"),
            ("$7$+101$", 3, "from 1 to 2000000"),
            ("$7$2000001$", 3, "from 1 to 2000000"),
            ("$7$99999999999$", 3, "from 1 to 2000000"),
            ("$7$101$hunter2$", 7, "base64 of 8 to 64 bytes"),
            (&format!("$7$101${salt}"), 23, "ends before the hash"),
            (&format!("$7$101${salt}$hunter2"), 24, "base64 of 64 bytes"),
            (&format!("$6${salt}${digest}$"), 108, "nothing follows"),
            (&format!("$6${salt}${digest}hunter2"), 20, "base64 of 64 bytes"),
            ("$argon2id$m=8,t=1,p=1$c29tZXNhbHQ$hunter2", 10, "`v=19`"),
            ("$argon2id$v=16$m=8,t=1,p=1$", 10, "`v=19`"),
            ("$argon2id$v=19$m=8,t=1$", 15, "m=MEMORY,t=PASSES,p=LANES"),
            ("$argon2id$v=19$m=8,t=1,p=1,k=hunter2$", 23, "lanes belong here"),
            ("$argon2id$v=19$t=1,m=8,p=1$", 15, "KiB of memory"),
            ("$argon2id$v=19$m=262145,t=1,p=1$", 15, "from 8 to 262144"),
            ("$argon2id$v=19$m=262144,t=5,p=1$", 15, "at most 1048576"),
            ("$argon2id$v=19$m=8,t=1,p=1$hunter2$", 27, "base64, without `=`"),
            (&format!("${}", "ä".repeat(300)), 511, "at most 512 bytes"),
        ] {
            let error = PasswordHash::parse(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
            assert!(error.detail.contains(part), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_hash_but_its_display() {
        let hash = PasswordHash::parse(SHA512_OF_HUNTER2).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash { scheme: Sha512, .. }");
        let secret = GeneratedSecret::from_random([0xa5; 20]);
        assert_eq!(format!("{secret:?}"), "GeneratedSecret(..)");
    }

    /// Texts of the pieces of hashes, in any order.
    fn nearly_a_hash() -> impl Strategy<Value = String> {
        let pieces = [
            "$",
            "$$",
            "6",
            "7",
            "argon2id",
            "midge-secret",
            "v=19",
            "m=8,t=1,p=1",
            "m=",
            ",",
            "=",
            "101",
            "4294967296",
            "AAECAwQFBgcICQoL",
            "AAECAwQFBgcICQoLDA0ODw==",
            "ä",
            " ",
            "\0",
        ];
        let piece = prop::sample::select(pieces.map(str::to_owned).to_vec());
        prop::collection::vec(prop_oneof![9 => piece, 1 => any::<String>()], 0..9)
            .prop_map(|pieces| pieces.concat())
    }

    /// Hashes with all parameters that are within the bounds.
    fn any_hash() -> impl Strategy<Value = PasswordHash> {
        let cost = (1..=16_u32, 1..=64_u32, 8..=1024_u32);
        let cost = cost.prop_map(|(lanes, passes, kib)| {
            Scheme::Argon2id(Argon2Cost::new(kib * lanes, passes, lanes).unwrap())
        });
        let iterations =
            (1..=Iterations::MAX).prop_map(|it| Scheme::Pbkdf2Sha512(Iterations::new(it).unwrap()));
        let scheme =
            prop_oneof![cost, iterations, Just(Scheme::Sha512), Just(Scheme::GeneratedSecret),];
        (scheme, any::<[u8; 16]>(), any::<[u8; 32]>()).prop_map(|(scheme, salt, digest)| {
            let digest = match scheme {
                Scheme::Argon2id(_) | Scheme::GeneratedSecret => digest.to_vec(),
                Scheme::Pbkdf2Sha512(_) | Scheme::Sha512 => [digest, digest].concat(),
            };
            PasswordHash::new(scheme, salt.into(), digest.into())
        })
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_the_reverse_of_writing(text in nearly_a_hash()) {
            if let Ok(hash) = PasswordHash::parse(&text) {
                prop_assert_eq!(hash.to_string(), text);
            }
        }

        #[test]
        fn every_hash_is_read_as_it_was_written(hash in any_hash()) {
            let text = hash.to_string();
            prop_assert!(text.len() <= PasswordHash::TEXT_BYTES_MAX);
            let read = PasswordHash::parse(&text);
            prop_assert_eq!(read.as_ref(), Ok(&hash));
            // Half a line is no hash, wherever it ends.
            for end in 0..text.len() {
                if let Ok(found) = PasswordHash::parse(&text[..end]) {
                    prop_assert_ne!(found, hash.clone());
                }
            }
        }

        #[test]
        fn only_the_password_is_right(
            password in prop::collection::vec(any::<u8>(), 1..50),
            other in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let hash = quick(&password, 1);
            prop_assert_eq!(hash.verify(&password), Ok(true));
            prop_assert_eq!(hash.verify(&other), Ok(password == other));
        }
    }
}
