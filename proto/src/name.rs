//! Names for what is in the store: pointers that may be pointed elsewhere, unlike digests.

use std::{fmt, str::FromStr};

use crate::{
    id::Namespace,
    job::InputSource,
    malformed::{Malformed, required},
    wire,
};

/// Longest name, in bytes.
pub const MAX_BYTES: usize = 128;

/// A name within a namespace: parts of letters, digits, `.`, `_` and `-`, with `/` between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Name, Malformed> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
        if text.len() <= MAX_BYTES && text.split('/').all(part) {
            return Ok(Name(text.to_owned()));
        }
        let why = format!(
            "{text:?} is not 1 to {MAX_BYTES} letters, digits, `.`, `_` and `-`, with single `/` \
             between them"
        );
        Err(Malformed::invalid("name", why))
    }
}

/// A name, and what it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSource {
    /// Whose name it is.
    pub namespace: Namespace,
    /// The name.
    pub name: Name,
    /// What it points at.
    pub target: InputSource,
    /// When it was last pointed somewhere, Unix milliseconds.
    pub set_ms: u64,
}

/// What must be true of a name for a change of it to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Anything,
    /// There is no such name.
    Absent,
    /// It points at this.
    PointsAt(InputSource),
}

/// A change of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetName {
    /// Whose name it is.
    pub namespace: Namespace,
    /// The name.
    pub name: Name,
    /// Where it shall point; absent: it is removed.
    pub target: Option<InputSource>,
    /// What must be true before.
    pub expected: Expected,
}

impl From<SetName> for wire::SetName {
    fn from(set: SetName) -> wire::SetName {
        use wire::set_name;
        wire::SetName {
            namespace: set.namespace.as_str().to_owned(),
            name: set.name.0,
            target: set.target.map(wire::Source::from),
            expected: match set.expected {
                Expected::Anything => None,
                Expected::Absent => Some(set_name::Expected::Absent(true)),
                Expected::PointsAt(source) => Some(set_name::Expected::PointsAt(source.into())),
            },
        }
    }
}

impl TryFrom<wire::SetName> for SetName {
    type Error = Malformed;

    fn try_from(wire: wire::SetName) -> Result<SetName, Malformed> {
        use wire::set_name;
        Ok(SetName {
            namespace: wire.namespace.parse()?,
            name: wire.name.parse()?,
            target: wire.target.map(InputSource::try_from).transpose()?,
            expected: match wire.expected {
                None => Expected::Anything,
                Some(set_name::Expected::Absent(_)) => Expected::Absent,
                Some(set_name::Expected::PointsAt(source)) => {
                    Expected::PointsAt(source.try_into()?)
                }
            },
        })
    }
}

impl From<NamedSource> for wire::NameState {
    fn from(named: NamedSource) -> wire::NameState {
        wire::NameState {
            namespace: named.namespace.as_str().to_owned(),
            name: named.name.0,
            target: Some(named.target.into()),
            set_ms: named.set_ms,
        }
    }
}

impl TryFrom<wire::NameState> for NamedSource {
    type Error = Malformed;

    fn try_from(wire: wire::NameState) -> Result<NamedSource, Malformed> {
        Ok(NamedSource {
            namespace: wire.namespace.parse()?,
            name: wire.name.parse()?,
            target: required(wire.target, "a name's target")?.try_into()?,
            set_ms: wire.set_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_name_is_parts_of_plain_characters() {
        for name in ["a", "models/v1.2/weights", "A_b-c"] {
            assert_eq!(name.parse::<Name>().expect(name).as_str(), name);
        }
        let long = "x".repeat(MAX_BYTES + 1);
        for name in ["", "/a", "a/", "a//b", "..", "a/./b", "a b", "ä", "a\n", &long] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_change_of_a_name_reads_back_as_it_was_written() {
        let source = InputSource::Tree(Digest::of(b"x"));
        for (target, expected) in [
            (Some(source), Expected::Anything),
            (None, Expected::PointsAt(source)),
            (Some(source), Expected::Absent),
        ] {
            let name = "a/b".parse().expect("a name");
            let namespace = Namespace::default_namespace();
            let set = SetName { namespace, name, target, expected };
            assert_eq!(SetName::try_from(wire::SetName::from(set.clone())), Ok(set));
        }
    }
}
