//! What a module, an input or stdin is made of, as people write it: a path on this machine, a digest
//! of what is in the store, or a name in the store.

use std::{fmt, path::PathBuf, str::FromStr};

use weir_proto::{digest::Digest, job::InputSource, name::Name};

/// Something that a job needs, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory on this machine.
    Path(PathBuf),
    /// `blake3:...`: a blob that is in the store; `tree:blake3:...`: a tree.
    Stored(InputSource),
    /// `name:NAME`: what this name stands for in the store when the job is submitted.
    Name(Name),
}

impl FromStr for Source {
    type Err = String;

    /// What begins like a digest or a name is one; write `./blake3:x` for a file of such a name.
    fn from_str(text: &str) -> Result<Source, String> {
        if text.is_empty() {
            return Err("it is empty; name a path, a digest or a name".to_owned());
        }
        if text.contains('\0') {
            return Err("it contains a zero byte".to_owned());
        }
        if let Some(name) = text.strip_prefix("name:") {
            return name.parse().map(Source::Name).map_err(|_| {
                "it is not a name; write `name:` and letters, digits, `.`, `_`, `-` and `/`"
                    .to_owned()
            });
        }
        let tree = text.strip_prefix("tree:").filter(|rest| rest.starts_with("blake3:"));
        let digest = match tree {
            Some(digest) => digest,
            None if text.starts_with("blake3:") => text,
            None => return Ok(Source::Path(PathBuf::from(text))),
        };
        let digest: Digest = digest.parse().map_err(|_| {
            "it is not a digest; write `blake3:` or `tree:blake3:` and 64 hex digits".to_owned()
        })?;
        Ok(Source::Stored(match tree {
            Some(_) => InputSource::Tree(digest),
            None => InputSource::Blob(digest),
        }))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(path) => write!(f, "{}", path.display()),
            Source::Stored(source) => write!(f, "{source}"),
            Source::Name(name) => write!(f, "name:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_unless_it_says_otherwise() {
        let digest = Digest::of(b"x");
        for (text, source) in [
            ("a/b.wasm".to_owned(), Source::Path("a/b.wasm".into())),
            ("./name:x".to_owned(), Source::Path("./name:x".into())),
            ("tree:x".to_owned(), Source::Path("tree:x".into())),
            (digest.to_string(), Source::Stored(InputSource::Blob(digest))),
            (format!("tree:{digest}"), Source::Stored(InputSource::Tree(digest))),
            ("name:books".to_owned(), Source::Name("books".parse().expect("a name"))),
        ] {
            assert_eq!(text.parse::<Source>(), Ok(source.clone()), "{text}");
            assert_eq!(source.to_string(), text);
        }
    }

    #[test]
    fn what_looks_like_a_digest_must_be_one() {
        for text in ["", "blake3:00", "tree:blake3:00", "name:", "name:a b", "a\0b"] {
            assert!(text.parse::<Source>().is_err(), "{text:?}");
        }
    }
}
