//! What `--in`, `--stdin`, MODULE and `weir get` name: a file or directory here, or a digest of what
//! is in the store already.

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::{Context as _, Result, bail};
use weir_sdk::{
    Client,
    proto::{digest::Digest, job::InputSource},
};

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

/// A path on this machine, or something in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or directory here.
    Path(PathBuf),
    /// In the store.
    Stored(Stored),
}

impl FromStr for Source {
    type Err = String;

    /// What begins like a digest is one; write `./blake3:x` for a file of such a name.
    fn from_str(text: &str) -> Result<Source, String> {
        if text.is_empty() {
            return Err("it is empty; name a path or a digest".to_owned());
        }
        if text.starts_with("blake3:") || text.starts_with("tree:blake3:") {
            return text.parse().map(Source::Stored);
        }
        Ok(Source::Path(PathBuf::from(text)))
    }
}

impl Source {
    /// Says early, before anything is sent, that nothing is at a path; `what` is what it is for.
    ///
    /// # Errors
    /// When nothing is at the path, or it cannot be looked at.
    pub(crate) fn check(&self, what: &str) -> Result<()> {
        match self {
            Source::Stored(_) => Ok(()),
            Source::Path(path) => {
                std::fs::metadata(path)
                    .with_context(|| format!("cannot read {what} from {}", path.display()))?;
                Ok(())
            }
        }
    }

    /// Puts what is here into the store.
    ///
    /// # Errors
    /// When the path cannot be read or the store does not take it.
    pub(crate) async fn put(&self, client: &Client) -> Result<InputSource> {
        match self {
            Source::Stored(Stored(source)) => Ok(*source),
            Source::Path(path) => Ok(client.put_path(path).await?),
        }
    }
}

/// The value of `--in`: what the guest sees at `/in/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFlag {
    /// Where beneath `/in`.
    pub(crate) name: String,
    /// What is there.
    pub(crate) source: Source,
}

impl FromStr for InputFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<InputFlag, String> {
        let Some((name, source)) = text.split_once('=') else {
            return Err("write NAME=PATH or NAME=blake3:DIGEST".to_owned());
        };
        Ok(InputFlag { name: name.to_owned(), source: source.parse()? })
    }
}

impl InputFlag {
    /// Says early that a name cannot be a path beneath `/in`, or that nothing is at the path.
    ///
    /// # Errors
    /// When either is so.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.name;
        let bad =
            |part: &str| matches!(part, "" | "." | "..") || part.contains(|c: char| c.is_control());
        if name.split('/').any(bad) || name.len() > 1024 {
            bail!(
                "input name {name:?} cannot be a path beneath /in; write a name such as `text` or \
                 `data/text`"
            );
        }
        self.source.check(&format!("input {name:?}"))
    }
}

/// Reads `NAME=VALUE` of `--env`.
pub(crate) fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name before `=` is empty".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn an_input_is_a_name_and_a_path() {
        let flag: InputFlag = "text=/tmp/a=b".parse().expect("valid");
        assert_eq!(flag.name, "text");
        assert_eq!(flag.source, Source::Path(PathBuf::from("/tmp/a=b")));
    }

    #[test]
    fn an_input_may_be_a_blob_or_a_tree_that_is_in_the_store() {
        let blob: InputFlag = format!("a={}", digest()).parse().expect("valid");
        let tree: InputFlag = format!("a=tree:{}", digest()).parse().expect("valid");
        assert_eq!(blob.source, Source::Stored(Stored(InputSource::Blob(digest()))));
        assert_eq!(tree.source, Source::Stored(Stored(InputSource::Tree(digest()))));
    }

    #[test]
    fn what_looks_like_a_digest_must_be_one() {
        assert!("a=blake3:00".parse::<InputFlag>().is_err());
        assert!("a=tree:blake3:00".parse::<InputFlag>().is_err());
        assert!("a".parse::<InputFlag>().is_err());
        assert!("a=".parse::<InputFlag>().is_err());
    }

    #[test]
    fn a_stored_thing_reads_back_as_it_prints() {
        for source in [InputSource::Blob(digest()), InputSource::Tree(digest())] {
            assert_eq!(Stored(source).to_string().parse(), Ok(Stored(source)));
        }
    }

    #[test]
    fn a_name_cannot_leave_in() {
        for name in ["", "..", "a/../b", "/etc", "a//b", "a/", ".", "a\nb"] {
            let flag = InputFlag { name: name.to_owned(), source: Source::Path("/".into()) };
            assert!(flag.check().is_err(), "{name:?}");
        }
        let flag = InputFlag { name: "data/text".to_owned(), source: Source::Path("/".into()) };
        assert!(flag.check().is_ok());
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let flag: InputFlag = "text=/no/such/file".parse().expect("valid");
        let error = format!("{:#}", flag.check().expect_err("absent"));
        assert!(error.contains("/no/such/file") && error.contains("text"), "{error}");
    }

    #[test]
    fn an_environment_variable_has_a_name() {
        assert_eq!(parse_env("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_env("=b").is_err());
        assert!(parse_env("A").is_err());
    }
}
