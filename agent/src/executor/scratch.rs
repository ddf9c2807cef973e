//! Where what guests write goes when it does not fit in memory: one directory of the executor's own.
//!
//! The files in it have no names, so there is nothing to remove when an attempt ends, nor when the
//! agent dies.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} as a scratch directory", path = path.display())]
pub struct ScratchError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the directory, or empties it of what is there.
///
/// # Errors
/// When it cannot be made, or a file cannot be made in it.
pub(super) fn open(root: &Path) -> Result<(), ScratchError> {
    let emptied = match fs::remove_dir_all(root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(root),
    };
    // A guest that needs it should not be the first to find out.
    let tried = emptied.and_then(|()| tempfile::tempfile_in(root).map(drop));
    tried.map_err(|source| ScratchError { path: root.to_owned(), source })
}
