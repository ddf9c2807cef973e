//! The file of a compiled module or component: machine code that this agent will run, and a seal
//! behind it.
//!
//! A file is only loaded when its checksum holds and this very build made it; anything else is thrown
//! away and made again. That guards against decay and other versions, not against somebody who can
//! write to the agent's own directory. Files are mapped, not read: code takes memory only where it
//! runs, and once however many agents of a machine run it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
};

use tempfile::NamedTempFile;
use wasmtime::{Engine, Module, Precompiled, component::Component};

/// Begins the seal; the version is of the file's own layout.
const MAGIC: &[u8; 16] = b"weir module 0002";

/// What follows the code: the magic and the code's hash. It is behind the code because code is mapped
/// from the beginning of a page.
const SEAL_BYTES: usize = MAGIC.len() + blake3::OUT_LEN;

/// Begins the names of files that are not finished.
const UNFINISHED: &str = "compiling-";

/// What a file holds.
pub(crate) enum Loaded {
    /// A core module.
    Module(Module),
    /// A component.
    Component(Component),
}

/// A file that code is being written to; removed when dropped.
pub(super) struct NewFile(NamedTempFile);

/// A whole file that has no name in the cache yet.
pub(super) struct SealedFile(NamedTempFile);

impl NewFile {
    pub(super) fn make(dir: &Path) -> io::Result<NewFile> {
        tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir).map(NewFile)
    }

    /// Where the code goes.
    pub(super) fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Seals the code that was written: nothing changes it from here on.
    pub(super) fn seal(self) -> io::Result<SealedFile> {
        let mut file = self.0.as_file();
        file.rewind()?;
        let checksum = hash(file)?;
        file.write_all(MAGIC)?;
        file.write_all(checksum.as_bytes())?;
        Ok(SealedFile(self.0))
    }
}

impl SealedFile {
    /// The module, or why it does not fit the engine.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Loaded> {
        // SAFETY: the file is what `Compiler::compile` wrote for an engine of this fingerprint, in a
        // private directory, and nobody writes to a sealed file.
        unsafe { map(engine, self.0.path()) }
    }

    /// Gives the file its name; returns its size in bytes. It need not survive a crash, only never be
    /// half there.
    pub(super) fn keep(self, path: &Path) -> io::Result<u64> {
        let file = self.0.persist(path)?;
        Ok(file.metadata()?.len())
    }
}

/// Loads a file of the cache; one that is not whole, or not ours, is removed.
pub(super) fn load(engine: &Engine, path: &Path) -> Option<Loaded> {
    let file = File::open(path).ok()?;
    let loaded = is_whole(&file).then(|| {
        // SAFETY: the file came out of `seal`: `keep` is what names files in this private directory,
        // the checksum says that nothing changed it since, nobody writes to it while it is mapped,
        // and its name holds the fingerprint of this very engine. The path leads to the file that
        // was checked: who compiles a module again does it only when no file is found here.
        unsafe { map(engine, path) }.ok()
    });
    let loaded = loaded.flatten();
    if loaded.is_none() {
        tracing::warn!(path = %path.display(), "throwing away a compiled module that is not whole");
        let _ = fs::remove_file(path);
    }
    loaded
}

/// Maps a file of code, which says itself what it is of.
///
/// # Safety
/// As of `Module::deserialize_file`: it must be what the compiler made, and stay so.
unsafe fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Loaded> {
    let loaded = match Engine::detect_precompiled_file(path)? {
        Some(Precompiled::Component) => {
            // SAFETY: the caller promises it.
            unsafe { Component::deserialize_file(engine, path) }.map(Loaded::Component)
        }
        // What is neither is refused there with a reason.
        Some(Precompiled::Module) | None => {
            // SAFETY: the caller promises it.
            unsafe { Module::deserialize_file(engine, path) }.map(Loaded::Module)
        }
    };
    loaded.map_err(without_path)
}

/// The reason goes into results, which are the same whichever agent tells it: Wasmtime says first
/// what the file is called.
fn without_path(error: wasmtime::Error) -> wasmtime::Error {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    if causes.is_empty() { error } else { wasmtime::Error::msg(causes.join(": ")) }
}

/// Whether the seal is behind the code that it was made for.
fn is_whole(file: &File) -> bool {
    let checked = || {
        let code_bytes = file.metadata().ok()?.len().checked_sub(SEAL_BYTES as u64)?;
        let checksum = hash(file.take(code_bytes)).ok()?;
        let mut seal = [0; SEAL_BYTES];
        let mut file = file;
        file.read_exact(&mut seal).ok()?;
        Some(seal.strip_prefix(MAGIC)? == checksum.as_bytes())
    };
    checked() == Some(true)
}

fn hash(code: impl io::Read) -> io::Result<blake3::Hash> {
    Ok(blake3::Hasher::new().update_reader(code)?.finalize())
}

/// Removes what an agent left that died while it compiled.
pub(super) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file of this name is being written, or was when its agent died.
pub(super) fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands for machine code.
    const CODE: &[u8] = b"code";
    const GOLDEN: &str = "tests/golden/module.sealed";

    fn sealed(dir: &Path) -> Vec<u8> {
        let new = NewFile::make(dir).expect("a file");
        new.file().write_all(CODE).expect("written");
        let path = dir.join("module");
        new.seal().expect("sealed").keep(&path).expect("kept");
        fs::read(path).expect("readable")
    }

    #[test]
    fn the_seal_of_an_earlier_binary_holds_and_is_made_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all("tests/golden").expect("a directory");
            fs::write(GOLDEN, sealed(dir.path())).expect("written");
        }
        let golden = fs::read(GOLDEN).expect("readable");
        assert_eq!(sealed(dir.path()), golden);
        assert!(is_whole(&File::open(GOLDEN).expect("a file")));
    }

    #[test]
    fn a_seal_of_another_version_or_of_other_code_does_not_hold() {
        let golden = fs::read(GOLDEN).expect("readable");
        let path = NamedTempFile::new().expect("a file").into_temp_path();
        for at in [0, CODE.len() + MAGIC.len() - 1, golden.len() - 1] {
            let mut other = golden.clone();
            other[at] ^= 1;
            fs::write(&path, other).expect("written");
            assert!(!is_whole(&File::open(&path).expect("a file")), "byte {at}");
        }
    }
}
