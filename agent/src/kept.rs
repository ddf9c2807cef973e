//! Pages that outlive the agent's process: a file each, named by its content, until a leader says
//! that it is stored.
//!
//! A thread of its own writes them, so that no slow disk holds up the session: a page that is stored
//! before its turn came is never written. What cannot be written is only less safe, not lost.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
};

use weir_proto::{digest::Digest, id::ClusterId};

/// Begins the names of files that are not finished.
const UNFINISHED: &str = "unfinished-";

/// A page, and the cluster that its tasks came from.
pub(crate) type ClusterPage = (ClusterId, Vec<u8>);

/// What is kept. Dropping it waits until all that was asked for is done.
pub(crate) struct KeptPages {
    /// Open until this is dropped.
    orders: Option<mpsc::Sender<Order>>,
    writer: Option<JoinHandle<()>>,
}

enum Order {
    Keep(u64, ClusterPage),
    Forget(u64),
}

/// The writer's own things.
struct Writer {
    dir: PathBuf,
    /// Where each page is, by its number in this life.
    files: HashMap<u64, PathBuf>,
    /// Whether the disk failed last time, and that was told.
    failing: bool,
}

impl KeptPages {
    /// Of a directory that no other process uses; with it the pages of earlier lives, numbered from 1.
    pub(crate) fn open(dir: PathBuf) -> io::Result<(KeptPages, Vec<ClusterPage>)> {
        fs::create_dir_all(&dir)?;
        let (mut pages, mut files) = (Vec::new(), HashMap::new());
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let Some(page) = read(&path)? else {
                fs::remove_file(&path)?;
                continue;
            };
            pages.push(page);
            files.insert(pages.len() as u64, path);
        }
        let (orders, inbox) = mpsc::channel();
        let mut writer = Writer { dir, files, failing: false };
        let thread = std::thread::Builder::new().name("weir-pages".to_owned());
        let writer = thread.spawn(move || writer.run(&inbox))?;
        Ok((KeptPages { orders: Some(orders), writer: Some(writer) }, pages))
    }

    /// Lets a page outlive this process.
    pub(crate) fn keep(&self, seq: u64, page: ClusterPage) {
        self.order(Order::Keep(seq, page));
    }

    /// Nobody needs a page any more.
    pub(crate) fn forget(&self, seq: u64) {
        self.order(Order::Forget(seq));
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A writer that panicked has said so, and pages go to the master all the same.
            let _dead = orders.send(order);
        }
    }
}

impl Drop for KeptPages {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

impl Writer {
    fn run(&mut self, inbox: &mpsc::Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let mut wanted = HashMap::new();
            for order in std::iter::once(first).chain(inbox.try_iter()) {
                match order {
                    Order::Keep(seq, page) => drop(wanted.insert(seq, page)),
                    Order::Forget(seq) if wanted.remove(&seq).is_some() => {}
                    Order::Forget(seq) => self.forget(seq),
                }
            }
            for (seq, page) in wanted {
                self.keep(seq, page);
            }
        }
    }

    fn keep(&mut self, seq: u64, page: ClusterPage) {
        match write(&self.dir, page) {
            Ok(path) => {
                self.failing = false;
                self.files.insert(seq, path);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let dir = self.dir.display();
                    tracing::warn!(%error, %dir, "results would not outlive this agent");
                }
            }
        }
    }

    fn forget(&mut self, seq: u64) {
        let Some(path) = self.files.remove(&seq) else { return };
        if let Err(error) = fs::remove_file(&path) {
            // The next life tells of it again, and the leader knows it.
            tracing::warn!(%error, path = %path.display(), "cannot remove a stored page");
        }
    }
}

/// Writes a page durably: there is a whole file, or none.
fn write(dir: &Path, (cluster, page): ClusterPage) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    file.write_all(&page)?;
    file.as_file().sync_data()?;
    let path = dir.join(format!("{:016x}-{}", cluster.0, Digest::of(&page).hex()));
    file.persist(&path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(path)
}

/// A page of an earlier life; nothing if the file is not whole, or none of ours.
fn read(path: &Path) -> io::Result<Option<ClusterPage>> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if name.starts_with(UNFINISHED) {
        return Ok(None);
    }
    let page = fs::read(path)?;
    let cluster = name.split_once('-').filter(|(_, digest)| *digest == Digest::of(&page).hex());
    let cluster = cluster.and_then(|(cluster, _)| u64::from_str_radix(cluster, 16).ok());
    if cluster.is_none() {
        tracing::warn!(path = %path.display(), "not a page that was kept whole: removed");
    }
    Ok(cluster.map(|cluster| (ClusterId(cluster), page)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    fn open(dir: &Path) -> (KeptPages, Vec<ClusterPage>) {
        KeptPages::open(dir.join("kept")).expect("a directory")
    }

    #[test]
    fn what_was_kept_and_not_forgotten_is_there_in_the_next_life() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, earlier) = open(dir.path());
        assert!(earlier.is_empty());
        for seq in 1..=3 {
            kept.keep(seq, (CLUSTER, vec![seq as u8]));
        }
        kept.forget(2);
        drop(kept);
        let (kept, mut earlier) = open(dir.path());
        // The numbers are this life's own, in the order of the pages.
        let third = earlier.iter().position(|page| page.1 == [3]).expect("it was kept") as u64 + 1;
        kept.forget(third);
        kept.keep(9, (CLUSTER, vec![9]));
        earlier.sort_by_key(|page| page.1.clone());
        assert_eq!(earlier, [(CLUSTER, vec![1]), (CLUSTER, vec![3])]);
        drop(kept);
        let (_, mut earlier) = open(dir.path());
        earlier.sort_by_key(|page| page.1.clone());
        assert_eq!(earlier, [(CLUSTER, vec![1]), (CLUSTER, vec![9])]);
    }

    #[test]
    fn a_file_that_decayed_or_is_not_finished_is_thrown_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, _) = open(dir.path());
        kept.keep(1, (CLUSTER, b"page".to_vec()));
        drop(kept);
        let files = || fs::read_dir(dir.path().join("kept")).expect("a directory");
        let file = files().next().expect("a file").expect("a file").path();
        fs::write(&file, b"pagf").expect("written");
        fs::write(file.with_file_name("unfinished-1"), b"pa").expect("written");
        fs::write(file.with_file_name("notes"), b"mine").expect("written");
        let (_kept, earlier) = open(dir.path());
        assert!(earlier.is_empty());
        assert_eq!(files().count(), 0);
    }

    #[test]
    fn a_disk_that_fails_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, _) = open(dir.path());
        fs::remove_dir(dir.path().join("kept")).expect("removed");
        kept.keep(1, (CLUSTER, b"page".to_vec()));
        kept.forget(1);
        drop(kept);
        assert!(open(dir.path()).1.is_empty());
    }
}
