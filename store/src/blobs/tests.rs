//! The store on a real disk: round trips, rot, interruptions, groups. A full disk is in `full_disk`.

mod full_disk;

use std::{fs, path::Path, sync::atomic::Ordering::Relaxed};

use proptest::prelude::*;
use tokio_stream::StreamExt as _;

use super::*;
use crate::testing::{namespace, new_store, noise};

const BORDER: usize = SMALL_BLOB_BYTES as usize;

/// Reads a stream to its end.
async fn collect(mut stream: BlobStream) -> Result<Vec<u8>, GetError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

async fn upload(store: &BlobStore, bytes: &Bytes, chunk: usize) -> Result<(Digest, u64), PutError> {
    let mut upload = store.begin_put(&namespace("a"), Some(Digest::of(bytes)));
    for start in (0..bytes.len()).step_by(chunk) {
        let end = bytes.len().min(start + chunk);
        upload = upload.write(bytes.slice(start..end)).await?;
    }
    upload.finish().await
}

/// Flips one bit of a file where `content` is in it.
fn rot(path: &Path, content: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
    bytes[at + content.len() / 2] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_blob_of_any_size_reads_back_in_every_way() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let mib = 1 << 20;
    let sizes = [0, 1, BORDER - 1, BORDER, BORDER + 1, mib - 1, mib, mib + 1, 3 * mib];
    for (seed, size) in sizes.into_iter().enumerate() {
        let bytes = noise(size, seed as u64);
        let digest = store.put(&a, bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(store.get(&a, digest).await.unwrap(), bytes);
        assert_eq!(store.size(&a, digest).await.unwrap(), size as u64);
        let stream = store.read(&a, digest).await.unwrap();
        assert_eq!(stream.size_bytes(), size as u64);
        assert_eq!(collect(stream).await.unwrap(), bytes);
        let path = dir.path().join(format!("copy-{size}"));
        assert_eq!(store.export(&a, digest, &path, size as u64).await.unwrap(), size as u64);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_blob_uploaded_in_chunks_is_the_same_blob() {
    let (_dir, store) = new_store().await;
    let sizes = [0, 1, BORDER, BORDER + 1, 5 * BORDER + 3];
    for (seed, size) in sizes.into_iter().enumerate() {
        for chunk in [1000, BORDER, 1 << 20] {
            let bytes = noise(size, 100 + seed as u64);
            let put = upload(&store, &bytes, chunk).await.unwrap();
            assert_eq!(put, (Digest::of(&bytes), size as u64));
            assert_eq!(store.get(&namespace("a"), put.0).await.unwrap(), bytes);
        }
    }
}

#[tokio::test]
async fn a_batch_of_small_and_large_blobs_comes_back_in_order() {
    let (_dir, store) = new_store().await;
    let a = namespace("a");
    let blobs: Vec<Bytes> =
        [10, BORDER + 1, 0, BORDER, 10].iter().map(|&size| noise(size, 7)).collect();
    let digests = store.put_batch(&a, blobs.clone()).await.unwrap();
    assert_eq!(digests, blobs.iter().map(|blob| Digest::of(blob)).collect::<Vec<_>>());
    assert_eq!(store.get_batch(&a, &digests, u64::MAX).await.unwrap(), blobs);
    let refused = store.get_batch(&a, &digests, 100).await;
    assert!(matches!(refused, Err(GetError::TooLarge { max_bytes: 100, .. })));
    assert_eq!(store.put_batch(&a, Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn reopening_finds_everything() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let (small, large) = (noise(100, 1), noise(BORDER * 3, 2));
    let digests = store.put_batch(&a, vec![small.clone(), large.clone()]).await.unwrap();
    drop(store);
    let store = BlobStore::open(dir.path()).await.unwrap();
    assert_eq!(store.find_missing(&a, &digests).await.unwrap(), []);
    assert_eq!(store.get(&a, digests[0]).await.unwrap(), small);
    assert_eq!(store.get(&a, digests[1]).await.unwrap(), large);
}

#[tokio::test]
async fn knowing_a_digest_is_not_permission() {
    let (dir, store) = new_store().await;
    let (a, b) = (namespace("a"), namespace("b"));
    let digests = store.put_batch(&a, vec![noise(10, 1), noise(BORDER + 1, 2)]).await.unwrap();
    assert_eq!(store.find_missing(&b, &digests).await.unwrap(), digests);
    for digest in &digests {
        let not_found = |error: &GetError| matches!(error, GetError::NotFound { .. });
        assert!(not_found(&store.get(&b, *digest).await.unwrap_err()));
        assert!(not_found(&store.read(&b, *digest).await.unwrap_err()));
        assert!(not_found(&store.size(&b, *digest).await.unwrap_err()));
        let path = dir.path().join("stolen");
        let exported = store.export(&b, *digest, &path, u64::MAX).await.unwrap_err();
        assert!(matches!(&exported, ExportError::Get(error) if not_found(error)));
    }
    // Only who has the bytes comes to have the blob.
    store.put(&b, noise(10, 1)).await.unwrap();
    assert_eq!(store.find_missing(&b, &digests).await.unwrap(), digests[1..]);
}

#[tokio::test]
async fn a_large_blob_with_a_flipped_bit_is_never_served_and_a_put_repairs_it() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let bytes = noise(3 << 20, 1);
    let digest = store.put(&a, bytes.clone()).await.unwrap();
    rot(&store.inner.files.blob(digest), &bytes[..64]);

    let corrupt = |error: &GetError| matches!(error, GetError::Corrupt { expected, actual } if *expected == digest && *actual != digest);
    assert!(corrupt(&store.get(&a, digest).await.unwrap_err()));
    assert!(corrupt(&collect(store.read(&a, digest).await.unwrap()).await.unwrap_err()));
    let path = dir.path().join("copy");
    let exported = store.export(&a, digest, &path, u64::MAX).await.unwrap_err();
    assert!(matches!(&exported, ExportError::Get(error) if corrupt(error)));
    assert!(!path.exists());

    store.put(&a, bytes.clone()).await.unwrap();
    assert_eq!(store.get(&a, digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_small_blob_with_a_flipped_bit_is_never_served_and_a_put_repairs_it() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let bytes = noise(2000, 1);
    let digest = store.put(&a, bytes.clone()).await.unwrap();
    let index = store.inner.files.index();
    drop(store);
    rot(&index, &bytes);

    let store = BlobStore::open(dir.path()).await.unwrap();
    let corrupt = |error: GetError| matches!(error, GetError::Corrupt { .. });
    assert!(corrupt(store.get(&a, digest).await.unwrap_err()));
    assert!(corrupt(store.read(&a, digest).await.unwrap_err()));
    store.put(&a, bytes.clone()).await.unwrap();
    assert_eq!(store.get(&a, digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_truncated_or_missing_file_is_an_error_not_an_end() {
    let (_dir, store) = new_store().await;
    let a = namespace("a");
    for keep_bytes in [0, 100, 1 << 20, (2 << 20) - 1] {
        let digest = store.put(&a, noise(2 << 20, 1)).await.unwrap();
        let path = store.inner.files.blob(digest);
        fs::File::options().write(true).open(&path).unwrap().set_len(keep_bytes).unwrap();
        assert!(matches!(store.get(&a, digest).await, Err(GetError::Corrupt { .. })));
        let read = collect(store.read(&a, digest).await.unwrap()).await;
        assert!(matches!(read, Err(GetError::Corrupt { .. })));
        fs::remove_file(path).unwrap();
        assert!(matches!(store.get(&a, digest).await, Err(GetError::Corrupt { .. })));
    }
}

#[tokio::test]
async fn bytes_that_were_not_announced_are_refused() {
    let (_dir, store) = new_store().await;
    let a = namespace("a");
    let announced = Digest::of(b"something else");
    for size in [10, BORDER * 2] {
        let bytes = noise(size, 1);
        let upload = store.begin_put(&a, Some(announced)).write(bytes.clone()).await.unwrap();
        let refused = upload.finish().await.unwrap_err();
        let actual = Digest::of(&bytes);
        assert!(matches!(refused, PutError::WrongDigest { expected, actual: found }
            if expected == announced && found == actual));
        let lacked = store.find_missing(&a, &[announced, actual]).await.unwrap();
        assert_eq!(lacked, [announced, actual]);
    }
    assert_eq!(fs::read_dir(store.inner.files.incoming()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing() {
    let (_dir, store) = new_store().await;
    let a = namespace("a");
    let bytes = noise(BORDER * 2, 1);
    let upload = store.begin_put(&a, None).write(bytes.clone()).await.unwrap();
    assert_eq!(fs::read_dir(store.inner.files.incoming()).unwrap().count(), 1);
    drop(upload);
    assert_eq!(fs::read_dir(store.inner.files.incoming()).unwrap().count(), 0);
    assert_eq!(store.find_missing(&a, &[Digest::of(&bytes)]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn opening_removes_what_a_crash_left() {
    let (dir, store) = new_store().await;
    let leftover = store.inner.files.incoming().join("leftover");
    fs::write(&leftover, "half a blob").unwrap();
    drop(store);
    let _store = BlobStore::open(dir.path()).await.unwrap();
    assert!(!leftover.exists());
}

#[tokio::test]
async fn a_second_open_fails_clearly_and_harms_nobody() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let upload = store.begin_put(&a, None).write(noise(BORDER * 2, 1)).await.unwrap();
    let second = BlobStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(second, OpenError::InUse { .. }), "{second}");
    // The first one's upload was not taken for a leftover.
    upload.finish().await.unwrap();
}

#[tokio::test]
async fn a_newer_or_foreign_format_is_refused() {
    let (dir, store) = new_store().await;
    drop(store);
    let format = dir.path().join("format");
    fs::write(&format, "weir-store 2\n").unwrap();
    let newer = BlobStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(newer, OpenError::TooNew { found: 2, known: FORMAT, .. }));
    fs::write(&format, "something else").unwrap();
    let foreign = BlobStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(foreign, OpenError::NotAStore { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_small_puts_share_one_fsync() {
    let (_dir, store) = new_store().await;
    let commits = || store.inner.index.commits.load(Relaxed);
    let puts: Vec<_> = {
        let _held = store.inner.index.hold();
        let put = |seed| {
            let store = store.clone();
            tokio::spawn(async move { store.put(&namespace("a"), noise(1000, seed)).await })
        };
        let puts = (0..50).map(put).collect();
        // The writer has taken the first of them, and maybe more, and waits with them at the door of
        // the index; whatever it has not taken goes into its second group.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while store.inner.writer.queued.load(Relaxed) < 50 {
            assert!(std::time::Instant::now() < patience, "puts do not queue up");
            std::thread::yield_now();
        }
        puts
    };
    for put in puts {
        let digest = put.await.unwrap().unwrap();
        store.get(&namespace("a"), digest).await.unwrap();
    }
    assert!(commits() <= 2, "{} commits for 50 puts", commits());
}

#[tokio::test]
async fn putting_a_blob_again_commits_nothing() {
    let (_dir, store) = new_store().await;
    let commits = || store.inner.index.commits.load(Relaxed);
    let blobs = vec![noise(100, 1), noise(BORDER * 2, 1)];
    store.put_batch(&namespace("a"), blobs.clone()).await.unwrap();
    assert_eq!(commits(), 1);
    store.put_batch(&namespace("a"), blobs.clone()).await.unwrap();
    assert_eq!(commits(), 1);
    store.put_batch(&namespace("b"), blobs).await.unwrap();
    assert_eq!(commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_put_and_read_the_same_blob_at_once() {
    let (_dir, store) = new_store().await;
    for size in [500, BORDER * 4] {
        let bytes = noise(size, 3);
        let put = |_| {
            let (store, bytes) = (store.clone(), bytes.clone());
            tokio::spawn(async move {
                let digest = store.put(&namespace("a"), bytes.clone()).await.unwrap();
                assert_eq!(store.get(&namespace("a"), digest).await.unwrap(), bytes);
            })
        };
        for put in (0..20).map(put).collect::<Vec<_>>() {
            put.await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_export_overwrites_nothing_and_holds_to_its_bound() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    let digest = store.put(&a, noise(100, 1)).await.unwrap();
    let path = dir.path().join("mine");
    fs::write(&path, "mine").unwrap();
    let exported = store.export(&a, digest, &path, 100).await.unwrap_err();
    assert!(matches!(exported, ExportError::Exists { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let exported = store.export(&a, digest, &dir.path().join("new"), 99).await.unwrap_err();
    assert!(matches!(exported, ExportError::Get(GetError::TooLarge { .. })));
}

#[test]
fn random_blobs_and_chunks_round_trip() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_dir, store) = runtime.block_on(new_store());
    let sizes = prop_oneof![0..300usize, BORDER - 3..BORDER + 3, 0..4 * BORDER];
    proptest!(ProptestConfig::with_cases(64), |(size in sizes, chunk in 1..100_000usize, seed: u64)| {
        let bytes = noise(size, seed);
        runtime.block_on(async {
            let (digest, size_bytes) = upload(&store, &bytes, chunk.max(size / 50)).await.unwrap();
            assert_eq!(size_bytes, size as u64);
            assert_eq!(store.get(&namespace("a"), digest).await.unwrap(), bytes);
            let read = store.read(&namespace("a"), digest).await.unwrap();
            assert_eq!(collect(read).await.unwrap(), bytes);
        });
    });
}
