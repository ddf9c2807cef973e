//! Looks at a store that nobody uses, and changes nothing: what is there, what is damaged.
//!
//! redb mends a database when it opens it, so what is looked at is a copy of the index, made while its
//! lock is held. `weir doctor` shows what comes of it, with the master's log beside.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
};
use tempfile::TempDir;
use weir_proto::digest::Digest;

use crate::blobs::{FORMAT, FORMAT_WORD, MEMBERS, SMALL, SMALL_BLOB_BYTES, blob_path};

/// What a store holds.
#[derive(Debug, Default)]
pub struct StoreFindings {
    /// Whose blobs there are.
    pub namespaces: BTreeSet<String>,
    /// Which, each with its namespace.
    pub members: HashSet<(String, Digest)>,
    /// Their bytes together.
    pub bytes: u64,
    /// Whether whoever used it last did not get to closing it.
    pub was_killed: bool,
    /// Files of uploads that were never finished; the next start removes them.
    pub unfinished: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// A blob that the store says it has, and cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Its file is gone.
    #[error("{digest} of namespace {namespace} is gone: there is no {}", path.display())]
    Gone {
        /// Whose it is.
        namespace: String,
        /// The blob.
        digest: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// It has other bytes than its name says.
    #[error("{digest} of namespace {namespace} has other bytes than it should, in {}", path.display())]
    Rotten {
        /// Whose it is.
        namespace: String,
        /// The blob.
        digest: Digest,
        /// Where it is.
        path: PathBuf,
    },
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// Somebody uses it.
    #[error("{} is in use; stop the process that uses it first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer Weir wrote it, or nobody of ours.
    #[error("{} says {found:?}; this binary knows {FORMAT_WORD}1 to {FORMAT}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A database is not whole.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What redb says.
        why: String,
    },
    /// The disk failed us.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A copy of a redb file, which may be opened and mended.
pub struct DatabaseCopy {
    /// The copy; all of it was checked.
    pub database: Database,
    /// Whether whoever used the original last did not get to closing it.
    pub was_killed: bool,
    _dir: TempDir,
}

impl DatabaseCopy {
    /// Copies a database that nobody uses, and checks it whole.
    ///
    /// # Errors
    /// `InUse`, `Damaged` or `Io`.
    pub fn of(path: &Path) -> Result<DatabaseCopy, ExamineError> {
        let failed = |source| ExamineError::Io { path: path.to_owned(), source };
        let damaged = |why: String| ExamineError::Damaged { path: path.to_owned(), why };
        let original = File::open(path).map_err(failed)?;
        match original.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ExamineError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let dir = tempfile::tempdir().map_err(failed)?;
        let copy = dir.path().join("copy.redb");
        fs::copy(path, &copy).map_err(failed)?;
        if fs::metadata(&copy).map_err(failed)?.len() == 0 {
            return Err(damaged("it is empty".to_owned()));
        }
        let as_it_was = dir.path().join("as-it-was.redb");
        fs::copy(&copy, &as_it_was).map_err(failed)?;
        let opened = Builder::new().set_check_integrity_on_open(true).open(&copy);
        let database = opened.map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(source)) if source.raw_os_error().is_some() => {
                failed(source)
            }
            error => damaged(error.to_string()),
        })?;
        // It is whole, so redb may be trusted with it; one that was closed opens read-only as it is.
        let read_only = Builder::new().open_read_only(&as_it_was);
        let was_killed = matches!(read_only, Err(DatabaseError::RepairAborted));
        Ok(DatabaseCopy { database, was_killed, _dir: dir })
    }
}

/// Looks at a store; with `verify` every byte of every blob is read.
///
/// # Errors
/// See [`ExamineError`].
pub fn examine(dir: &Path, verify: bool) -> Result<StoreFindings, ExamineError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ExamineError::Io { path, source }
    };
    let format = dir.join("format");
    let found = fs::read_to_string(&format).map_err(io(&format))?;
    let number = found.strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_end().parse().ok());
    if !number.is_some_and(|number: u32| (1..=FORMAT).contains(&number)) {
        let found = found.trim_end().chars().take(64).collect();
        return Err(ExamineError::Format { path: format, found });
    }
    let index = dir.join("small.redb");
    let copy = DatabaseCopy::of(&index)?;
    let mut findings = StoreFindings { was_killed: copy.was_killed, ..StoreFindings::default() };
    let damaged =
        |error: redb::Error| ExamineError::Damaged { path: index.clone(), why: error.to_string() };
    look_at_members(dir, &index, &copy.database, verify, &mut findings).map_err(damaged)?;
    let incoming = dir.join("incoming");
    findings.unfinished = match fs::read_dir(&incoming) {
        Ok(files) => files.count() as u64,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(io(&incoming)(source)),
    };
    Ok(findings)
}

