//! What can go wrong between this machine and a remote store.

use std::{io, path::PathBuf, time::Duration};

use tonic::{Code, Status};
use weir_proto::digest::Digest;

/// Why a call to a remote store failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It cannot be reached, or is too busy; the same call may succeed later.
    #[error(
        "cannot reach the store; check that the master runs and its address is right, then try again"
    )]
    Unreachable {
        /// What tonic says.
        source: Box<Status>,
    },
    /// No answer came in time; the same call may succeed later.
    #[error("the store was silent for {} s; check the master and the network, then try again", waited.as_secs())]
    Silent {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The namespace has no such blob there.
    #[error("the store lacks it: {message}")]
    NotFound {
        /// What the store says: which namespace and blob.
        message: String,
    },
    /// Too large, or its disk is full.
    #[error("the store cannot take it: {message}")]
    Exhausted {
        /// What the store says, and what to do.
        message: String,
    },
    /// Its bytes are damaged, or those sent are not those announced.
    #[error("the bytes are not what they should be: {message}")]
    Damaged {
        /// What the store says.
        message: String,
    },
    /// It refused the call for a reason that trying again does not change.
    #[error("the store refused")]
    Refused {
        /// What tonic says.
        source: Box<Status>,
    },
    /// What came is not the blob asked for.
    #[error(
        "the store sent {actual} for blob {expected}; try again, then check its disk and the network"
    )]
    Corrupt {
        /// The blob.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// It answered something that makes no sense.
    #[error("the store answered with {what}; check that it is a Weir store of this version")]
    WrongAnswer {
        /// What came.
        what: &'static str,
    },
    /// More bytes came than the caller takes.
    #[error("blob {digest} has more than the {max_bytes} bytes allowed here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// The bound.
        max_bytes: u64,
    },
    /// The host file to put cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is there already; nothing is ever overwritten.
    #[error("{} exists already; remove it or choose another path", path.display())]
    Exists {
        /// The file asked for.
        path: PathBuf,
    },
    /// This machine's disk is full.
    #[error("the disk is full at {}; free some space and try again", path.display())]
    DiskFull {
        /// The file asked for.
        path: PathBuf,
    },
    /// The host file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RemoteError {
    pub(super) fn from_status(status: Status) -> RemoteError {
        match status.code() {
            Code::NotFound => RemoteError::NotFound { message: status.message().to_owned() },
            Code::ResourceExhausted => {
                RemoteError::Exhausted { message: status.message().to_owned() }
            }
            Code::DataLoss => RemoteError::Damaged { message: status.message().to_owned() },
            // Tonic says Unknown when the connection broke half way.
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::Unknown => RemoteError::Unreachable { source: Box::new(status) },
            Code::Ok
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unauthenticated => RemoteError::Refused { source: Box::new(status) },
        }
    }

    pub(super) fn silent(waited: Duration) -> RemoteError {
        RemoteError::Silent { waited }
    }
}
