//! What can go wrong when something is brought here whole.

use std::path::PathBuf;

use weir_proto::digest::Digest;

use crate::{
    cache::FetchError,
    directory::{MAX_DEPTH, MAX_ENTRIES, TreesError, shown},
    tree::TreeError,
};

/// Why a blob or tree is not here whole. Paths are within the tree; that of the root is empty.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Something in it is not here and cannot be brought here.
    #[error("cannot fetch {}", shown(path))]
    Fetch {
        /// Where it belongs.
        path: PathBuf,
        /// Why.
        source: FetchError,
    },
    /// A blob that should be a tree is none.
    #[error("{digest}, which belongs at {}, is not a tree", shown(path))]
    NotATree {
        /// Where it belongs.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// Why.
        source: TreeError,
    },
    /// A tree claims another size than its entry or blob has.
    #[error("what belongs at {} has {actual} bytes; its tree claims {claimed}", shown(path))]
    WrongSize {
        /// Where it belongs.
        path: PathBuf,
        /// As the tree says.
        claimed: u64,
        /// As it is.
        actual: u64,
    },
    /// A tree claims a smaller size than its blob has; the rest of the blob was not fetched.
    #[error(
        "what belongs at {} has more than the {claimed} bytes that its tree claims",
        shown(path)
    )]
    LargerThanClaimed {
        /// Where it belongs.
        path: PathBuf,
        /// As the tree says.
        claimed: u64,
    },
    /// More bytes than the caller allows.
    #[error("it has more than the {max_bytes} bytes allowed")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
    /// More files and directories than the bound.
    #[error("the tree has more than {MAX_ENTRIES} files and directories")]
    TooManyEntries,
    /// Deeper than the bound.
    #[error("the tree is more than {MAX_DEPTH} directories deep")]
    TooDeep,
}

impl From<TreesError<FetchError>> for HoldError {
    fn from(error: TreesError<FetchError>) -> HoldError {
        match error {
            TreesError::Source { path, source } => HoldError::Fetch { path, source },
            TreesError::NotATree { path, digest, source } => {
                HoldError::NotATree { path, digest, source }
            }
            TreesError::WrongSize { path, claimed, actual } => {
                HoldError::WrongSize { path, claimed, actual }
            }
            TreesError::TooLarge { max_bytes } => HoldError::TooLarge { max_bytes },
            TreesError::TooManyEntries => HoldError::TooManyEntries,
            TreesError::TooDeep => HoldError::TooDeep,
        }
    }
}