fn look_at_members(
    dir: &Path,
    index: &Path,
    database: &Database,
    verify: bool,
    findings: &mut StoreFindings,
) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    let members = match transaction.open_table(MEMBERS) {
        // Nothing was ever put.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
        members => members?,
    };
    let small = transaction.open_table(SMALL)?;
    for member in members.iter()? {
        let (key, size) = member?;
        let ((namespace, digest), size_bytes) = (key.value(), size.value());
        let (namespace, digest) = (namespace.to_owned(), Digest(*digest));
        findings.bytes += size_bytes;
        if size_bytes <= SMALL_BLOB_BYTES {
            let whole = small.get(&digest.0)?.is_some_and(|b| Digest::of(b.value()) == digest);
            if !whole {
                let (namespace, path) = (namespace.clone(), index.to_owned());
                findings.damage.push(Damage::Rotten { namespace, digest, path });
            }
        } else {
            let path = blob_path(&dir.join("blobs"), digest);
            findings.damage.extend(look_at_file(&namespace, digest, path, size_bytes, verify));
        }
        findings.namespaces.insert(namespace.clone());
        findings.members.insert((namespace, digest));
    }
    Ok(())
}

fn look_at_file(
    namespace: &str,
    digest: Digest,
    path: PathBuf,
    size_bytes: u64,
    verify: bool,
) -> Option<Damage> {
    let namespace = namespace.to_owned();
    let Ok(metadata) = fs::metadata(&path) else {
        return Some(Damage::Gone { namespace, digest, path });
    };
    let hash = || -> io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(&path)?)?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    };
    let whole = metadata.len() == size_bytes && (!verify || hash().is_ok_and(|is| is == digest));
    (!whole).then_some(Damage::Rotten { namespace, digest, path })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_proto::id::Namespace;

    use super::*;
    use crate::blobs::BlobStore;

    /// A store with a small blob and a large one, which nobody uses.
    async fn store() -> (TempDir, Digest) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = BlobStore::open(dir.path()).await.expect("a store");
        let namespace = Namespace::default_namespace();
        store.put(&namespace, Bytes::from_static(b"small")).await.expect("stored");
        let large = Bytes::from(vec![7; SMALL_BLOB_BYTES as usize + 1]);
        let large = store.put(&namespace, large).await.expect("stored");
        (dir, large)
    }

    #[tokio::test]
    async fn a_whole_store_is_without_a_finding() {
        let (dir, large) = store().await;
        let findings = examine(dir.path(), true).expect("a store");
        assert_eq!((findings.damage, findings.was_killed), (Vec::new(), false));
        assert!(findings.members.contains(&("default".to_owned(), large)));
        assert_eq!(findings.bytes, SMALL_BLOB_BYTES + 6);
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_has_other_bytes_is_found() {
        let (dir, large) = store().await;
        let path = blob_path(&dir.path().join("blobs"), large);
        fs::write(&path, vec![8; SMALL_BLOB_BYTES as usize + 1]).expect("written");
        assert_eq!(examine(dir.path(), false).expect("a store").damage, []);
        let damage = examine(dir.path(), true).expect("a store").damage;
        assert!(matches!(&damage[..], [Damage::Rotten { digest, .. }] if *digest == large));
        fs::write(&path, b"short").expect("written");
        assert_eq!(examine(dir.path(), false).expect("a store").damage, damage);
        fs::remove_file(&path).expect("removed");
        let damage = examine(dir.path(), false).expect("a store").damage;
        assert!(matches!(&damage[..], [Damage::Gone { digest, .. }] if *digest == large));
    }

    #[tokio::test]
    async fn an_index_that_is_no_longer_one_is_told_and_not_touched() {
        let (dir, _) = store().await;
        let index = dir.path().join("small.redb");
        let whole = fs::read(&index).expect("read");
        let mut flipped = whole.clone();
        // All but the header, of which there are two.
        for byte in &mut flipped[4096..] {
            *byte ^= 0x55;
        }
        for damaged in
            [flipped, whole[..whole.len() / 3].to_vec(), b"nonsense".to_vec(), Vec::new()]
        {
            fs::write(&index, &damaged).expect("written");
            let error = examine(dir.path(), true).expect_err("it is damaged");
            assert!(matches!(error, ExamineError::Damaged { .. }), "{error:?}");
            assert_eq!(fs::read(&index).expect("read"), damaged);
        }
    }

    #[tokio::test]
    async fn a_store_in_use_or_of_a_newer_weir_is_left_alone() {
        let (dir, _) = store().await;
        let open = BlobStore::open(dir.path()).await.expect("a store");
        assert!(matches!(examine(dir.path(), false), Err(ExamineError::InUse { .. })));
        drop(open);
        for format in ["weir-store 99\n", "something else"] {
            fs::write(dir.path().join("format"), format).expect("written");
            let error = examine(dir.path(), false).expect_err("not ours");
            assert!(matches!(error, ExamineError::Format { .. }), "{error}");
        }
    }
}
