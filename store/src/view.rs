//! Bytes that are read from any offset where they lie, without a copy of the whole.
//!
//! A view of a blob is what an agent's guest reads as an input. Who opens one, and what is verified
//! then, is in `blobs`; the next stop is `image`, whole directories of such files.

use std::{
    fmt,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::digest::Digest;

/// How much is read at once to be hashed.
const HASH_BYTES: usize = 256 << 10;

/// Bytes that can be read from any offset, by many at once; reading may wait for a disk.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` on into `buffer`; returns how many bytes came: fewer than fit only where
    /// the bytes end, 0 at their end and past it.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

/// A blob's bytes where they lie; a clone is another handle of the same bytes.
///
/// They stay readable whatever becomes of the blob: a file that is removed or replaced in the store
/// is kept by the system until the last view of it is gone.
#[derive(Clone)]
pub struct BlobView {
    bytes: Place,
}

/// A mapped file would be faster to read, but an I/O error in it is a SIGBUS that kills the whole
/// agent, so a file is read by `pread`.
#[derive(Clone)]
enum Place {
    Memory(Bytes),
    File { file: Arc<File>, size_bytes: u64 },
}

impl BlobView {
    /// How many bytes the blob has.
    pub fn len(&self) -> u64 {
        match &self.bytes {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File { size_bytes, .. } => *size_bytes,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset` on into `buffer`; returns how many bytes came: fewer than fit only where
    /// the blob ends, 0 at its end and past it. Waits for the disk if the blob is large.
    ///
    /// # Errors
    /// When the disk fails, and `UnexpectedEof` when the file became shorter than the blob.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len().saturating_sub(offset);
        let fits = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..fits];
        if buffer.is_empty() {
            return Ok(0);
        }
        match &self.bytes {
            Place::Memory(bytes) => {
                let offset = usize::try_from(offset).expect("it is below the length of a slice");
                buffer.copy_from_slice(&bytes[offset..offset + fits]);
            }
            Place::File { file, .. } => {
                if read_file_at(file, offset, buffer)? < fits {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(fits)
    }
}

impl From<Bytes> for BlobView {
    fn from(bytes: Bytes) -> BlobView {
        BlobView { bytes: Place::Memory(bytes) }
    }
}

/// Tells the length: the bytes may be many.
impl fmt::Debug for BlobView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobView").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl ReadAt for BlobView {
    fn len(&self) -> u64 {
        BlobView::len(self)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        BlobView::read_at(self, offset, buffer)
    }
}

/// A host file, which others may be writing: it is read as far as it goes at that moment.
pub(crate) struct HostFile {
    file: File,
    /// As it was when the file was opened.
    size_bytes: u64,
}

impl HostFile {
    /// Opens a file; blocks.
    pub(crate) fn open(path: &Path) -> io::Result<HostFile> {
        HostFile::new(File::open(path)?)
    }

    /// An open file.
    pub(crate) fn new(file: File) -> io::Result<HostFile> {
        let size_bytes = file.metadata()?.len();
        Ok(HostFile { file, size_bytes })
    }

    /// A view of it, if nobody changes it.
    pub(crate) fn into_view(self) -> BlobView {
        let bytes = Place::File { file: Arc::new(self.file), size_bytes: self.size_bytes };
        BlobView { bytes }
    }
}

impl ReadAt for HostFile {
    fn len(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        read_file_at(&self.file, offset, buffer)
    }
}

/// The digest of bytes, and how many came; blocks.
pub(crate) fn hash(bytes: &dyn ReadAt) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BYTES];
    let mut size_bytes = 0;
    loop {
        let read = bytes.read_at(size_bytes, &mut buffer)?;
        if read == 0 {
            return Ok((Digest(*hasher.finalize().as_bytes()), size_bytes));
        }
        hasher.update(&buffer[..read]);
        size_bytes += read as u64;
    }
}

/// The digest and size in bytes of a host file; blocks.
pub(crate) fn hash_file(path: &Path) -> io::Result<(Digest, u64)> {
    hash(&HostFile::open(path)?)
}

/// Reads until `buffer` is full or the file ends: the system may give less at once, or nothing when
/// a signal comes.
fn read_file_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::noise;

    /// A view of a file with these bytes, as if it had another length.
    fn file_view(bytes: &[u8], size_bytes: u64) -> BlobView {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        HostFile { file, size_bytes }.into_view()
    }

    fn views(bytes: &Bytes) -> [BlobView; 2] {
        [BlobView::from(bytes.clone()), file_view(bytes, bytes.len() as u64)]
    }

    #[test]
    fn past_the_end_there_is_nothing_to_read() {
        for view in views(&noise(100, 1)) {
            let mut buffer = [0; 10];
            assert_eq!(view.read_at(95, &mut buffer).unwrap(), 5);
            assert_eq!(buffer[..5], noise(100, 1)[95..]);
            for offset in [100, 101, u64::MAX] {
                assert_eq!(view.read_at(offset, &mut buffer).unwrap(), 0);
            }
            assert_eq!(view.read_at(7, &mut []).unwrap(), 0);
            assert_eq!((view.len(), view.is_empty()), (100, false));
        }
        assert!(views(&Bytes::new()).iter().all(BlobView::is_empty));
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_no_early_end() {
        let view = file_view(&[1; 50], 100);
        let mut buffer = [0; 60];
        let failed = view.read_at(0, &mut buffer).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(view.read_at(0, &mut buffer[..50]).unwrap(), 50);
    }

    #[test]
    fn a_file_longer_than_the_blob_shows_only_the_blob() {
        assert_eq!(file_view(&[1; 50], 30).read_at(20, &mut [0; 60]).unwrap(), 10);
    }

    #[test]
    fn hashing_goes_through_all_bytes() {
        let bytes = noise(3 * HASH_BYTES + 5, 1);
        for view in views(&bytes) {
            assert_eq!(hash(&view).unwrap(), (Digest::of(&bytes), bytes.len() as u64));
        }
    }

    proptest! {
        #[test]
        fn any_part_is_as_in_the_bytes(size in 0..5000usize, offset in 0..6000usize, want in 0..6000usize) {
            let bytes = noise(size, 1);
            let expected = &bytes[offset.min(size)..(offset + want).min(size)];
            for view in views(&bytes) {
                let mut buffer = vec![0; want];
                let read = view.read_at(offset as u64, &mut buffer).unwrap();
                prop_assert_eq!(&buffer[..read], expected);
            }
        }
    }
}
