//! The name of bytes: their BLAKE3 hash.

use std::{fmt, str::FromStr};

use crate::malformed::Malformed;

/// The name of a blob, or of a tree's encoding; prints as `blake3:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The 64 hex digits without the kind, for file names.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The digest as the wire carries it.
    pub fn to_wire(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Digest, Malformed> {
        let wrong =
            || Malformed::invalid("digest", format!("{text:?} is not `blake3:` and 64 hex digits"));
        let hex = text.strip_prefix("blake3:").ok_or_else(wrong)?;
        let hash = blake3::Hash::from_hex(hex).map_err(|_| wrong())?;
        Ok(Digest(*hash.as_bytes()))
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = Malformed;

    fn try_from(bytes: &[u8]) -> Result<Digest, Malformed> {
        let bytes = bytes.try_into().map_err(|_| {
            Malformed::invalid("digest", format!("it has {} bytes, not 32", bytes.len()))
        })?;
        Ok(Digest(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_prints() {
        let digest = Digest::of(b"weir");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::try_from(&digest.to_wire()[..]), Ok(digest));
    }

    #[test]
    fn a_digest_of_another_kind_is_refused() {
        assert!("sha256:00".parse::<Digest>().is_err());
        assert!("blake3:00".parse::<Digest>().is_err());
    }
}
