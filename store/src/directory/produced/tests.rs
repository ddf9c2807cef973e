//! Directories that are on no disk, beside the same ones on a disk.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use proptest::prelude::*;
use tempfile::TempDir;
use weir_proto::job::InputSource;

use super::*;
use crate::{
    access::LocalError,
    blobs::BlobStore,
    bounds::MAX_CHUNK_BYTES,
    directory::{materialize, put_path},
    remote::RemoteStore,
    testing::{Double, Doubled, namespace, new_remote, new_store, noise, serve},
    tree::MAX_NAME_BYTES,
    view::BlobView,
};

fn file(bytes: Bytes) -> Produced {
    Produced::File { bytes: Arc::new(BlobView::from(bytes)), executable: false }
}

fn directory<const N: usize>(entries: [(&str, Produced); N]) -> BTreeMap<String, Produced> {
    entries.into_iter().map(|(name, produced)| (name.to_owned(), produced)).collect()
}

async fn put(
    store: &BlobStore,
    root: BTreeMap<String, Produced>,
) -> Result<(Digest, u64), PutTreeError<LocalError>> {
    put_tree(store, &namespace("a"), root).await
}

/// Bytes made up as they are read, which count what is read of them and may go wrong.
struct Made {
    bytes: Bytes,
    /// How often the bytes repeat.
    times: u64,
    claimed: u64,
    read_bytes: AtomicU64,
    largest_read: AtomicU64,
    /// Reads beyond this many bytes in all fail.
    fails_after: u64,
    /// Reads beyond this many bytes in all give other bytes.
    changes_after: u64,
}

impl Made {
    fn new(times: u64) -> Made {
        let bytes = noise(MAX_CHUNK_BYTES, 1);
        Made {
            claimed: bytes.len() as u64 * times,
            bytes,
            times,
            read_bytes: AtomicU64::new(0),
            largest_read: AtomicU64::new(0),
            fails_after: u64::MAX,
            changes_after: u64::MAX,
        }
    }

    fn file(self) -> (Arc<Made>, Produced) {
        let made = Arc::new(self);
        (Arc::clone(&made), Produced::File { bytes: made, executable: false })
    }
}

impl ReadAt for Made {
    fn len(&self) -> u64 {
        self.claimed
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let period = self.bytes.len() as u64;
        let end = (period * self.times).min(offset + buffer.len() as u64);
        for (at, byte) in (offset..end).zip(&mut *buffer) {
            *byte = self.bytes[(at % period) as usize];
        }
        let read = end.saturating_sub(offset);
        let before = self.read_bytes.fetch_add(read, Relaxed);
        self.largest_read.fetch_max(buffer.len() as u64, Relaxed);
        if before + read > self.fails_after {
            return Err(io::Error::other("made to fail"));
        }
        if before + read > self.changes_after {
            buffer[0] ^= 1;
        }
        Ok(read as usize)
    }
}

#[tokio::test]
async fn a_produced_directory_is_the_tree_of_the_same_directory_on_a_disk() {
    let (dir, _, remote) = new_remote().await;
    let a = namespace("a");
    let root = directory([
        ("small", file(Bytes::from("hello"))),
        ("nothing", file(Bytes::new())),
        ("empty", Produced::Directory(BTreeMap::new())),
        ("sub", Produced::Directory(directory([("large", file(noise(5 << 20, 1)))]))),
    ]);
    let (tree, size_bytes) = put_tree(&remote, &a, root).await.unwrap();
    assert_eq!(size_bytes, 5 + (5 << 20));
    let to = dir.path().join("to");
    materialize(&remote, &a, InputSource::Tree(tree), &to, size_bytes).await.unwrap();
    assert_eq!(fs::read(to.join("sub/large")).unwrap(), noise(5 << 20, 1));
    let put = put_path(&remote, &a, &to).await.unwrap();
    assert_eq!((put.root, put.size_bytes), (InputSource::Tree(tree), size_bytes));
}

