//! The files of compiled modules together: bounded in bytes, the one used longest ago goes first.
//!
//! When a file was last used is its own modification time, which survives the process and a crash;
//! a file of code is never written to again, so nothing else sets it. Files of other builds, which
//! nothing here can load, go before all of ours. What is in `file.rs` is one file.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use weir_proto::{metering::Metering, units::short_bytes};

use super::{file, known::ModuleKey};
use crate::sandbox::Sandbox;

/// Most bytes of compiled modules by default, where a tenth of the disk is not less: code is about
/// twice as large as its module, so these are a hundred modules of 20 MB.
const DEFAULT_BYTES: u64 = 4 << 30;

/// The part of its disk that the default takes at most. Of the whole disk, not of what is free: that
/// changes from start to start.
const DEFAULT_PART: u64 = 10;

/// A sweep makes room for more than the one file that is too much, or each new file would look at
/// all the others.
const HEADROOM_PART: u64 = 10;

/// A file takes whole blocks of the disk; most file systems have these.
const BLOCK_BYTES: u64 = 4096;

/// The directory of compiled modules.
pub(super) struct Disk {
    dir: PathBuf,
    /// Of the engines that run the files.
    fingerprints: Vec<(Metering, String)>,
    most_bytes: u64,
    /// What the files took when they were last looked at, and those that came since.
    known_bytes: Mutex<u64>,
}

/// A file of the directory.
struct Kept {
    path: PathBuf,
    /// The module, where this build made the file.
    module: Option<ModuleKey>,
    bytes: u64,
    used: SystemTime,
}

impl Disk {
    /// Of a directory that exists and that no other process uses. What an agent that died was
    /// compiling is removed, and what is above the bound.
    pub(super) fn open(
        dir: PathBuf,
        most_bytes: Option<u64>,
        sandbox: &Sandbox,
    ) -> io::Result<Disk> {
        file::remove_unfinished(&dir)?;
        let most_bytes = most_bytes.unwrap_or_else(|| default_bytes(&dir));
        let fingerprints = Metering::ALL.into_iter().filter_map(|metering| {
            Some((metering, sandbox.fingerprint(metering).ok()?.to_owned()))
        });
        let fingerprints = fingerprints.collect();
        let disk = Disk { dir, fingerprints, most_bytes, known_bytes: Mutex::new(0) };
        disk.sweep(&mut disk.lock(), |_| true)?;
        Ok(disk)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the code of a module is, which is compiled for an engine that there is.
    pub(super) fn path(&self, module: ModuleKey) -> PathBuf {
        let ours = self.fingerprints.iter().find(|(metering, _)| *metering == module.metering);
        let (_, fingerprint) = ours.expect("there is such an engine");
        self.dir.join(format!("{}-{fingerprint}", module.digest.hex()))
    }

    /// A file of this size came. Removes files until the rest is within the bound, if it is not; none
    /// that `may_go` refuses. Those are counted, so the bound is exceeded by no more than what runs at
    /// the moment: to unlink a file that is mapped breaks nothing, but would free nothing either, and
    /// cost a compilation.
    pub(super) fn added(&self, bytes: u64, may_go: impl Fn(ModuleKey) -> bool) {
        let mut known = self.lock();
        *known = known.saturating_add(on_disk(bytes));
        if *known <= self.most_bytes {
            return;
        }
        if let Err(error) = self.sweep(&mut known, may_go) {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot sweep compiled modules");
        }
    }

    fn sweep(&self, known: &mut u64, may_go: impl Fn(ModuleKey) -> bool) -> io::Result<()> {
        let mut files = self.look()?;
        let before: u64 = files.iter().map(|file| file.bytes).sum();
        *known = before;
        if before <= self.most_bytes {
            return Ok(());
        }
        let goal = self.most_bytes - self.most_bytes / HEADROOM_PART;
        files.sort_by(|one, other| one.goes_before().cmp(&other.goes_before()));
        let mut left = before;
        for file in files {
            if left <= goal {
                break;
            }
            if file.module.is_none_or(&may_go) && fs::remove_file(&file.path).is_ok() {
                left -= file.bytes;
            }
        }
        *known = left;
        tracing::info!(
            before = short_bytes(before),
            after = short_bytes(left),
            "removed compiled modules that were used longest ago"
        );
        Ok(())
    }

    /// All files that are finished.
    fn look(&self) -> io::Result<Vec<Kept>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            // Removed since it was listed: a corrupt one, by whoever wanted to load it.
            let Ok(metadata) = entry.metadata() else { continue };
            if !metadata.is_file() || file::is_unfinished(&name) {
                continue;
            }
            files.push(Kept {
                path: entry.path(),
                module: self.module(&name),
                bytes: on_disk(metadata.len()),
                // A clock that was wrong once must not keep a file for ever.
                used: metadata.modified()?.min(SystemTime::now()),
            });
        }
        Ok(files)
    }

    fn module(&self, name: &OsStr) -> Option<ModuleKey> {
        let (hex, fingerprint) = name.to_str()?.split_once('-')?;
        let (metering, _) = self.fingerprints.iter().find(|(_, ours)| ours == fingerprint)?;
        Some(ModuleKey { digest: format!("blake3:{hex}").parse().ok()?, metering: *metering })
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.known_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Orders files: what cannot be loaded, then what was used longest ago.
    fn goes_before(&self) -> (bool, SystemTime, &Path) {
        (self.module.is_some(), self.used, &self.path)
    }
}

/// Marks a file as used now. That it cannot be marked costs it its place, and nothing else.
pub(super) fn mark_used(path: &Path) {
    let marked = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = marked {
        tracing::debug!(path = %path.display(), %error, "cannot mark a compiled module as used");
    }
}

/// A tenth of the disk, and no more than is sensible anywhere.
fn default_bytes(dir: &Path) -> u64 {
    let disk = rustix::fs::statvfs(dir).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    disk.map_or(DEFAULT_BYTES, |bytes| DEFAULT_BYTES.min(bytes / DEFAULT_PART))
}

fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}
