//! The cache over a real loopback connection to a service that counts.

use std::{fs, sync::atomic::Ordering::Relaxed};

use tempfile::TempDir;

use super::*;
use crate::testing::{Double, Doubled, namespace, new_store, noise, serve};

pub(super) struct Fixture {
    /// The cache's disk.
    pub(super) dir: TempDir,
    /// The remote store's own disk.
    pub(super) behind: BlobStore,
    double: Arc<Double>,
    pub(super) cache: CachedStore,
    _dirs: TempDir,
}

pub(super) async fn new_cache() -> Fixture {
    let (behind_dir, behind) = new_store().await;
    let (dir, local) = new_store().await;
    let double = Double::new(behind.clone());
    let remote = RemoteStore::new(serve(Doubled(double.clone())).await);
    let cache = CachedStore::new(local, remote);
    Fixture { dir, behind, double, cache, _dirs: behind_dir }
}

impl Fixture {
    pub(super) fn gets(&self) -> usize {
        self.double.gets.load(Relaxed)
    }

    /// From now on `Get` waits for permits that the test gives.
    fn close_gate(&self) {
        self.double.gate.forget_permits(usize::MAX);
    }
}

#[tokio::test]
async fn a_blob_is_downloaded_once_and_then_here() {
    let it = new_cache().await;
    let a = namespace("a");
    for size in [100, 3 << 20] {
        let before = it.gets();
        let digest = it.behind.put(&a, noise(size, 1)).await.unwrap();
        assert_eq!(it.cache.fetch(&a, digest).await.unwrap(), size as u64);
        assert_eq!(it.cache.fetch(&a, digest).await.unwrap(), size as u64);
        assert_eq!(it.cache.get(&a, digest).await.unwrap(), noise(size, 1));
        assert_eq!(it.gets(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_fetch_one_blob_at_once_download_it_once() {
    let it = new_cache().await;
    let a = namespace("a");
    let digest = it.behind.put(&a, noise(1 << 20, 1)).await.unwrap();
    it.close_gate();
    let fetch = |_| {
        let cache = it.cache.clone();
        tokio::spawn(async move { cache.fetch(&namespace("a"), digest).await })
    };
    let fetches: Vec<_> = (0..20).map(fetch).collect();
    while it.cache.flights.followers.load(Relaxed) < 19 {
        tokio::task::yield_now().await;
    }
    it.double.gate.add_permits(1);
    for fetch in fetches {
        assert_eq!(fetch.await.unwrap().unwrap(), 1 << 20);
    }
    assert_eq!(it.gets(), 1);
    assert_eq!(it.cache.flights.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_when_the_one_who_leads_it_gives_up() {
    let it = new_cache().await;
    let a = namespace("a");
    let digest = it.behind.put(&a, noise(1000, 1)).await.unwrap();
    it.close_gate();
    let fetch = || {
        let cache = it.cache.clone();
        tokio::spawn(async move { cache.fetch(&namespace("a"), digest).await })
    };
    let leader = fetch();
    while it.gets() < 1 {
        tokio::task::yield_now().await;
    }
    let follower = fetch();
    while it.cache.flights.followers.load(Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    leader.abort();
    assert!(leader.await.is_err());
    it.double.gate.add_permits(2);
    assert_eq!(follower.await.unwrap().unwrap(), 1000);
    assert_eq!(it.gets(), 2);
}

#[tokio::test]
async fn a_failed_fetch_may_be_made_again() {
    let it = new_cache().await;
    let a = namespace("a");
    let bytes = noise(1000, 1);
    let failed = it.cache.fetch(&a, Digest::of(&bytes)).await.unwrap_err();
    assert!(
        matches!(&failed, FetchError::Remote(error) if matches!(**error, RemoteError::NotFound { .. }))
    );
    let digest = it.behind.put(&a, bytes.clone()).await.unwrap();
    it.double.lies.store(true, Relaxed);
    let failed = it.cache.get(&a, digest).await.unwrap_err();
    assert!(
        matches!(&failed, FetchError::Remote(error) if matches!(**error, RemoteError::Corrupt { .. }))
    );
    it.double.lies.store(false, Relaxed);
    assert_eq!(it.cache.get(&a, digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn one_namespaces_fetch_does_not_serve_another() {
    let it = new_cache().await;
    let digest = it.behind.put(&namespace("a"), noise(1000, 1)).await.unwrap();
    it.cache.fetch(&namespace("a"), digest).await.unwrap();
    assert!(it.cache.get(&namespace("b"), digest).await.is_err());
}

#[tokio::test]
async fn a_corrupt_copy_is_fetched_again() {
    let it = new_cache().await;
    let a = namespace("a");
    let bytes = noise(1 << 20, 1);
    let digest = it.behind.put(&a, bytes.clone()).await.unwrap();
    it.cache.fetch(&a, digest).await.unwrap();
    let hex = digest.hex();
    let file = it.dir.path().join("blobs").join(&hex[..2]).join(&hex);
    fs::write(&file, noise(1 << 20, 2)).unwrap();
    assert_eq!(it.cache.get(&a, digest).await.unwrap(), bytes);
    fs::remove_file(&file).unwrap();
    let to = it.dir.path().join("copy");
    it.cache.materialize(&a, InputSource::Blob(digest), &to, 1 << 20).await.unwrap();
    assert_eq!(fs::read(to).unwrap(), bytes);
    assert_eq!(it.gets(), 3);
}

#[tokio::test]
async fn a_put_is_at_the_remote_store_and_here() {
    let it = new_cache().await;
    let a = namespace("a");
    for size in [0, 100, 5 << 20] {
        let digest = it.cache.put(&a, noise(size, 1)).await.unwrap();
        assert_eq!(it.behind.get(&a, digest).await.unwrap(), noise(size, 1));
        assert_eq!(it.cache.get(&a, digest).await.unwrap(), noise(size, 1));
    }
    assert_eq!(it.gets(), 0);
}

#[tokio::test]
async fn a_directory_goes_to_the_remote_store_and_is_written_from_the_cache() {
    let it = new_cache().await;
    let a = namespace("a");
    let source = it.dir.path().join("source");
    fs::create_dir_all(source.join("sub/empty")).unwrap();
    fs::write(source.join("one"), "hello").unwrap();
    fs::write(source.join("two"), "hello").unwrap();
    fs::write(source.join("sub/large"), noise(3 << 20, 1)).unwrap();
    let (cache, at) = (it.cache.clone(), source.clone());
    let putting = tokio::spawn(async move { cache.put_directory(&namespace("a"), &at).await });
    let (tree, size_bytes) = putting.await.unwrap().unwrap();
    assert_eq!(size_bytes, 10 + (3 << 20));
    let mut gets = Vec::new();
    for to in ["first", "second"] {
        let to = it.dir.path().join(to);
        let root = InputSource::Tree(tree);
        let (cache, a, at) = (it.cache.clone(), a.clone(), to.clone());
        // Spawned, as an agent does it: the future can move between threads.
        let writing =
            tokio::spawn(async move { cache.materialize(&a, root, &at, size_bytes).await });
        assert_eq!(writing.await.unwrap().unwrap(), size_bytes);
        assert_eq!(fs::read(to.join("two")).unwrap(), b"hello");
        assert_eq!(fs::read(to.join("sub/large")).unwrap(), noise(3 << 20, 1));
        assert!(to.join("sub/empty").is_dir());
        gets.push(it.gets());
    }
    assert_eq!(gets[0], gets[1], "the second time all is here");

    let file = it.cache.put_directory(&a, &source.join("one")).await.unwrap_err();
    assert!(matches!(file, PutDirectoryError::NotADirectory { .. }));
}
