//! The file of a compiled module: machine code that this agent will run, and a seal behind it.
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
use wasmtime::{Engine, Module};

/// Begins the seal; the version is of the file's own layout.
const MAGIC: &[u8; 16] = b"weir module 0002";

/// What follows the code: the magic and the code's hash. It is behind the code because code is mapped
/// from the beginning of a page.
const SEAL_BYTES: usize = MAGIC.len() + blake3::OUT_LEN;

/// Begins the names of files that are not finished.
const UNFINISHED: &str = "compiling-";

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
    pub(super) fn load(&self, engine: &Engine) -> io::Result<wasmtime::Result<Module>> {
        let file = File::open(self.0.path())?;
        // SAFETY: the file is what `Compiler::compile` wrote for an engine of this fingerprint, in a
        // private directory, and nobody writes to a sealed file.
        Ok(unsafe { Module::deserialize_open_file(engine, file) })
    }

    /// Gives the file its name. It need not survive a crash, only never be half there.
    pub(super) fn keep(self, path: &Path) -> io::Result<()> {
        self.0.persist(path)?;
        Ok(())
    }
}

/// Loads a file of the cache; one that is not whole, or not ours, is removed.
pub(super) fn load(engine: &Engine, path: &Path) -> Option<Module> {
    let file = File::open(path).ok()?;
    let module = checked(file).and_then(|file| {
        // SAFETY: the file came out of `seal`: `keep` is what names files in this private directory,
        // the checksum says that nothing changed it since, nobody writes to it while it is mapped,
        // and its name holds the fingerprint of this very engine.
        unsafe { Module::deserialize_open_file(engine, file) }.ok()
    });
    if module.is_none() {
        tracing::warn!(path = %path.display(), "throwing away a compiled module that is not whole");
        let _ = fs::remove_file(path);
    }
    module
}

/// The file, if it is whole.
fn checked(file: File) -> Option<File> {
    let code_bytes = file.metadata().ok()?.len().checked_sub(SEAL_BYTES as u64)?;
    let checksum = hash((&file).take(code_bytes)).ok()?;
    let mut seal = [0; SEAL_BYTES];
    (&file).read_exact(&mut seal).ok()?;
    (seal.strip_prefix(MAGIC)? == checksum.as_bytes()).then_some(file)
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

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}
