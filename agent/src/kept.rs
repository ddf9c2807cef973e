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

use weir_proto::{digest::Digest, id::ClusterId, page::Page};

/// Begins the names of files that are not finished.
const UNFINISHED: &str = "unfinished-";

/// Most orders that the writer has not come to; beyond them pages are not kept.
const MAX_ORDERS: usize = 1_024;

/// A page, and the cluster that its tasks came from.
pub(crate) type ClusterPage = (ClusterId, Vec<u8>);

/// What is kept. Dropping it waits until all that was asked for is done.
pub(crate) struct KeptPages {
    /// Open until this is dropped.
    orders: Option<mpsc::SyncSender<Order>>,
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
        let mut paths =
            fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        // Those of one cluster come together.
        paths.sort_unstable();
        for path in paths {
            match read(&path) {
                Ok(Some(page)) => {
                    pages.push(page);
                    files.insert(pages.len() as u64, path);
                }
                Ok(None) => remove(&path),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%error, %path, "cannot read a page that was kept");
                }
            }
        }
        let (orders, inbox) = mpsc::sync_channel(MAX_ORDERS);
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
        if let Some(orders) = &self.orders
            && orders.try_send(order).is_err()
        {
            // Pages go to the master all the same; one that is forgotten too late is told again.
            tracing::warn!("the disk is too slow: results may not outlive this agent");
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
        if let Some(path) = self.files.remove(&seq) {
            remove(&path);
        }
    }
}

/// What stays is told again by the next life, and the leader knows it.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove a page");
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
    let cluster = cluster.filter(|_| Page::decode(&page).is_ok());
    let cluster = cluster.and_then(|(cluster, _)| u64::from_str_radix(cluster, 16).ok());
    if cluster.is_none() {
        tracing::warn!(path = %path.display(), "not a page that was kept whole: removed");
    }
    Ok(cluster.map(|cluster| (ClusterId(cluster), page)))
}

#[cfg(test)]
mod tests {
    use super::*;

    use weir_proto::{
        id::{JobId, StageId},
        outcome::{Outcome, Usage},
        page::TaskResult,
    };

    const CLUSTER: ClusterId = ClusterId(7);

    /// A page of one task.
    fn page(first: u32) -> ClusterPage {
        let outcome = Outcome::Succeeded { exit_code: 0 };
        let results = vec![TaskResult::without_output(outcome, Usage::default())];
        let stage = StageId { job: JobId(1), stage: 0 };
        (CLUSTER, Page { stage, first, results }.encode())
    }

    /// As a set: the order is that of the files' names.
    fn pages(mut pages: Vec<ClusterPage>) -> Vec<ClusterPage> {
        pages.sort_unstable();
        pages
    }

    fn open(dir: &Path) -> (KeptPages, Vec<ClusterPage>) {
        KeptPages::open(dir.join("kept")).expect("a directory")
    }

    #[test]
    fn what_was_kept_and_not_forgotten_is_there_in_the_next_life() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, earlier) = open(dir.path());
        assert!(earlier.is_empty());
        for seq in 1..=3 {
            kept.keep(seq, page(seq as u32));
        }
        kept.forget(2);
        drop(kept);
        let (kept, earlier) = open(dir.path());
        // The numbers are this life's own, in the order of the pages.
        let third =
            earlier.iter().position(|known| *known == page(3)).expect("it was kept") as u64 + 1;
        kept.forget(third);
        kept.keep(9, page(9));
        assert_eq!(pages(earlier), pages(vec![page(1), page(3)]));
        drop(kept);
        let (_, earlier) = open(dir.path());
        assert_eq!(pages(earlier), pages(vec![page(1), page(9)]));
    }

    #[test]
    fn a_file_that_decayed_or_is_not_finished_is_thrown_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, _) = open(dir.path());
        kept.keep(1, page(1));
        drop(kept);
        let files = || fs::read_dir(dir.path().join("kept")).expect("a directory");
        let file = files().next().expect("a file").expect("a file").path();
        // What is no page here is none there either.
        let (kept, _) = open(dir.path());
        kept.keep(2, (CLUSTER, b"page".to_vec()));
        drop(kept);
        fs::write(&file, b"pagf").expect("written");
        fs::write(file.with_file_name("unfinished-1"), b"pa").expect("written");
        fs::write(file.with_file_name("notes"), b"mine").expect("written");
        let (_kept, earlier) = open(dir.path());
        assert!(earlier.is_empty());
        assert_eq!(files().count(), 0);
    }

    #[test]
    fn a_page_that_an_earlier_binary_kept_is_read_and_kept_the_same() {
        let golden = Path::new("tests/golden/kept");
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(golden).expect("a directory");
            write(golden, page(1)).expect("written");
        }
        let file = fs::read_dir(golden).expect("a directory").next().expect("a file");
        let file = file.expect("a file").path();
        assert_eq!(read(&file).expect("readable"), Some(page(1)));
        let dir = tempfile::tempdir().expect("a directory");
        let today = write(dir.path(), page(1)).expect("written");
        assert_eq!(today.file_name(), file.file_name());
        assert_eq!(fs::read(today).expect("readable"), fs::read(file).expect("readable"));
    }

    #[test]
    fn a_disk_that_fails_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let (kept, _) = open(dir.path());
        fs::remove_dir(dir.path().join("kept")).expect("removed");
        kept.keep(1, page(1));
        kept.forget(1);
        drop(kept);
        assert!(open(dir.path()).1.is_empty());
    }
}
