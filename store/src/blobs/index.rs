//! The index: who has which blob, and the bytes of small ones, in redb.
//!
//! After a failed write redb refuses everything until it is opened anew, so this file opens it anew
//! by itself: a full disk must not end a store's life. That, like opening after a crash, reads the
//! whole index, about 1 s a GB; redb's quick repair saves little of it and makes commits many times
//! slower.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use weir_proto::{digest::Digest, id::Namespace};

use super::SMALL_BLOB_BYTES;

/// (namespace, digest) to the blob's size in bytes, which says where its bytes are.
pub(crate) const MEMBERS: TableDefinition<(&str, &[u8; 32]), u64> = TableDefinition::new("members");
/// Digest to the bytes of a blob of at most `SMALL_BLOB_BYTES`.
pub(crate) const SMALL: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("small");

/// Memory for redb's pages. Its default of 1 GiB is more than an agent may use for this.
const CACHE_BYTES: usize = 32 << 20;

/// A blob to be entered.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) namespace: Namespace,
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    /// The bytes of a small blob; a large one is a file already.
    pub(super) inline: Option<Bytes>,
}

/// Where a blob's bytes are.
#[derive(Debug)]
pub(super) enum Found {
    /// Here; not verified yet.
    Small(Bytes),
    /// In a file of this many bytes.
    Large { size_bytes: u64 },
}

/// The open index of one store.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    /// Readers hold it for a transaction, so that reopening waits for none but short ones.
    slot: RwLock<Slot>,
    /// Durable transactions so far.
    #[cfg(test)]
    pub(super) commits: std::sync::atomic::AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// `None` while it failed to open anew.
    database: Option<Database>,
    /// Counts openings, so that of many that saw one failure only the first opens anew.
    generation: u64,
}

