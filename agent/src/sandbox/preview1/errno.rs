//! What the file system refuses, in preview 1's words.

use wasmtime_wasi::p1::types::{Errno, Error};

use crate::filesystem::{FsError, Refusal};

/// What a call answers: its results, an `errno`, or the end of the attempt.
pub(super) type Answer<T> = Result<T, Error>;

/// The `errno` of a refusal; everything else ends the attempt.
pub(super) fn refused(error: FsError) -> Error {
    let FsError::Refused(refusal) = error else { return Error::trap(error.into()) };
    let errno = match refusal {
        Refusal::Busy => Errno::Busy,
        Refusal::Exists => Errno::Exist,
        Refusal::FileTooLarge => Errno::Fbig,
        Refusal::Invalid => Errno::Inval,
        Refusal::IsDirectory => Errno::Isdir,
        Refusal::Loop => Errno::Loop,
        Refusal::NameTooLong => Errno::Nametoolong,
        Refusal::NoEntry => Errno::Noent,
        Refusal::NoSpace => Errno::Nospc,
        Refusal::NotDirectory => Errno::Notdir,
        Refusal::NotEmpty => Errno::Notempty,
        Refusal::NotPermitted => Errno::Perm,
        Refusal::ReadOnly => Errno::Rofs,
        Refusal::TooManyLinks => Errno::Mlink,
        Refusal::CrossDevice => Errno::Xdev,
    };
    errno.into()
}