#[tokio::test]
async fn what_the_store_has_is_not_sent_again() {
    let (_dir, store) = new_store().await;
    let double = Double::new(store);
    let remote = RemoteStore::new(serve(Doubled(double.clone())).await);
    for puts in [3, 3] {
        let root = directory([
            ("a", file(noise(100, 1))),
            ("b", file(noise(2000, 2))),
            ("large", file(noise(100_000, 3))),
            ("same", file(noise(100_000, 3))),
        ]);
        put_tree(&remote, &namespace("a"), root).await.unwrap();
        // One batch of small files, the large one, and the tree.
        assert_eq!(double.puts.load(Relaxed), puts);
    }
}

#[tokio::test]
async fn a_file_is_read_twice_in_bounded_pieces() {
    let (_dir, store, remote) = new_remote().await;
    let (made, produced) = Made::new(100).file();
    let root = directory([("large", produced)]);
    let (_, size_bytes) = put_tree(&remote, &namespace("a"), root).await.unwrap();
    assert_eq!(size_bytes, 100 << 20);
    assert_eq!(made.read_bytes.load(Relaxed), 200 << 20);
    assert!(made.largest_read.load(Relaxed) <= MAX_CHUNK_BYTES as u64);
    let (digest, _) = hash(&*made).unwrap();
    assert_eq!(store.verify(&namespace("a"), digest).await.unwrap(), 100 << 20);
}

#[tokio::test]
async fn a_blob_that_is_there_is_named_and_one_that_is_not_is_refused() {
    let (_dir, store) = new_store().await;
    let bytes = noise(100_000, 1);
    let digest = Digest::of(&bytes);
    let blob = || Produced::Blob(ImageFile { digest, size_bytes: 100_000, executable: true });
    let root = || directory([("new", file(noise(10, 2))), ("old", blob())]);

    let refused = put(&store, root()).await.unwrap_err();
    assert!(matches!(&refused, PutTreeError::Missing { path, .. } if path == Path::new("old")));
    let new = Digest::of(&noise(10, 2));
    assert_eq!(store.find_missing(&namespace("a"), &[new]).await.unwrap(), [new]);
    // Another namespace's blob is not there either.
    store.put(&namespace("b"), bytes.clone()).await.unwrap();
    assert!(matches!(put(&store, root()).await, Err(PutTreeError::Missing { .. })));

    store.put(&namespace("a"), bytes.clone()).await.unwrap();
    let (tree, size_bytes) = put(&store, root()).await.unwrap();
    assert_eq!(size_bytes, 100_010);
    let tree = Tree::decode(&store.get(&namespace("a"), tree).await.unwrap()).unwrap();
    assert_eq!(tree.get("old").unwrap().node, Node::Blob { digest, executable: true });
}

#[tokio::test]
async fn a_blob_named_beside_a_new_file_with_its_bytes_is_not_missing() {
    let (_dir, store) = new_store().await;
    let bytes = noise(1000, 1);
    let named = ImageFile { digest: Digest::of(&bytes), size_bytes: 1000, executable: false };
    let root = directory([("a", file(bytes)), ("b", Produced::Blob(named))]);
    assert_eq!(put(&store, root).await.unwrap().1, 2000);
}