impl Index {
    /// Opens or makes the index, and locks it against other processes.
    pub(super) fn open(path: &Path) -> Result<Index, redb::Error> {
        let slot = Slot { database: Some(open_database(path)?), generation: 0 };
        Ok(Index {
            path: path.to_owned(),
            slot: RwLock::new(slot),
            #[cfg(test)]
            commits: Default::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Enters blobs in one durable transaction; a transaction that changes nothing costs no fsync.
    pub(super) fn insert(&self, entries: &[Entry]) -> Result<(), redb::Error> {
        self.run(|database| {
            let transaction = database.begin_write()?;
            let mut changed = false;
            {
                let mut members = transaction.open_table(MEMBERS)?;
                let mut small = transaction.open_table(SMALL)?;
                for entry in entries {
                    if let Some(bytes) = &entry.inline {
                        // Compared byte by byte, so that a rotten blob is repaired by a put.
                        let same =
                            small.get(&entry.digest.0)?.is_some_and(|old| old.value() == bytes);
                        if !same {
                            small.insert(&entry.digest.0, &bytes[..])?;
                            changed = true;
                        }
                    }
                    let key = (entry.namespace.as_str(), &entry.digest.0);
                    let old = members.get(key)?.map(|size| size.value());
                    if old != Some(entry.size_bytes) {
                        members.insert(key, entry.size_bytes)?;
                        changed = true;
                    }
                }
            }
            if !changed {
                return Ok(transaction.abort()?);
            }
            transaction.commit()?;
            #[cfg(test)]
            self.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })
    }

    /// Looks a blob up; `None` when the namespace lacks it.
    pub(super) fn find(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<Option<Found>, redb::Error> {
        self.read(|transaction| {
            let members = transaction.open_table(MEMBERS)?;
            let Some(size) = members.get((namespace.as_str(), &digest.0))? else {
                return Ok(None);
            };
            let size_bytes = size.value();
            if size_bytes > SMALL_BLOB_BYTES {
                return Ok(Some(Found::Large { size_bytes }));
            }
            // A member without bytes can only be a rotten index: no bytes then, and the hash will
            // not match.
            let bytes = transaction.open_table(SMALL)?.get(&digest.0)?;
            let bytes = bytes.map(|bytes| Bytes::copy_from_slice(bytes.value()));
            Ok(Some(Found::Small(bytes.unwrap_or_default())))
        })
    }

    /// Sizes in bytes, in the order asked for; `None` for blobs that the namespace lacks.
    pub(super) fn sizes(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, redb::Error> {
        self.read(|transaction| {
            let members = transaction.open_table(MEMBERS)?;
            let size = |digest: &Digest| {
                Ok(members.get((namespace.as_str(), &digest.0))?.map(|size| size.value()))
            };
            digests.iter().map(size).collect()
        })
    }

    /// Blobs of a namespace after a digest, ascending, at most `limit`.
    pub(super) fn list(
        &self,
        namespace: &Namespace,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, u64)>, redb::Error> {
        let name = namespace.as_str();
        let first = after.map_or(Bound::Included([0; 32]), |after| Bound::Excluded(after.0));
        self.read(|transaction| {
            let members = transaction.open_table(MEMBERS)?;
            let from = match &first {
                Bound::Included(digest) => Bound::Included((name, digest)),
                Bound::Excluded(digest) => Bound::Excluded((name, digest)),
                Bound::Unbounded => Bound::Unbounded,
            };
            let all =
                members.range::<(&str, &[u8; 32])>((from, Bound::Included((name, &[0xff; 32]))))?;
            all.take(limit)
                .map(|entry| {
                    let (key, size) = entry?;
                    Ok((Digest(*key.value().1), size.value()))
                })
                .collect()
        })
    }

    /// Blobs of all namespaces after one, ascending, at most `limit`.
    pub(super) fn list_all(
        &self,
        after: Option<&(Namespace, Digest)>,
        limit: usize,
    ) -> Result<Vec<(String, Digest, u64)>, redb::Error> {
        self.read(|transaction| {
            let members = transaction.open_table(MEMBERS)?;
            let after = after.map(|(namespace, digest)| (namespace.as_str(), &digest.0));
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let all = members.range::<(&str, &[u8; 32])>((from, Bound::Unbounded))?;
            let sized = all.take(limit).map(|entry| {
                let (key, size) = entry?;
                let (namespace, digest) = key.value();
                Ok((namespace.to_owned(), Digest(*digest), size.value()))
            });
            sized.collect()
        })
    }

    /// The namespaces that have blobs, ascending.
    pub(super) fn namespaces(&self) -> Result<Vec<Namespace>, redb::Error> {
        self.read(|transaction| {
            let members = transaction.open_table(MEMBERS)?;
            let mut found: Vec<Namespace> = Vec::new();
            let mut after = String::new();
            loop {
                let from = (Bound::Excluded((&after[..], &[0xff; 32])), Bound::Unbounded);
                let Some(first) = members.range::<(&str, &[u8; 32])>(from)?.next() else { break };
                after = first?.0.value().0.to_owned();
                // Nothing else is ever entered.
                found.extend(after.parse::<Namespace>());
            }
            Ok(found)
        })
    }

    fn read<T>(
        &self,
        look: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        self.run(|database| look(&database.begin_read()?))
    }

    /// Runs `work`, a second time if an earlier failure was in its way.
    fn run<T>(&self, work: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        match self.attempt(&work) {
            Err(redb::Error::PreviousIo) => self.attempt(&work),
            done => done,
        }
    }

    /// Runs `work` once; if that leaves redb unusable, opens it anew for the next.
    fn attempt<T>(
        &self,
        work: &impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let (result, generation) = {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            let result = match &slot.database {
                Some(database) => work(database),
                None => Err(redb::Error::PreviousIo),
            };
            (result, slot.generation)
        };
        let Err(failure) = result else { return result };
        if is_latched(&failure)
            && let Err(reopening) = self.reopen(generation)
        {
            tracing::warn!(index = %self.path.display(), %reopening, "cannot open the index anew");
            if matches!(failure, redb::Error::PreviousIo) {
                return Err(reopening);
            }
        }
        Err(failure)
    }

    fn reopen(&self, failed_generation: u64) -> Result<(), redb::Error> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if slot.generation != failed_generation {
            return Ok(());
        }
        // Its lock on the file goes first.
        slot.database = None;
        slot.database = Some(open_database(&self.path)?);
        slot.generation += 1;
        Ok(())
    }

    /// Keeps everybody out while it lives, for tests that need a queue to fill.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        struct Hold<'a>(
            #[expect(dead_code, reason = "held, not read")] std::sync::RwLockWriteGuard<'a, Slot>,
        );
        impl Drop for Hold<'_> {
            fn drop(&mut self) {}
        }
        Hold(self.slot.write().unwrap())
    }
}

fn open_database(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    let transaction = database.begin_read()?;
    let made = transaction.open_table(MEMBERS).is_ok() && transaction.open_table(SMALL).is_ok();
    transaction.close()?;
    if !made {
        let transaction = database.begin_write()?;
        transaction.open_table(MEMBERS)?;
        transaction.open_table(SMALL)?;
        transaction.commit()?;
    }
    Ok(database)
}

/// Whether redb refuses to go on after this error until it is opened anew.
fn is_latched(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::LockPoisoned(_)
    )
}
