//! argon2id (RFC 9106), in the strings of the Password Hashing Competition:
//! `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
//!
//! A verification never takes more memory or time than [`Argon2Cost`] allows, even for a hostile
//! file.

use std::fmt;
use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64ct::{Base64Unpadded, Encoding};

use super::fields::{Field, Fields};
use super::password_hash::{HashError, OutOfMemory, PasswordHash, Scheme};

pub(super) const NAME: &str = "argon2id";
pub(super) const DIGEST_BYTES: usize = 32;
const SHAPE: &str = "of `$argon2id$v=19$m=MEMORY,t=PASSES,p=LANES$SALT$HASH`";
const SALT_BYTES: RangeInclusive<usize> = 8..=64;
const READ_DIGEST_BYTES: RangeInclusive<usize> = 16..=64;

/// The cost of a verification. The default is the one that OWASP recommends: 19 MiB, 2 passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Cost {
    /// The most memory, in KiB: 256 MiB.
    pub const MEMORY_KIB_MAX: u32 = 256 << 10;
    /// The most passes over the memory.
    pub const PASSES_MAX: u32 = 64;
    /// The most lanes.
    pub const LANES_MAX: u32 = 16;
    /// The most memory of all passes together, in KiB: about a second.
    pub const WORK_KIB_MAX: u32 = 1 << 20;

    /// A cost of this memory in KiB, this many passes over it, and lanes. `None` if it is not
    /// within the bounds, or if there are fewer than 8 KiB for a lane.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let is_good = (1..=Self::LANES_MAX).contains(&lanes)
            && (1..=Self::PASSES_MAX).contains(&passes)
            && (8 * lanes..=Self::MEMORY_KIB_MAX).contains(&memory_kib)
            && memory_kib * passes <= Self::WORK_KIB_MAX;
        is_good.then_some(Self { memory_kib, passes, lanes })
    }

    /// Returns the memory that a verification needs.
    pub fn memory_bytes(self) -> usize {
        self.memory_kib as usize * 1024
    }

    /// Hashes a password into `digest`.
    pub(super) fn hash(
        self,
        password: &[u8],
        salt: &[u8],
        digest: &mut [u8],
    ) -> Result<(), OutOfMemory> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(digest.len()));
        let params = params.expect("the bounds of a cost are narrower than those of argon2");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut memory: Vec<Block> = Vec::new();
        let count = argon2.params().block_count();
        memory.try_reserve_exact(count).map_err(|_| OutOfMemory { bytes: self.memory_bytes() })?;
        memory.resize(count, Block::new());
        let hashed = argon2.hash_password_into_with_memory(password, salt, digest, &mut *memory);
        hashed.expect("salt and digest are of lengths that argon2 takes, and passwords are short");
        Ok(())
    }
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// Reads the fields behind `$argon2id`.
pub(super) fn parse(mut fields: Fields<'_>) -> Result<PasswordHash, HashError> {
    let version = fields.next(&format!("the version {SHAPE}"))?;
    if version.text != "v=19" {
        return Err(version.error("the version belongs here: `v=19`, there is no other"));
    }
    let cost = parse_cost(fields.next(&format!("the parameters {SHAPE}"))?)?;
    let salt =
        fields.next(&format!("the salt {SHAPE}"))?.base64_unpadded("the salt", SALT_BYTES)?;
    let digest = fields.next(&format!("the hash {SHAPE}"))?;
    let digest = digest.base64_unpadded("the hash", READ_DIGEST_BYTES)?;
    fields.end()?;
    Ok(PasswordHash::new(Scheme::Argon2id(cost), salt, digest))
}

fn parse_cost(field: Field<'_>) -> Result<Argon2Cost, HashError> {
    let shape = || field.error("the parameters belong here: `m=MEMORY,t=PASSES,p=LANES`");
    let (memory, rest) = field.split(',');
    let (passes, lanes) = rest.ok_or_else(shape)?.split(',');
    let lanes = lanes.ok_or_else(shape)?;
    let memory_kib = memory.number("m=", "KiB of memory", 8..=Argon2Cost::MEMORY_KIB_MAX)?;
    let passes = passes.number("t=", "passes", 1..=Argon2Cost::PASSES_MAX)?;
    let lanes = lanes.number("p=", "lanes", 1..=Argon2Cost::LANES_MAX)?;
    Argon2Cost::new(memory_kib, passes, lanes).ok_or_else(|| {
        let work_kib_max = Argon2Cost::WORK_KIB_MAX;
        field.error(format!(
            "`m` is 8 for a lane at least, and `m` times `t` at most {work_kib_max}"
        ))
    })
}

/// Writes the fields behind `$argon2id`.
pub(super) fn write(
    cost: Argon2Cost,
    salt: &[u8],
    digest: &[u8],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let Argon2Cost { memory_kib, passes, lanes } = cost;
    let [salt, digest] = [salt, digest].map(Base64Unpadded::encode_string);
    write!(f, "$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}")
}
