//! Core dumps of a job on a cluster of this command's own, as files: the store that they are in is
//! gone with the command. Where a cluster goes on, they stay there, and `weir get` fetches them.

use std::path::{Path, PathBuf};

use weir_sdk::{
    Client,
    data::DownloadError,
    proto::{job::InputSource, page::StoredBlob},
};

use crate::{tally::Tally, text};

/// Most files that are looked past for a name that is free.
const MAX_TAKEN: u32 = 1000;

/// Writes the core dumps of the failures that are told into the current directory, over nothing that
/// is there. `remarks` says where, for who does not tell the failures.
///
/// One that cannot be written is told, and changes nothing else: the command ends as its job did.
pub(crate) async fn keep(client: &Client, tally: &mut Tally, remarks: bool) {
    for (task, blob) in tally.core_dumps() {
        match write(client, task, blob).await {
            Ok(path) => {
                if remarks {
                    text::note(&format!("the core dump of task {task} is in {}", path.display()));
                }
                tally.core_dump_is_in(task, path);
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                text::remark(&format!("cannot keep the core dump of task {task}: {error:#}"));
            }
        }
    }
}

async fn write(client: &Client, task: u32, blob: StoredBlob) -> Result<PathBuf, DownloadError> {
    let path = free_path(Path::new(""), task);
    client.download(InputSource::Blob(blob.digest), &path).await?;
    Ok(path)
}

/// The first of `core.7.wasm`, `core.7.1.wasm`, `core.7.2.wasm` that is not there yet.
fn free_path(dir: &Path, task: u32) -> PathBuf {
    let numbered = (1..MAX_TAKEN).map(|number| format!("core.{task}.{number}.wasm"));
    let names = [format!("core.{task}.wasm")].into_iter().chain(numbered);
    let mut paths = names.map(|name| dir.join(name));
    // Whatever is there is left alone, a link to nowhere too. Where all are taken, the last is not
    // overwritten either: the download makes a new file or none.
    let last = dir.join(format!("core.{task}.{MAX_TAKEN}.wasm"));
    paths.find(|path| path.symlink_metadata().is_err()).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_chosen_that_nothing_has() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["core.7.wasm", "core.7.1.wasm", "core.7.2.wasm"] {
            assert_eq!(free_path(dir.path(), 7), dir.path().join(name));
            std::fs::write(dir.path().join(name), "mine").expect("a file");
        }
        assert_eq!(free_path(dir.path(), 8), dir.path().join("core.8.wasm"));
    }
}
