//! The modules in `examples-wasm/`, built by `scripts/guests.sh`, as tests run them.

use std::{
    fs,
    path::{Path, PathBuf},
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

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples-wasm")
}
