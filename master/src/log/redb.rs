//! The log in a redb file: one durable transaction for each write.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};
use weir_proto::id::{ClusterId, NodeId};
use weir_scheduler::members::Identity;

use super::{Log, LogEntry, LogError, LogSnapshot, LogWrite, Recovered};

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// The layout of the tables above.
const FORMAT: u64 = 2;
/// redb would take 1 GiB; the log is read once, at start.
const CACHE_BYTES: usize = 16 << 20;

/// A log in a file.
pub struct RedbLog {
    database: Database,
}

impl RedbLog {
    /// Opens the log of a data directory, or makes it.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Format` when a newer Weir wrote it, otherwise what
    /// the file system or the database says.
    pub fn open(directory: &Path) -> Result<RedbLog, LogError> {
        fs::create_dir_all(directory)
            .map_err(|source| LogError::Directory { path: directory.to_owned(), source })?;
        let path = directory.join("log.redb");
        // What is corrupt is found before anything is built on it.
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create(&path);
        let database = database.map_err(|error| open_error(error, path.clone()))?;
        let log = RedbLog { database };
        log.check_format(path)?;
        Ok(log)
    }

    fn check_format(&self, path: PathBuf) -> Result<(), LogError> {
        let mut found = FORMAT;
        let checked: Result<(), redb::Error> = (|| {
            let transaction = self.database.begin_write()?;
            {
                transaction.open_table(ENTRIES)?;
                transaction.open_table(META)?;
                let mut numbers = transaction.open_table(NUMBERS)?;
                let existing = numbers.get("format")?.map(|format| format.value());
                match existing {
                    Some(existing) => found = existing,
                    None => {
                        numbers.insert("format", FORMAT)?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })();
        checked.map_err(|source| failed("open", source))?;
        if found != FORMAT {
            return Err(LogError::Format { path, found, known: FORMAT });
        }
        Ok(())
    }

    /// Which master this log is of; nothing for a new one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn identity(&self) -> Result<Option<Identity>, LogError> {
        self.read_identity().map_err(|source| failed("read", source))
    }

    fn read_identity(&self) -> Result<Option<Identity>, redb::Error> {
        let numbers = self.database.begin_read()?.open_table(NUMBERS)?;
        let cluster = numbers.get("cluster")?.map(|cluster| ClusterId(cluster.value()));
        let node = numbers.get("node")?.map(|node| NodeId(node.value()));
        Ok(cluster.zip(node).map(|(cluster, node)| Identity { cluster, node }))
    }

    /// Makes a new log that of a master; `begins` is what it begins with.
    ///
    /// # Errors
    /// When it cannot be written; then it is still new.
    pub fn identify(&self, identity: Identity, begins: &LogWrite) -> Result<(), LogError> {
        self.store(begins, Some(identity)).map_err(|source| failed("write", source))
    }

    /// What was drawn when this log was made, or now: `drawn`. A copy of the log has the same.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn data(&self, drawn: u64) -> Result<u64, LogError> {
        let data = || -> Result<u64, redb::Error> {
            let transaction = self.database.begin_write()?;
            let data = {
                let mut numbers = transaction.open_table(NUMBERS)?;
                let known = numbers.get("data")?.map(|data| data.value());
                match known {
                    Some(known) => known,
                    None => {
                        numbers.insert("data", drawn)?;
                        drawn
                    }
                }
            };
            transaction.commit()?;
            Ok(data)
        };
        data().map_err(|source| failed("read", source))
    }

    fn read(&self) -> Result<Recovered, redb::Error> {
        read(&self.database)
    }

    fn store(&self, write: &LogWrite, identity: Option<Identity>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            if let Some(Identity { cluster, node }) = identity {
                let mut numbers = transaction.open_table(NUMBERS)?;
                numbers.insert("cluster", cluster.0)?;
                numbers.insert("node", node.0)?;
            }
            let mut entries = transaction.open_table(ENTRIES)?;
            if let Some(snapshot) = &write.snapshot {
                let replaced = if write.replaces_all { u64::MAX } else { snapshot.index };
                entries.retain_in(..=replaced, |_, _| false)?;
                let mut meta = transaction.open_table(META)?;
                meta.insert("snapshot", &snapshot.metadata[..])?;
                meta.insert("state", &snapshot.state[..])?;
                transaction.open_table(NUMBERS)?.insert("snapshot", snapshot.index)?;
            }
            if let Some(first) = write.entries.first() {
                entries.retain_in(first.index.., |_, _| false)?;
            }
            for entry in &write.entries {
                entries.insert(entry.index, &entry.bytes[..])?;
            }
            if let Some(hard_state) = &write.hard_state {
                transaction.open_table(META)?.insert("hard_state", &hard_state[..])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// What a database holds whose format is known.
fn read(database: &Database) -> Result<Recovered, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let numbers = transaction.open_table(NUMBERS)?;
    let bytes = |name: &str| -> Result<Option<Vec<u8>>, redb::Error> {
        Ok(meta.get(name)?.map(|value| value.value().to_vec()))
    };
    let index = numbers.get("snapshot")?.map(|index| index.value());
    let snapshot = match (index, bytes("snapshot")?, bytes("state")?) {
        (Some(index), Some(metadata), Some(state)) => {
            Some(LogSnapshot { index, metadata, state: state.into() })
        }
        _ => None,
    };
    let mut entries = Vec::new();
    for entry in transaction.open_table(ENTRIES)?.range(0..)? {
        let (index, bytes) = entry?;
        entries.push(LogEntry { index: index.value(), bytes: bytes.value().to_vec() });
    }
    Ok(Recovered { hard_state: bytes("hard_state")?, snapshot, entries })
}

/// The format and the content of a copy of a log, which may be of any format.
pub(crate) fn read_copy(database: &Database, path: &Path) -> Result<(u64, Recovered), LogError> {
    let format = || -> Result<u64, redb::Error> {
        let numbers = database.begin_read()?.open_table(NUMBERS)?;
        Ok(numbers.get("format")?.map_or(0, |format| format.value()))
    };
    let found = format().map_err(|source| failed("read", source))?;
    if found != FORMAT {
        return Err(LogError::Format { path: path.to_owned(), found, known: FORMAT });
    }
    Ok((found, read(database).map_err(|source| failed("read", source))?))
}

impl Log for RedbLog {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        self.read().map_err(|source| failed("read", source))
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        self.store(write, None).map_err(|source| failed("write", source))
    }
}

fn open_error(error: DatabaseError, path: PathBuf) -> LogError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => LogError::InUse { path },
        DatabaseError::Storage(StorageError::Io(io)) if io.raw_os_error().is_some() => {
            failed("open", redb::Error::Io(io))
        }
        // Nothing else is wrong with a file that can be read.
        error => LogError::Damaged { path, why: error.to_string() },
    }
}

