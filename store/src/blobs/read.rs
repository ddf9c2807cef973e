//! Reading blobs back: every byte is hashed before anybody may take the whole for the blob.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_stream::Stream;
use weir_proto::digest::Digest;

use super::error::{ExportError, GetError};
use crate::{
    bounds::MAX_CHUNK_BYTES,
    view::{BlobView, HostFile, ReadAt as _, hash},
};

/// A blob as a stream of chunks of at most `MAX_CHUNK_BYTES`, one read ahead.
///
/// The last chunk comes only after all bytes proved to be the blob's: a corrupt blob ends in an
/// error, never in a clean end.
#[derive(Debug)]
pub struct BlobStream {
    size_bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Whole(Bytes),
    Reading(JoinHandle<Result<Step, GetError>>),
    Done,
}

/// A chunk, and what comes after it unless it is the last.
type Step = (Bytes, Option<BlobFile>);

impl BlobStream {
    /// A blob already read and verified.
    pub(super) fn whole(bytes: Bytes) -> BlobStream {
        BlobStream { size_bytes: bytes.len() as u64, state: State::Whole(bytes) }
    }

    /// A blob in a file.
    pub(super) fn file(file: BlobFile) -> BlobStream {
        BlobStream {
            size_bytes: file.remaining,
            state: State::Reading(spawn_blocking(|| file.step())),
        }
    }

    /// Bytes of the whole blob.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, GetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let step = match &mut self.state {
            State::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.state = State::Done;
                return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
            }
            State::Reading(reading) => ready!(Pin::new(reading).poll(cx)),
            State::Done => return Poll::Ready(None),
        };
        self.state = State::Done;
        match step {
            Ok(Ok((bytes, rest))) => {
                if let Some(rest) = rest {
                    self.state = State::Reading(spawn_blocking(|| rest.step()));
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Ok(Err(error)) => Poll::Ready(Some(Err(error))),
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down; it drops this stream next.
                Err(_) => Poll::Pending,
            },
        }
    }
}

/// A large blob's file, read from its start to where it should end.
#[derive(Debug)]
pub(super) struct BlobFile {
    path: PathBuf,
    file: File,
    expected: Digest,
    /// Boxed: it has 2 KB.
    hasher: Box<blake3::Hasher>,
    /// Bytes still to come.
    remaining: u64,
}

impl BlobFile {
    pub(super) fn open(
        path: PathBuf,
        expected: Digest,
        size_bytes: u64,
    ) -> Result<BlobFile, GetError> {
        match File::open(&path) {
            Ok(file) => {
                let hasher = Box::default();
                Ok(BlobFile { path, file, expected, hasher, remaining: size_bytes })
            }
            // A file that is gone is a blob without its bytes, and is repaired alike.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                Err(corrupt(expected, Digest::of(b"")))
            }
            Err(source) => Err(GetError::Io { path, source }),
        }
    }

    /// The next chunk. Its end is checked before the last one is given away.
    fn step(mut self) -> Result<Step, GetError> {
        let want = self.remaining.min(MAX_CHUNK_BYTES as u64);
        let mut chunk = Vec::with_capacity(want as usize);
        let read = (&self.file).take(want).read_to_end(&mut chunk);
        if let Err(source) = read {
            return Err(GetError::Io { path: self.path, source });
        }
        self.hasher.update(&chunk);
        self.remaining -= chunk.len() as u64;
        if (chunk.len() as u64) < want || self.remaining == 0 {
            let actual = Digest(*self.hasher.finalize().as_bytes());
            check(self.expected, actual)?;
            return Ok((chunk.into(), None));
        }
        Ok((chunk.into(), Some(self)))
    }

    /// All bytes in memory; the caller has bounded the size.
    pub(super) fn read_whole(self) -> Result<Bytes, GetError> {
        let mut whole = Vec::with_capacity(self.remaining as usize);
        if let Err(source) = (&self.file).take(self.remaining).read_to_end(&mut whole) {
            return Err(GetError::Io { path: self.path, source });
        }
        check(self.expected, Digest::of(&whole))?;
        Ok(whole.into())
    }

    /// A view of the bytes, which are not verified, but as many as they should be.
    pub(super) fn into_view(self) -> Result<BlobView, GetError> {
        let failed = |source| GetError::Io { path: self.path.clone(), source };
        let (expected, remaining) = (self.expected, self.remaining);
        let file = HostFile::new(self.file).map_err(failed)?;
        if file.len() != remaining {
            return Err(corrupt(expected, hash(&file).map_err(failed)?.0));
        }
        Ok(file.into_view())
    }

    /// Reads all bytes to verify them; returns how many they are.
    pub(super) fn verify(self) -> Result<u64, GetError> {
        let (expected, path) = (self.expected, self.path.clone());
        let hashed = hash(&self.into_view()?);
        let (actual, size_bytes) = hashed.map_err(|source| GetError::Io { path, source })?;
        check(expected, actual)?;
        Ok(size_bytes)
    }

    fn copy_to(self, target: &mut File, path: &Path) -> Result<(), ExportError> {
        let mut rest = Some(self);
        while let Some(file) = rest {
            let (chunk, next) = file.step()?;
            target.write_all(&chunk).map_err(|source| ExportError::write(path, source))?;
            rest = next;
        }
        Ok(())
    }
}

/// The bytes of a blob, wherever they are.
pub(super) enum Source {
    Whole(Bytes),
    File(BlobFile),
}

impl Source {
    /// Writes a new host file that appears at `path` only once its bytes are verified.
    pub(super) fn export(self, path: &Path) -> Result<(), ExportError> {
        let failed = |source| ExportError::write(path, source);
        let mut file = new_host_file(path).map_err(failed)?;
        match self {
            Source::Whole(bytes) => file.write_all(&bytes).map_err(failed)?,
            Source::File(blob) => blob.copy_to(file.as_file_mut(), path)?,
        }
        file.persist_noclobber(path).map_err(|kept| failed(kept.error))?;
        Ok(())
    }
}

/// A file beside `path` that is later renamed to it, readable like any new file.
pub(crate) fn new_host_file(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".weir-").permissions(std::fs::Permissions::from_mode(0o644));
    builder.tempfile_in(dir).map_err(|error| {
        // It also names the file that was not made, of which nobody has heard.
        let told = error.to_string();
        let why = told.split_once(" at path ").map_or(&*told, |(why, _)| why);
        io::Error::new(error.kind(), why)
    })
}

/// Whether bytes that hash to `actual` may be served as `expected`.
pub(super) fn check(expected: Digest, actual: Digest) -> Result<(), GetError> {
    if expected != actual {
        return Err(corrupt(expected, actual));
    }
    Ok(())
}

fn corrupt(expected: Digest, actual: Digest) -> GetError {
    tracing::error!(%expected, %actual, "a stored blob is corrupt");
    GetError::Corrupt { expected, actual }
}
