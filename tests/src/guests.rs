//! The modules in `examples-wasm/`, built by `scripts/guests.sh`, as tests run them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The module of an example guest.
///
/// # Panics
/// When it has not been built.
pub fn guest(name: &str) -> PathBuf {
    let path = examples().join("target/wasm32-wasip1/release").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not there; run `make test`", path.display());
    path
}

/// The names of all example guests, in order: the folders of packages.
///
/// # Panics
/// When the folder of examples cannot be read.
pub fn names() -> Vec<String> {
    let folders = fs::read_dir(examples()).expect("the folder of examples");
    let mut names: Vec<String> = folders
        .map(|folder| folder.expect("an entry"))
        .filter(|folder| folder.path().join("Cargo.toml").exists())
        .map(|folder| folder.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A Rust compiler that has the target of the guests, if there is one. As scripts/guests.sh chooses it: whichever can build a whole program.
pub fn rust_compiler() -> Option<PathBuf> {
    let named = std::env::var_os("WEIR_WASM_RUSTC").map(PathBuf::from);
    let others = ["rustc", "/opt/wasm-rust/bin/rustc"].map(PathBuf::from);
    let scratch = tempfile::tempdir().expect("a directory");
    let probe = scratch.path().join("probe.rs");
    fs::write(&probe, "fn main() {}").expect("a file");
    named.into_iter().chain(others).find(|compiler| {
        let built = Command::new(compiler)
            .args(["--edition", "2024", "--target", "wasm32-wasip1", "-o"])
            .args([&scratch.path().join("probe.wasm"), &probe])
            .output();
        built.is_ok_and(|built| built.status.success())
    })
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-wasm")
}
