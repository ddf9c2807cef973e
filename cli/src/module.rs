//! The first look at a module, before anything is sent: is it Wasm at all?

use std::{io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};

/// `\0asm` and version 1 of the core format.
const CORE: [u8; 8] = *b"\0asm\x01\0\0\0";
/// The layer that marks a component, in the version field.
const COMPONENT_LAYER: [u8; 2] = [1, 0];

/// Says early that a file is not a module.
///
/// # Errors
/// When it cannot be read or begins like something else.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    let about = || format!("cannot run {}", path.display());
    let metadata = std::fs::metadata(path).with_context(about)?;
    if metadata.is_dir() {
        bail!("cannot run {}: it is a directory; name a .wasm file", path.display());
    }
    let mut file = std::fs::File::open(path).with_context(about)?;
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).with_context(about)?;
    check(&head).with_context(about)
}

/// Looks at a file's first bytes.
fn check(head: &[u8]) -> Result<()> {
    if head.starts_with(&CORE) {
        return Ok(());
    }
    if head.starts_with(&CORE[..4]) && head.get(6..8) == Some(&COMPONENT_LAYER) {
        bail!(
            "it is a component, and this version runs core modules only; build it for \
             `wasm32-wasip1`"
        );
    }
    if head.starts_with(&CORE[..4]) && head.len() >= CORE.len() {
        let version = u16::from_le_bytes([head[4], head[5]]);
        bail!("it is Wasm of version {version}; this version runs version 1");
    }
    if head.is_empty() {
        bail!("it is empty");
    }
    if looks_like_text_format(head) {
        bail!(
            "it is Wasm in the text format; make it binary with `wat2wasm` or `wasm-tools parse`"
        );
    }
    let what = match head {
        [0x7f, b'E', b'L', b'F', ..] => "a program for this machine (ELF)",
        [b'#', b'!', ..] => "a script",
        [b'M', b'Z', ..] => "a program for Windows",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "a program for macOS",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        _ => "something else",
    };
    bail!(
        "it is not a Wasm module but {what}; a module begins with the bytes 00 61 73 6d, and is \
         built for `wasm32-wasip1`"
    )
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
    fn a_core_module_passes() {
        assert!(check(b"\0asm\x01\0\0\0\x01\x04").is_ok());
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert!(problem(b"\0asm\x0d\0\x01\0").contains("component"));
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