#[tokio::test]
async fn a_file_that_fails_or_changes_is_refused() {
    let (_dir, store, remote) = new_remote().await;
    const MIB: u64 = 1 << 20;
    let a = namespace("a");
    let root = |made: Made| directory([("large", made.file().1)]);
    // While it is hashed, and while it is sent.
    for fails_after in [MIB, 3 * MIB] {
        let made = || root(Made { fails_after, ..Made::new(2) });
        match put(&store, made()).await.unwrap_err() {
            PutTreeError::Read { path, .. } => {
                assert_eq!((path, fails_after), ("large".into(), MIB));
            }
            PutTreeError::Sink { source: LocalError::Read { path, .. }, .. } => {
                assert_eq!((path, fails_after), ("large".into(), 3 * MIB));
            }
            other => panic!("{other:?}"),
        }
        assert!(put_tree(&remote, &a, made()).await.is_err());
    }
    let grew = root(Made { claimed: MIB, ..Made::new(2) });
    assert!(matches!(put(&store, grew).await, Err(PutTreeError::Changed { .. })));
    let changes = root(Made { changes_after: 3 * MIB, ..Made::new(2) });
    assert!(matches!(put(&store, changes).await, Err(PutTreeError::Sink { .. })));
    let small = Made { bytes: noise(100, 1), claimed: 100, changes_after: 150, ..Made::new(1) };
    assert!(matches!(put(&store, root(small)).await, Err(PutTreeError::Changed { .. })));
    assert_eq!(store.list(&a, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_directory_beyond_the_bounds_is_refused() {
    let (_dir, store) = new_store().await;
    let deep = |levels| {
        (0..levels)
            .fold(BTreeMap::new(), |within, _| directory([("d", Produced::Directory(within))]))
    };
    put(&store, deep(MAX_DEPTH - 1)).await.unwrap();
    let refused = put(&store, deep(MAX_DEPTH)).await.unwrap_err();
    assert!(
        matches!(&refused, PutTreeError::TooDeep { path } if path.components().count() == MAX_DEPTH)
    );

    let wide = |entries: usize| {
        let entry = |n: usize| (n.to_string(), Produced::Directory(BTreeMap::new()));
        Produced::Directory((0..entries).map(entry).collect())
    };
    let half = MAX_ENTRIES / 2 - 1;
    put(&store, directory([("a", wide(half)), ("b", wide(half))])).await.unwrap();
    let refused = put(&store, directory([("a", wide(half)), ("b", wide(half + 1))])).await;
    assert!(matches!(refused, Err(PutTreeError::TooManyEntries)));

    for name in ["", "..", "a/b", &"x".repeat(MAX_NAME_BYTES + 1)] {
        let root = directory([(name, file(Bytes::new()))]);
        let refused = put(&store, root).await.unwrap_err();
        let PutTreeError::Tree { source: TreeError::BadName { .. }, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(refused.to_string(), ". cannot be a tree");
    }
}

#[test]
fn random_directories_are_the_same_trees_as_on_a_disk() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_dir, store) = runtime.block_on(new_store());
    let file = ("[a-c]{1,2}(/[d-f]{1,2}){0,3}", 0..100_000usize, any::<bool>());
    let files = prop::collection::vec(file, 0..12);
    proptest!(ProptestConfig::with_cases(32), |(files in files)| {
        let source = TempDir::new().unwrap();
        let mut root = BTreeMap::new();
        for (seed, (name, size, executable)) in files.iter().enumerate() {
            let path = source.path().join(name);
            // A name that is a file in one path and a directory in another is left out.
            if fs::create_dir_all(path.parent().unwrap()).is_err() || path.exists() {
                continue;
            }
            let bytes = noise(*size, seed as u64);
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 })).unwrap();
            let bytes = Arc::new(BlobView::from(bytes));
            insert(&mut root, name, Produced::File { bytes, executable: *executable });
        }
        runtime.block_on(async {
            // In another namespace, so that neither finds what the other put.
            let produced = put(&store, root).await.unwrap();
            let on_disk = put_path(&store, &namespace("b"), source.path()).await.unwrap();
            assert_eq!((InputSource::Tree(produced.0), produced.1), (on_disk.root, on_disk.size_bytes));
            let to = source.path().join("to");
            materialize(&store, &namespace("a"), on_disk.root, &to, produced.1).await.unwrap();
        });
    });
}

/// Puts something at a path, making the directories on the way.
fn insert(root: &mut BTreeMap<String, Produced>, path: &str, produced: Produced) {
    let Some((first, rest)) = path.split_once('/') else {
        root.insert(path.to_owned(), produced);
        return;
    };
    let within = root.entry(first.to_owned());
    match within.or_insert_with(|| Produced::Directory(BTreeMap::new())) {
        Produced::Directory(within) => insert(within, rest, produced),
        Produced::File { .. } | Produced::Blob(_) => panic!("{first} is a file"),
    }
}
