//! A place in the store, as `weir get` and `weir store` take it: a digest or a name, and a path
//! beneath it.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result, bail};
use weir_sdk::{
    Client,
    data::TreeEntry,
    names::NameError,
    proto::{job::InputSource, name::Name},
};

use crate::{json::store::source_of, source::Stored};

/// Something in the store, as people write it: a digest or a name, and a path beneath it.
///
/// A name may hold `/` itself, so where it ends is only known when names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A digest, and a path in its tree.
    Stored(Stored, Vec<String>),
    /// Its parts; the first ones are the name.
    Named(Vec<String>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let path = |path: &str| {
            let parts = path.split('/').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        if let Some(name) = text.strip_prefix("name:") {
            let parts = path(name);
            if parts.is_empty() {
                return Err("the name after `name:` is empty".to_owned());
            }
            return Ok(Place::Named(parts));
        }
        let (digest, rest) = text.split_once('/').unwrap_or((text, ""));
        match digest.parse() {
            Ok(stored) => Ok(Place::Stored(stored, path(rest))),
            Err(_) => Err(format!(
                "{text:?} is nothing in the store; write `blake3:` or `tree:blake3:` and 64 hex \
                 digits, or `name:NAME`"
            )),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Stored(stored, path) if path.is_empty() => write!(f, "{stored}"),
            Place::Stored(stored, path) => write!(f, "{stored}/{}", path.join("/")),
            Place::Named(parts) => write!(f, "name:{}", parts.join("/")),
        }
    }
}

/// What is at a place.
pub(crate) struct Found {
    /// Blob or tree.
    pub(crate) source: InputSource,
    /// The entry of its tree; none of a root.
    pub(crate) entry: Option<TreeEntry>,
}

impl Place {
    /// Looks for it.
    ///
    /// # Errors
    /// When there is no such name, tree or entry, or no master answers. Whether a digest without a
    /// path is in the store is not looked at.
    pub(crate) async fn find(&self, client: &Client) -> Result<Found> {
        let (root, path) = match self {
            Place::Stored(Stored(source), path) => (*source, &path[..]),
            Place::Named(parts) => {
                let (target, used) = look_up(client, parts).await?;
                (target, &parts[used..])
            }
        };
        let mut found = Found { source: root, entry: None };
        for (depth, part) in path.iter().enumerate() {
            let about = || format!("cannot look into {self}");
            let InputSource::Tree(digest) = found.source else {
                bail!("{self} is not there: {:?} is a file", path[..depth].join("/"));
            };
            let tree = client.tree(digest).await.with_context(about)?;
            let Some(entry) = tree.get(part) else {
                bail!(
                    "{self} is not there: its tree has no {part:?}; `weir store ls` lists what it has"
                );
            };
            found = Found { source: source_of(entry.node), entry: Some(entry.clone()) };
        }
        Ok(found)
    }
}

/// The target of the longest name that parts begin with, and how many of them it takes.
async fn look_up(client: &Client, parts: &[String]) -> Result<(InputSource, usize)> {
    let mut first_error = None;
    for used in (1..=parts.len()).rev() {
        let name: Name = match parts[..used].join("/").parse() {
            Ok(name) => name,
            // Paths in trees may have any characters, names not.
            Err(_) if used > 1 => continue,
            Err(error) => return Err(error.into()),
        };
        match client.name(&name).await {
            Ok(named) => return Ok((named.target, used)),
            Err(error @ NameError::NoSuchName { .. }) => {
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match first_error {
        Some(error) => Err(error.into()),
        None => bail!("name:{} cannot be a name", parts.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::digest::Digest;

    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn a_place_is_a_digest_or_a_name_and_a_path() {
        let tree = Stored(InputSource::Tree(digest()));
        let place: Place = format!("{tree}/a/b.txt").parse().expect("a place");
        assert_eq!(place, Place::Stored(tree, vec!["a".to_owned(), "b.txt".to_owned()]));
        assert_eq!(place.to_string(), format!("{tree}/a/b.txt"));
        let named: Place = "name:models/v2/".parse().expect("a place");
        assert_eq!(named, Place::Named(vec!["models".to_owned(), "v2".to_owned()]));
        for text in ["", "a", "blake3:00", "name:", "name:/", "/etc"] {
            assert!(text.parse::<Place>().is_err(), "{text:?}");
        }
    }
}
