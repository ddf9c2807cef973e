//! Why bytes or a message from outside are not what they should be.

/// A message that decodes as protobuf but says something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes are not the protobuf message they should be.
    #[error("{what} does not decode: {source}")]
    Undecodable {
        /// The message's name.
        what: &'static str,
        /// What prost says.
        source: prost::DecodeError,
    },
    /// A field that must be there is absent.
    #[error("{what} is missing")]
    Missing {
        /// The field's name.
        what: &'static str,
    },
    /// A field holds what it must not.
    #[error("{what} is invalid: {why}")]
    Invalid {
        /// The field's name.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a version of Weir that this one does not know.
    #[error("{what} has version {found}; this binary knows up to {known}")]
    TooNew {
        /// The message's name.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Of a cluster whose masters may rely on what this binary does not know.
    #[error("the cluster is at feature level {found}; this binary knows up to {known}")]
    FeatureLevel {
        /// The cluster's level.
        found: u32,
        /// The highest level known here.
        known: u32,
    },
}

impl Malformed {
    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Malformed {
        Malformed::Invalid { what, why: why.into() }
    }
}

/// A field that protobuf thinks optional and we do not.
pub(crate) fn required<T>(field: Option<T>, what: &'static str) -> Result<T, Malformed> {
    field.ok_or(Malformed::Missing { what })
}
