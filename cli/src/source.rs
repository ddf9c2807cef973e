//! A digest of what is in the store, as flags name it. What a job is made of, a path or a name too,
//! is read in `weir-sdk`.

use std::{fmt, str::FromStr};

use weir_sdk::proto::{digest::Digest, job::InputSource};

/// Something in the store, as people write it: `blake3:...` is a blob, `tree:blake3:...` a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored(pub(crate) InputSource);

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            InputSource::Blob(digest) => write!(f, "{digest}"),
            InputSource::Tree(digest) => write!(f, "tree:{digest}"),
        }
    }
}

impl FromStr for Stored {
    type Err = String;

    fn from_str(text: &str) -> Result<Stored, String> {
        let (text, tree) = match text.strip_prefix("tree:") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let digest: Digest = text.parse().map_err(|_| {
            format!("{text:?} is not a digest; write `blake3:` or `tree:blake3:` and 64 hex digits")
        })?;
        let source = if tree { InputSource::Tree(digest) } else { InputSource::Blob(digest) };
        Ok(Stored(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn what_is_no_digest_is_told_what_one_looks_like() {
        for text in ["", "blake3:00", "tree:blake3:00", "/etc/passwd", "tree:x"] {
            let error = text.parse::<Stored>().expect_err(text);
            assert!(error.contains("64 hex digits"), "{error}");
        }
    }

    #[test]
    fn a_stored_thing_reads_back_as_it_prints() {
        for source in [InputSource::Blob(digest()), InputSource::Tree(digest())] {
            assert_eq!(Stored(source).to_string().parse(), Ok(Stored(source)));
        }
    }
}
