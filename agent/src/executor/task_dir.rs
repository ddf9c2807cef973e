//! The directory of one task: `/out`, inputs that it may change, and the file of its item. Tasks that
//! need none of these have none, and pay nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use weir_proto::{
    id::Namespace,
    job::{InputSource, Keep},
    manifest::{ITEM_DIR, Item},
};

use super::{
    Shared,
    lane::Lane,
    layout::Group,
    prepare::{Prepared, lay_out},
    scratch::{ScratchDir, ScratchError},
};
use crate::{
    data::{DataError, TaskData},
    sandbox::Mount,
};

/// What a task has on disk for itself.
pub(super) struct TaskDir {
    dir: ScratchDir,
    /// What the guest sees besides `/out`: where, and whether it may change it.
    seen: Vec<(String, PathBuf, bool)>,
    has_out: bool,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TaskDirError {
    #[error("cannot make a directory for the task")]
    Scratch(#[from] ScratchError),
    #[error("cannot lay out what the task works on")]
    Data(#[from] DataError),
    #[error("the thread that laid out what the task works on died")]
    Lost,
}

impl TaskDir {
    /// Makes what a task needs; nothing where it needs nothing.
    pub(super) async fn make(
        shared: &Shared,
        lane: &Lane,
        prepared: &Prepared,
        item: Option<&Item>,
    ) -> Result<Option<TaskDir>, TaskDirError> {
        let has_out = lane.spec.keep != Keep::Nothing;
        let file = item.and_then(|item| Some((item.name().to_owned(), item.source?)));
        if !has_out && file.is_none() && prepared.private.is_empty() {
            return Ok(None);
        }
        let dir = shared.scratch.make_dir().await?;
        let filling = Filling {
            data: shared.data.clone(),
            namespace: lane.namespace.clone(),
            root: dir.path().to_owned(),
            private: prepared.private.clone(),
            file,
            has_out,
        };
        // On the runtime: workers are for guests.
        let seen = shared.runtime.spawn(filling.fill()).await;
        let seen = seen.map_err(|_| TaskDirError::Lost)??;
        Ok(Some(TaskDir { dir, seen, has_out }))
    }

    /// What the guest sees besides `/out`.
    pub(super) fn mounts(&self) -> impl Iterator<Item = Mount<'_>> {
        self.seen.iter().map(|(guest, host, writable)| Mount { guest, host, writable: *writable })
    }

    /// The guest's `/out`, if it has one.
    pub(super) fn out(&self) -> Option<PathBuf> {
        self.has_out.then(|| self.dir.path().join("out"))
    }

    /// The directory with what is to be kept of `/out`.
    ///
    /// # Errors
    /// `Unusable` when a part of a path is a symbolic link: the guest chose where it leads.
    pub(super) fn kept(&self, keep: &Keep) -> Result<PathBuf, DataError> {
        let out = self.dir.path().join("out");
        let Keep::Paths(paths) = keep else { return Ok(out) };
        let kept = self.dir.path().join("kept");
        let disk = |path: &Path, source| DataError::Disk { path: path.to_owned(), source };
        fs::create_dir(&kept).map_err(|source| disk(&kept, source))?;
        for path in paths {
            if !is_there(&out, path)? {
                continue;
            }
            let to = kept.join(path);
            let parent = to.parent().unwrap_or(&kept);
            fs::create_dir_all(parent).map_err(|source| disk(parent, source))?;
            match fs::rename(out.join(path), &to) {
                // Kept already, with the directory it was in.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed.map_err(|source| disk(&to, source))?,
            }
        }
        Ok(kept)
    }
}

/// Whether a path is there, without following a link on the way.
fn is_there(out: &Path, path: &str) -> Result<bool, DataError> {
    let mut at = out.to_owned();
    for part in path.split('/') {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_symlink() => {
                let reason = format!("/out/{path} is to be kept, and a part of it is a link");
                return Err(DataError::Unusable { reason });
            }
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(false);
            }
            Err(source) => return Err(DataError::Disk { path: at, source }),
        }
    }
    Ok(true)
}

/// What is laid out, away from the worker.
struct Filling {
    data: std::sync::Arc<dyn TaskData>,
    namespace: Namespace,
    root: PathBuf,
    private: Vec<Group>,
    file: Option<(String, InputSource)>,
    has_out: bool,
}

impl Filling {
    async fn fill(self) -> Result<Vec<(String, PathBuf, bool)>, DataError> {
        let mut seen = Vec::new();
        for (number, group) in self.private.into_iter().enumerate() {
            let path = self.root.join(number.to_string());
            lay_out(&*self.data, &self.namespace, &group, &path).await?;
            seen.push((group.guest, path, true));
        }
        if let Some((name, source)) = self.file {
            let path = make(&self.root, "item").await?;
            self.data.materialize(&self.namespace, source, &path.join(name)).await?;
            seen.push((ITEM_DIR.to_owned(), path, false));
        }
        if self.has_out {
            make(&self.root, "out").await?;
        }
        Ok(seen)
    }
}

async fn make(root: &Path, name: &str) -> Result<PathBuf, DataError> {
    let path = root.join(name);
    match tokio::fs::create_dir(&path).await {
        Ok(()) => Ok(path),
        Err(source) => Err(DataError::Disk { path, source }),
    }
}
