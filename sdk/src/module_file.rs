//! The first look at a module, before anything is sent: is it Wasm at all?

mod absent;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// `\0asm` and version 1 of the core format.
const CORE: [u8; 8] = *b"\0asm\x01\0\0\0";
/// `\0asm` and the version of the component format that this release reads.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Why a file cannot be run as a module.
#[derive(Debug, thiserror::Error)]
pub enum ModuleFileError {
    /// Nothing is there.
    #[error("cannot run {}: there is no such file; {advice}", path.display())]
    Absent {
        /// Where nothing is.
        path: PathBuf,
        /// What would help.
        advice: String,
    },
    /// It cannot be read.
    #[error("cannot run {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file.
    #[error("cannot run {}: it is a directory; name a .wasm file", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// It begins like something else.
    #[error("cannot run {}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        source: NotAModule,
    },
}

/// What a file is that is not a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAModule {
    /// Wasm of the future.
    #[error("it is Wasm of version {0}; this version runs version 1")]
    Version(u16),
    /// No bytes.
    #[error("it is empty; build it again")]
    Empty,
    /// The text format.
    #[error("it is Wasm in the text format; make it binary with `wat2wasm` or `wasm-tools parse`")]
    Text,
    /// No Wasm.
    #[error(
        "it is not a Wasm module but {0}; a module begins with the bytes 00 61 73 6d, and is \
         built for `wasm32-wasip1`"
    )]
    Other(&'static str),
}

/// Says early that a file is not a module.
///
/// # Errors
/// When it is not there, cannot be read, or begins like something else.
pub fn check_file(path: &Path) -> Result<(), ModuleFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            ModuleFileError::Absent { path: path.to_owned(), advice: absent::advice(path) }
        }
        _ => ModuleFileError::Read { path: path.to_owned(), source },
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(ModuleFileError::Directory { path: path.to_owned() });
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head).map_err(failed)?;
    check(&head).map_err(|source| ModuleFileError::NotAModule { path: path.to_owned(), source })
}

/// Looks at a file's first bytes.
fn check(head: &[u8]) -> Result<(), NotAModule> {
    if head.starts_with(&CORE) || head.starts_with(&COMPONENT) {
        return Ok(());
    }
    if head.starts_with(&CORE[..4]) && head.len() >= CORE.len() {
        return Err(NotAModule::Version(u16::from_le_bytes([head[4], head[5]])));
    }
    if head.is_empty() {
        return Err(NotAModule::Empty);
    }
    if looks_like_text_format(head) {
        return Err(NotAModule::Text);
    }
    Err(NotAModule::Other(match head {
        [0x7f, b'E', b'L', b'F', ..] => "a program for this machine (ELF)",
        [b'#', b'!', ..] => "a script",
        [b'M', b'Z', ..] => "a program for Windows",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "a program for macOS",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        _ => "something else",
    }))
}

/// `(module` after white space and comments.
fn looks_like_text_format(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().map(str::trim_start);
    lines
        .find(|line| !line.is_empty() && !line.starts_with(";;"))
        .is_some_and(|line| line.starts_with("(module") || line.starts_with("(component"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(head: &[u8]) -> String {
        check(head).expect_err("not a module").to_string()
    }

    #[test]
    fn a_core_module_and_a_component_pass() {
        assert!(check(b"\0asm\x01\0\0\0\x01\x04").is_ok());
        assert!(check(b"\0asm\x0d\0\x01\0\x01\x04").is_ok());
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert!(problem(b"\0asm\x02\0\0\0").contains("version 2"));
        assert!(problem(b";; a\n\n  (module\n").contains("text format"));
        assert!(problem(b"\x7fELF\x02").contains("ELF"));
        assert!(problem(b"#!/bin/sh").contains("script"));
        assert!(problem(b"").contains("empty"));
        assert!(problem(b"\0as").contains("not a Wasm module"));
        assert!(problem(b"PNG and so on").contains("something else"));
    }

    #[test]
    fn a_directory_is_not_a_module() {
        let error = check_file(Path::new("/")).expect_err("a directory").to_string();
        assert!(error.contains("directory"), "{error}");
    }
}
