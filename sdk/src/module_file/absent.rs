//! What to do about a module that is not there: most often it has not been built yet, or was built
//! under a name that differs in a letter.

use std::path::{Path, PathBuf};

/// What would help whoever named this path, where nothing is.
pub(super) fn advice(path: &Path) -> String {
    if let Some(twin) = twins(path).into_iter().find(|twin| twin.is_file()) {
        return format!("did you mean {}?", twin.display());
    }
    if let Some((project, profile)) = cargo_output(path)
        && project.join("Cargo.toml").is_file()
    {
        let release = if profile == "release" { " --release" } else { "" };
        return format!(
            "`cargo build{release} --target wasm32-wasip1` {} builds it",
            place(&project)
        );
    }
    if let Some(folder) = path.parent().filter(|folder| folder.ends_with("build")) {
        let project = folder.parent().unwrap_or(folder);
        if project.join("Makefile").is_file() {
            return format!("`make` {} builds it", place(project));
        }
    }
    "`weir new rust NAME` makes a project that builds a module".to_owned()
}

/// The same module as it might be called by others: cargo makes `_` of `-` in libraries, builds for
/// `debug` or `release`, and adds `.wasm`.
fn twins(path: &Path) -> Vec<PathBuf> {
    let mut twins = Vec::new();
    if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
        for other in [name.replace('-', "_"), name.replace('_', "-")] {
            twins.push(path.with_file_name(other));
        }
    }
    if path.extension().is_none() {
        twins.push(path.with_extension("wasm"));
    }
    if let Some((folder, name)) = path.parent().zip(path.file_name()) {
        for (profile, other) in [("release", "debug"), ("debug", "release")] {
            if folder.ends_with(profile) {
                twins.push(folder.with_file_name(other).join(name));
            }
        }
    }
    twins
}

/// The project and the profile of a path like `PROJECT/target/wasm32-wasip1/release/NAME.wasm`.
fn cargo_output(path: &Path) -> Option<(PathBuf, &str)> {
    let profile_folder = path.parent()?;
    let target_folder = profile_folder.parent()?.parent()?;
    let profile = profile_folder.file_name()?.to_str()?;
    let ours = target_folder.file_name()? == "target" && ["release", "debug"].contains(&profile);
    ours.then_some((target_folder.parent()?.to_owned(), profile))
}

fn place(directory: &Path) -> String {
    match directory.as_os_str().is_empty() {
        true => "here".to_owned(),
        false => format!("in {}", directory.display()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The advice for a path in a directory with these empty files, which is called `.` in it.
    fn told(files: &[&str], path: &str) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        for file in files {
            let file = directory.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("its folder");
            fs::write(file, "").expect("a file");
        }
        let told = advice(&directory.path().join(path));
        told.replace(&directory.path().display().to_string(), ".")
    }

    #[test]
    fn a_module_that_is_not_built_is_told_how() {
        let release = "target/wasm32-wasip1/release/hello.wasm";
        let build = "`cargo build --release --target wasm32-wasip1` in . builds it";
        assert_eq!(told(&["Cargo.toml"], release), build);
        let debug = told(&["Cargo.toml"], "target/wasm32-wasip1/debug/hello.wasm");
        assert_eq!(debug, "`cargo build --target wasm32-wasip1` in . builds it");
        assert_eq!(told(&["Makefile"], "build/hello.wasm"), "`make` in . builds it");
        for path in [release, "build/hello.wasm", "hello.wasm", "hello"] {
            assert!(told(&[], path).starts_with("`weir new rust NAME`"), "{path}");
        }
    }

    #[test]
    fn a_module_of_almost_that_name_is_told() {
        let built = "target/wasm32-wasip1/debug/two-words.wasm";
        let release = told(&["Cargo.toml", built], "target/wasm32-wasip1/release/two-words.wasm");
        assert_eq!(release, format!("did you mean ./{built}?"));
        let dash = told(&["two-words.wasm"], "two_words.wasm");
        assert_eq!(dash, "did you mean ./two-words.wasm?");
        assert_eq!(told(&["echo.wasm"], "echo"), "did you mean ./echo.wasm?");
    }

    #[test]
    fn the_project_may_be_where_one_stands() {
        let path = Path::new("target/wasm32-wasip1/release/x.wasm");
        assert_eq!(cargo_output(path), Some((PathBuf::new(), "release")));
        assert_eq!(place(Path::new("")), "here");
    }
}
