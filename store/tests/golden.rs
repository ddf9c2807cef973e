//! The store's directory as an earlier binary left it: opened today it has the same blobs, and what is
//! written today has the same files and the same rows.

#[path = "../../proto/tests/golden/files.rs"]
mod files;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tempfile::TempDir;
use weir_proto::{digest::Digest, id::Namespace};
use weir_store::{
    blobs::{BlobStore, OpenError, SMALL_BLOB_BYTES},
    doctor::{ExamineError, StoreFindings, examine},
};

const GOLDEN: &str = "tests/golden/store-1.hex";

const MEMBERS: TableDefinition<(&str, &[u8; 32]), u64> = TableDefinition::new("members");
const SMALL: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("small");

/// What is in the golden store: whose, and which bytes.
fn blobs() -> Vec<(Namespace, Bytes)> {
    let namespace = |name: &str| name.parse().expect("a namespace");
    let mut large = vec![0; SMALL_BLOB_BYTES as usize + 1];
    large[7] = 1;
    vec![
        (namespace("blue"), Bytes::from_static(b"small")),
        (namespace("blue"), Bytes::from(large)),
        (namespace("default"), Bytes::from_static(b"")),
        (namespace("default"), Bytes::from_static(b"small")),
    ]
}

/// A store with these blobs that nobody uses any more.
async fn written_today() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let store = BlobStore::open(dir.path()).await.expect("a store");
    for (namespace, blob) in blobs() {
        store.put(&namespace, blob).await.expect("stored");
    }
    drop(store);
    whole(dir.path()).await;
    dir
}

/// What a look at a store finds once the thread that writes it has let go of it.
async fn whole(dir: &Path) -> StoreFindings {
    for _ in 0..300 {
        match examine(dir, true) {
            Err(ExamineError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            found => return found.expect("a store"),
        }
    }
    panic!("{} stays in use", dir.display());
}

/// The golden store in a directory.
async fn golden() -> TempDir {
    if files::is_update() {
        let dir = written_today().await;
        let paths =
            ["format".into(), "small.redb".into()].into_iter().chain(large_files(dir.path()));
        let record = |path: PathBuf| {
            let bytes = fs::read(dir.path().join(&path)).expect("a file");
            (path.display().to_string(), bytes)
        };
        let records: Vec<(String, Vec<u8>)> = paths.map(record).collect();
        let named = records.iter().map(|(name, bytes)| (&name[..], bytes.clone()));
        files::write(GOLDEN, &named.collect::<Vec<_>>());
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (path, bytes) in files::read(GOLDEN) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, bytes).expect("written");
    }
    dir
}

/// Paths of large blobs beneath a store.
fn large_files(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shelf in fs::read_dir(store.join("blobs")).expect("shelves") {
        for blob in fs::read_dir(shelf.expect("a shelf").path()).expect("a shelf") {
            let path = blob.expect("a blob").path();
            found.push(path.strip_prefix(store).expect("it is beneath").to_owned());
        }
    }
    found
}

type Rows = (BTreeMap<(String, [u8; 32]), u64>, BTreeMap<[u8; 32], Vec<u8>>);

/// All that the index says.
fn rows(store: &Path) -> Rows {
    let index = Database::open(store.join("small.redb")).expect("an index");
    let reading = index.begin_read().expect("a transaction");
    assert_eq!(reading.list_tables().expect("tables").count(), 2);
    let members = reading.open_table(MEMBERS).expect("members");
    let members = members.iter().expect("rows").map(|row| {
        let (key, size) = row.expect("a row");
        let (namespace, digest) = key.value();
        ((namespace.to_owned(), *digest), size.value())
    });
    let small = reading.open_table(SMALL).expect("small blobs");
    let small = small.iter().expect("rows").map(|row| {
        let (digest, bytes) = row.expect("a row");
        (*digest.value(), bytes.value().to_vec())
    });
    (members.collect(), small.collect())
}

#[tokio::test]
async fn a_store_of_an_earlier_binary_has_what_it_had() {
    let dir = golden().await;
    let store = BlobStore::open(dir.path()).await.expect("a store of an earlier binary");
    for (namespace, blob) in blobs() {
        let digest = Digest::of(&blob);
        assert_eq!(store.get(&namespace, digest).await.expect("a blob"), blob);
    }
    let listed = store.list(&"blue".parse().expect("a namespace"), None, 10).await;
    assert_eq!(listed.expect("a list").len(), 2, "and nothing else");
    drop(store);
    let found = whole(dir.path()).await;
    assert_eq!((found.damage, found.members.len()), (Vec::new(), 4));
}

#[tokio::test]
async fn a_store_of_today_has_the_files_and_the_rows_of_the_golden_one() {
    let (golden, today) = (golden().await, written_today().await);
    let format = |dir: &TempDir| fs::read_to_string(dir.path().join("format")).expect("a format");
    assert_eq!(format(&today), format(&golden));
    assert_eq!(rows(today.path()), rows(golden.path()));
    let large = large_files(golden.path());
    assert_eq!((large_files(today.path()), large.len()), (large.clone(), 1));
    for path in large {
        let bytes = |dir: &TempDir| fs::read(dir.path().join(&path)).expect("a blob");
        assert!(bytes(&today) == bytes(&golden), "{} differs", path.display());
    }
}

#[tokio::test]
async fn a_store_of_another_format_is_refused_and_says_which() {
    for (format, refusal) in [
        ("weir-store 2\n", "has format 2; this binary knows up to 1"),
        ("weir-store 0\n", "is not a store's format file"),
        ("something else\n", "is not a store's format file"),
    ] {
        let dir = golden().await;
        fs::write(dir.path().join("format"), format).expect("written");
        let refused = BlobStore::open(dir.path()).await.expect_err("another format");
        assert!(matches!(refused, OpenError::TooNew { .. } | OpenError::NotAStore { .. }));
        assert!(refused.to_string().contains(refusal), "{refused}");
    }
}
