//! A store on a disk of 12 MiB that fills up. It needs a tmpfs of its own, which only root may mount.

use std::process::Command;

use super::*;

/// A small disk; unmounted when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::TempDir::new().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(done) if done.status.success() => Some(SmallDisk { dir }),
            other => {
                println!("skipped: cannot mount a tmpfs here: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Puts blobs of a size until one is refused, which must be for want of space.
async fn fill(store: &BlobStore, size: usize, seed: u64) -> Vec<(Digest, Bytes)> {
    let mut kept = Vec::new();
    for seed in seed.. {
        let bytes = noise(size, seed);
        match store.put(&namespace("a"), bytes.clone()).await {
            Ok(digest) => kept.push((digest, bytes)),
            Err(PutError::DiskFull { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
    }
    kept
}

async fn check_all(store: &BlobStore, kept: &[(Digest, Bytes)]) {
    for (digest, bytes) in kept {
        assert_eq!(store.get(&namespace("a"), *digest).await.unwrap(), *bytes);
    }
}

async fn survives_a_full_disk(size: usize) {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = BlobStore::open(disk.dir.path().join("store")).await.unwrap();
    let ballast = disk.dir.path().join("ballast");
    fs::write(&ballast, vec![1; 3 << 20]).unwrap();

    let mut kept = fill(&store, size, 0).await;
    assert!(!kept.is_empty());
    check_all(&store, &kept).await;
    assert!(matches!(
        store.put(&namespace("a"), noise(size, 1 << 40)).await,
        Err(PutError::DiskFull { .. })
    ));

    fs::remove_file(&ballast).unwrap();
    let more = fill(&store, size, 1 << 20).await;
    assert!(!more.is_empty());
    kept.extend(more);
    check_all(&store, &kept).await;
    assert_eq!(fs::read_dir(store.inner.files.incoming()).unwrap().count(), 0);

    drop(store);
    let store = BlobStore::open(disk.dir.path().join("store")).await.unwrap();
    check_all(&store, &kept).await;
}

#[tokio::test]
async fn a_full_disk_refuses_small_blobs_and_the_store_lives_on() {
    survives_a_full_disk(60_000).await;
}

#[tokio::test]
async fn a_full_disk_refuses_large_blobs_and_the_store_lives_on() {
    survives_a_full_disk(300_000).await;
}

#[tokio::test]
async fn a_full_disk_refuses_an_export_and_leaves_no_part_of_it() {
    let Some(disk) = SmallDisk::mount() else { return };
    let (_dir, store) = new_store().await;
    let digest = store.put(&namespace("a"), noise(20 << 20, 1)).await.unwrap();
    let exported =
        store.export(&namespace("a"), digest, &disk.dir.path().join("copy"), u64::MAX).await;
    assert!(matches!(exported, Err(ExportError::DiskFull { .. })));
    assert_eq!(fs::read_dir(disk.dir.path()).unwrap().count(), 0);
}
