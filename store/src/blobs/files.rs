//! The store's directory: where large blobs are, and how a file becomes durable.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use weir_proto::digest::Digest;

use super::{
    FORMAT,
    error::{OpenError, PutError},
};

/// What the file `format` begins with.
pub(crate) const FORMAT_WORD: &str = "weir-store ";

/// The paths of one store.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Makes the directory if need be and checks its format; cleans nothing, since it may be in use.
    pub(super) fn open(dir: &Path) -> Result<Files, OpenError> {
        let files = Files { dir: dir.to_owned() };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let format = dir.join("format");
        match fs::read_to_string(&format) {
            Ok(text) => files.check_format(&format, &text)?,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                files.write_format(&format).map_err(failed(&format))?;
            }
            Err(source) => return Err(OpenError::Io { path: format, source }),
        }
        fs::create_dir_all(files.incoming()).map_err(failed(&files.incoming()))?;
        files.make_shelves().map_err(failed(&files.blobs()))?;
        Ok(files)
    }

    fn check_format(&self, path: &Path, text: &str) -> Result<(), OpenError> {
        let found = text.strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_end().parse().ok());
        match found {
            None | Some(0) => Err(OpenError::NotAStore { path: path.to_owned() }),
            Some(found) if found > FORMAT => {
                Err(OpenError::TooNew { dir: self.dir.clone(), found, known: FORMAT })
            }
            Some(_) => Ok(()),
        }
    }

    fn write_format(&self, path: &Path) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.dir)?;
        writeln!(file, "{FORMAT_WORD}{FORMAT}")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_dir(&self.dir)
    }

    /// Makes all 256 directories at once: made on demand, a put that finds one made by another put
    /// could be acknowledged before the directory itself is durable.
    fn make_shelves(&self) -> io::Result<()> {
        let blobs = self.blobs();
        fs::create_dir_all(&blobs)?;
        for shelf in 0..=u8::MAX {
            match fs::create_dir(blobs.join(format!("{shelf:02x}"))) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        sync_dir(&blobs)?;
        sync_dir(&self.dir)
    }

    /// Removes what unfinished uploads of an earlier process left behind.
    ///
    /// Call it only while holding the index, whose lock proves that nobody else uploads here.
    pub(super) fn remove_leftovers(&self) -> Result<(), OpenError> {
        let failed = |source| OpenError::Io { path: self.incoming(), source };
        for leftover in fs::read_dir(self.incoming()).map_err(failed)? {
            let path = leftover.map_err(failed)?.path();
            fs::remove_file(&path).map_err(|source| OpenError::Io { path, source })?;
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn index(&self) -> PathBuf {
        self.dir.join("small.redb")
    }

    fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    /// Where a large blob is.
    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        blob_path(&self.blobs(), digest)
    }

    /// A file for an upload; dropping it removes it.
    pub(super) fn begin(&self) -> Result<NamedTempFile, PutError> {
        let incoming = self.incoming();
        NamedTempFile::new_in(&incoming).map_err(|source| PutError::io(&incoming, source))
    }

    /// Gives a complete upload its name, durably.
    ///
    /// A blob that is there already is replaced: that repairs one whose bytes have rotted, and
    /// readers of the old file keep it.
    pub(super) fn keep(&self, upload: NamedTempFile, digest: Digest) -> Result<(), PutError> {
        let path = self.blob(digest);
        let failed = |source| PutError::io(&path, source);
        upload.as_file().sync_all().map_err(failed)?;
        upload.persist(&path).map_err(|kept| failed(kept.error))?;
        let shelf = path.parent().expect("a blob's path has a shelf above it");
        sync_dir(shelf).map_err(failed)
    }
}

/// Where a large blob is, in the directory of all of them.
pub(crate) fn blob_path(blobs: &Path, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    blobs.join(&hex[..2]).join(hex)
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