fn failed(action: &'static str, source: redb::Error) -> LogError {
    match &source {
        redb::Error::Io(io) if io.kind() == ErrorKind::StorageFull => LogError::Full,
        _ => LogError::Database { action, source: Box::new(source) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, byte: u8) -> LogEntry {
        LogEntry { index, bytes: vec![byte; 3] }
    }

    #[test]
    fn what_was_written_is_there_after_reopening() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = LogWrite {
            entries: vec![entry(1, 1), entry(2, 2)],
            hard_state: Some(vec![7]),
            ..LogWrite::default()
        };
        RedbLog::open(directory.path()).expect("a new log").write(&write).expect("a write");
        let recovered =
            RedbLog::open(directory.path()).expect("the log").recover().expect("its content");
        assert_eq!(recovered.entries, write.entries);
        assert_eq!(recovered.hard_state, Some(vec![7]));
    }

    #[test]
    fn entries_replace_those_after_them_and_a_snapshot_those_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = RedbLog::open(directory.path()).expect("a new log");
        let entries = (1..=5).map(|index| entry(index, 1)).collect();
        log.write(&LogWrite { entries, ..LogWrite::default() }).expect("a write");
        let entries = vec![entry(4, 2)];
        log.write(&LogWrite { entries, ..LogWrite::default() }).expect("a write");
        let snapshot = LogSnapshot { index: 2, metadata: vec![1], state: vec![2].into() };
        let write = LogWrite { snapshot: Some(snapshot.clone()), ..LogWrite::default() };
        log.write(&write).expect("a write");
        let recovered = log.recover().expect("its content");
        assert_eq!(recovered.entries, [entry(3, 1), entry(4, 2)]);
        assert_eq!(recovered.snapshot, Some(snapshot));
    }

    #[test]
    fn a_peers_snapshot_leaves_no_entry_that_was_there_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut log = RedbLog::open(directory.path()).expect("a new log");
        let entries = (1..=5).map(|index| entry(index, 1)).collect();
        log.write(&LogWrite { entries, ..LogWrite::default() }).expect("a write");
        let snapshot = LogSnapshot { index: 3, metadata: vec![1], state: vec![2].into() };
        let entries = vec![entry(4, 2)];
        let mut group = LogWrite { entries: vec![entry(6, 1)], ..LogWrite::default() };
        let snapshot = Some(snapshot);
        group.merge(LogWrite { snapshot, replaces_all: true, ..LogWrite::default() });
        group.merge(LogWrite { entries, ..LogWrite::default() });
        log.write(&group).expect("a write");
        let recovered = log.recover().expect("its content");
        assert_eq!(recovered.entries, [entry(4, 2)]);
    }

    #[test]
    fn a_log_that_was_changed_or_cut_off_is_refused_where_it_is_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let entries: Vec<LogEntry> = (1..=200).map(|index| entry(index, 1)).collect();
        let write = LogWrite { entries: entries.clone(), ..LogWrite::default() };
        RedbLog::open(directory.path()).expect("a new log").write(&write).expect("a write");
        let path = directory.path().join("log.redb");
        let whole = fs::read(&path).expect("the file");
        let mut refused = 0;
        for at in (0..whole.len()).step_by(whole.len() / 97) {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            fs::write(&path, &changed).expect("written");
            match RedbLog::open(directory.path()) {
                // Nothing is there that counts, or there are two of it.
                Ok(mut log) => {
                    assert_eq!(log.recover().expect("its content").entries, entries, "byte {at}");
                }
                Err(LogError::Damaged { .. }) => refused += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        assert!(refused > 0, "no byte mattered");
        for length in [whole.len() / 2, 1_000, 1] {
            fs::write(&path, &whole[..length]).expect("written");
            let cut = RedbLog::open(directory.path()).map(|_| ());
            assert!(matches!(cut, Err(LogError::Damaged { .. })), "{length} bytes: {cut:?}");
        }
        fs::write(&path, &whole).expect("written");
        assert!(RedbLog::open(directory.path()).is_ok());
    }

    #[test]
    fn a_log_in_use_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let _first = RedbLog::open(directory.path()).expect("a new log");
        let second = RedbLog::open(directory.path());
        assert!(matches!(second, Err(LogError::InUse { .. })));
    }
}
