//! Why the file system did not do what a guest asked: the words of WASI, for both previews.

use std::io;

use weir_proto::outcome::Exceeded;

use crate::data::DataError;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FsError {
    /// What the guest is told, and may react to.
    #[error("{0:?}")]
    Refused(Refusal),
    /// The attempt ends: more bytes than its limit for this area.
    #[error("{} holds more than {} bytes", area.name(), exceeded.limit)]
    OverLimit {
        /// Where.
        area: Area,
        /// How many bytes there would have been.
        exceeded: Exceeded,
    },
    /// An input cannot be read: not the guest's failure.
    #[error("cannot read an input")]
    Input(#[source] Box<DataError>),
    /// This machine's disk failed us.
    #[error("cannot use a guest's file on this machine's disk")]
    Disk(#[source] io::Error),
}

/// What a guest may be told; each is an `errno` of preview 1 and an `error-code` of preview 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is in use: a directory that others are mounted at.
    Busy,
    /// A file or directory of that name is there.
    Exists,
    /// A position or size that no file can have.
    FileTooLarge,
    /// An argument makes no sense.
    Invalid,
    /// A directory where something else is needed.
    IsDirectory,
    /// Too many symbolic links on the way, or one that must not be followed.
    Loop,
    /// A name or path is too long.
    NameTooLong,
    /// Nothing is there.
    NoEntry,
    /// No more files and directories can be made.
    NoSpace,
    /// Something else where a directory is needed.
    NotDirectory,
    /// A directory that is not empty.
    NotEmpty,
    /// The path leads out of the directory it begins at.
    NotPermitted,
    /// It cannot be changed.
    ReadOnly,
    /// More names for one file than can be counted.
    TooManyLinks,
    /// It cannot be moved there: another area, as another disk would be.
    CrossDevice,
}

/// The part of the file system that something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// Inputs, and the directories that lead to them.
    Fixed,
    /// `/out`.
    Out,
    /// `/tmp`, and inputs that the task may change.
    Scratch,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Area::Fixed => "the inputs",
            Area::Out => "/out",
            Area::Scratch => "/tmp and the inputs that can be changed",
        }
    }
}

impl From<Refusal> for FsError {
    fn from(refusal: Refusal) -> FsError {
        FsError::Refused(refusal)
    }
}

/// What every operation returns.
pub(crate) type FsResult<T> = Result<T, FsError>;
