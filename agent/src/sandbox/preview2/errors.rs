//! What the file system refuses, in preview 2's words.

use wasmtime_wasi::p2::{FsError as Error, StreamError, bindings::filesystem::types::ErrorCode};

use crate::filesystem::{FsError, Refusal};

/// What a function of `wasi:filesystem` answers: its result, an `error-code`, or the attempt's end.
pub(super) type Answer<T> = Result<T, Error>;

/// The `error-code` of a refusal; everything else ends the attempt.
pub(super) fn refused(error: FsError) -> Error {
    match code(&error) {
        Some(code) => code.into(),
        None => Error::trap(error),
    }
}

/// What a stream says of it. A guest can ask `filesystem-error-code` for the code.
pub(super) fn failed(error: FsError) -> StreamError {
    match code(&error) {
        Some(_) => StreamError::LastOperationFailed(error.into()),
        None => StreamError::Trap(error.into()),
    }
}

/// The `error-code` of a refusal, which a guest is told.
pub(super) fn code(error: &FsError) -> Option<ErrorCode> {
    let FsError::Refused(refusal) = error else { return None };
    Some(match refusal {
        Refusal::Busy => ErrorCode::Busy,
        Refusal::Exists => ErrorCode::Exist,
        Refusal::FileTooLarge => ErrorCode::FileTooLarge,
        Refusal::Invalid => ErrorCode::Invalid,
        Refusal::IsDirectory => ErrorCode::IsDirectory,
        Refusal::Loop => ErrorCode::Loop,
        Refusal::NameTooLong => ErrorCode::NameTooLong,
        Refusal::NoEntry => ErrorCode::NoEntry,
        Refusal::NoSpace => ErrorCode::InsufficientSpace,
        Refusal::NotDirectory => ErrorCode::NotDirectory,
        Refusal::NotEmpty => ErrorCode::NotEmpty,
        Refusal::NotPermitted => ErrorCode::NotPermitted,
        Refusal::ReadOnly => ErrorCode::ReadOnly,
        Refusal::TooManyLinks => ErrorCode::TooManyLinks,
        Refusal::CrossDevice => ErrorCode::CrossDevice,
    })
}

/// Ends the attempt.
pub(super) fn trapped(error: wasmtime::Error) -> Error {
    Error::trap(error)
}
