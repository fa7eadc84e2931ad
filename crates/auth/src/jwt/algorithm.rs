//! The algorithms that tokens are signed with (RFC 7518 section 3.1, RFC 8037).

use std::fmt;

/// An algorithm that a token may be signed with. `none` is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// Ed25519.
    EdDsa,
}

/// Some of the algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// Returns the algorithm that the header parameter `alg` names.
    pub fn named(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa); // Its name since RFC 9864.
        }
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Returns the name in the header parameter `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl AlgorithmSet {
    /// Those of shared secrets.
    pub const OF_SECRETS: Self = Self(0b111);
    /// Those of public keys.
    pub const OF_PUBLIC_KEYS: Self = Self(0b1_1111_1111_1000);

    /// Returns whether the algorithm is one of these.
    pub fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// Returns those that are in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists them.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |it| self.contains(*it))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(algorithms.into_iter().fold(0, |set, it| set | 1 << it as u16))
    }
}

/// Names, with commas between them.
impl fmt::Display for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(algorithm.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_its_name() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
            let is_hmac = algorithm.name().starts_with("HS");
            assert_eq!(AlgorithmSet::OF_SECRETS.contains(algorithm), is_hmac);
            assert_eq!(AlgorithmSet::OF_PUBLIC_KEYS.contains(algorithm), !is_hmac);
        }
        for name in ["none", "None", "", "hs256", "ES256K"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        let set: AlgorithmSet = [Algorithm::Ps256, Algorithm::Hs256].into_iter().collect();
        assert_eq!(set.to_string(), "HS256, PS256");
    }
}
