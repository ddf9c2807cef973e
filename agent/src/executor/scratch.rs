//! Directories that tasks need for a while, under the executor's scratch root.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::runtime::Handle;

/// Where directories are made; everything in it belongs to the executor.
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    root: Arc<Path>,
    next: Arc<AtomicU64>,
    runtime: Handle,
}

/// A directory that is removed after its last use, on a blocking thread.
#[derive(Debug)]
pub(super) struct ScratchDir {
    path: PathBuf,
    runtime: Handle,
}

/// A directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} as a scratch directory", path = path.display())]
pub struct ScratchError {
    path: PathBuf,
    source: io::Error,
}

impl Scratch {
    /// Empties the root of what an earlier life left, or makes it.
    pub(super) fn open(root: &Path, runtime: Handle) -> Result<Scratch, ScratchError> {
        let emptied = match fs::remove_dir_all(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(root),
        };
        emptied.map_err(|source| ScratchError { path: root.to_owned(), source })?;
        Ok(Scratch { root: root.into(), next: Arc::default(), runtime })
    }

    /// Makes an empty directory, on a blocking thread.
    pub(super) async fn make_dir(&self) -> Result<ScratchDir, ScratchError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir =
            ScratchDir { path: self.root.join(number.to_string()), runtime: self.runtime.clone() };
        let made = self.runtime.spawn_blocking({
            let path = dir.path.clone();
            move || fs::create_dir(path)
        });
        made.await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| ScratchError { path: dir.path.clone(), source })?;
        Ok(dir)
    }
}

impl ScratchDir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // What cannot be removed now is removed by the next start of the executor.
        self.runtime.spawn_blocking(move || fs::remove_dir_all(path));
    }
}
