//! `weir new`: a project for tasks, from files in `cli/templates`, that builds and runs at once.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{config, text};

/// What stands in a template for the project's name.
const NAME: &str = "{{name}}";
/// Longest name; a job's may be longer.
const MAX_NAME_BYTES: usize = 64;
/// What cargo takes for no package's name: keywords, and names with a meaning of their own.
const RESERVED_IN_RUST: [&str; 61] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "proc-macro",
];

/// The files of a project: path, and text with places for the name.
type Template = &'static [(&'static str, &'static str)];

const RUST: Template = &[
    ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
    (".cargo/config.toml", include_str!("../templates/rust/cargo-config.toml")),
    ("src/main.rs", include_str!("../templates/rust/main.rs")),
    ("job.toml", include_str!("../templates/rust/job.toml")),
    ("README.md", include_str!("../templates/rust/README.md")),
    (".gitignore", include_str!("../templates/rust/gitignore")),
];

const C: Template = &[
    ("main.c", include_str!("../templates/c/main.c")),
    ("Makefile", include_str!("../templates/c/Makefile")),
    ("job.toml", include_str!("../templates/c/job.toml")),
    ("README.md", include_str!("../templates/c/README.md")),
    (".gitignore", include_str!("../templates/c/gitignore")),
];

/// Make a project for tasks that builds and runs at once
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir new rust hello && cd hello && cargo run
  weir new c hello && cd hello && make run")]
pub(crate) enum NewCommand {
    /// Make a project in Rust; `cargo run` runs it
    #[command(after_help = "\
Examples:
  weir new rust hello && cd hello && cargo run
  weir new rust ~/tasks/count-words

The compiler needs the target: rustup target add wasm32-wasip1")]
    Rust(NewArgs),
    /// Make a project in C; `make run` runs it
    #[command(after_help = "\
Examples:
  weir new c hello && cd hello && make run
  weir new c ~/tasks/count-words

`make` finds a compiler for WebAssembly, or says how to get one.")]
    C(NewArgs),
}

/// Arguments of every language.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The directory to make; its last part is the project's name
    #[arg(value_name = "NAME")]
    path: PathBuf,
}

/// Makes the project and says what to do next.
///
/// # Errors
/// When the name will not do, the directory has something in it, or cannot be written.
pub(crate) fn run(command: NewCommand) -> Result<ExitCode> {
    let (path, template, what, next) = match command {
        NewCommand::Rust(args) => (args.path, RUST, "a Rust project", "cargo run"),
        NewCommand::C(args) => (args.path, C, "a C project", "make run"),
    };
    let name = name_of(&path)?;
    check_name(&name, template == RUST)
        .map_err(|why| anyhow!("{name:?} cannot be the project's name: {why}"))?;
    make(&path, &name, template)?;
    if !config::current().quiet.value {
        text::print(&format!(
            "{what} is in {}; README.md there tells more\n  cd {}\n  {next:28}  # builds it and \
             runs it as a task\n",
            text::plain(&path.display().to_string()),
            text::plain(&quoted(&path)),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The last part of a path; of `.`, the name of the directory that it is.
fn name_of(path: &Path) -> Result<String> {
    let about = || format!("cannot make a project in {}", path.display());
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => fs::canonicalize(path).with_context(about)?,
    };
    let name = whole.file_name().with_context(about)?;
    Ok(name.to_string_lossy().into_owned())
}

/// What cargo takes for a package's name, and every other tool for a file's.
fn check_name(name: &str, rust: bool) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(other) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!("it has {other:?} in it; use a-z, A-Z, 0-9, - and _"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("it does not begin with a letter".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("it is longer than {MAX_NAME_BYTES} bytes"));
    }
    if rust && RESERVED_IN_RUST.contains(&name) {
        return Err(
            "it has a meaning in Rust; choose another, such as `my-{name}`".replace("{name}", name)
        );
    }
    Ok(())
}

/// Writes the files. When one cannot be written, what was made is removed again, and nothing else.
fn make(path: &Path, name: &str, template: Template) -> Result<()> {
    let about = || format!("cannot make a project in {}", path.display());
    match fs::read_dir(path).map(|mut entries| entries.next()) {
        Ok(Some(_)) => bail!(
            "cannot make a project in {}: it is not empty; choose another name",
            path.display()
        ),
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(about),
    }
    let mut made = Vec::new();
    let written = write_files(path, name, template, &mut made);
    if written.is_err() {
        for path in made.iter().rev() {
            // A directory in which somebody else put something stays; the first error is told.
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
    written.with_context(about)
}

/// Writes the files, and notes what it made, in order.
fn write_files(
    path: &Path,
    name: &str,
    template: Template,
    made: &mut Vec<PathBuf>,
) -> io::Result<()> {
    make_directory(path, made)?;
    for (file, text) in template {
        let to = path.join(file);
        make_directory(to.parent().unwrap_or(path), made)?;
        let mut file = fs::File::create_new(&to)?;
        made.push(to);
        file.write_all(text.replace(NAME, name).as_bytes())?;
    }
    Ok(())
}

/// Makes a directory and those above it that are not there.
fn make_directory(path: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directory(above, made)?;
    }
    fs::create_dir(path)?;
    made.push(path.to_owned());
    Ok(())
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "-_./~".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use weir_sdk::job_file::JobFile;

    use super::*;

    #[test]
    fn a_project_is_named_after_its_directory() {
        assert_eq!(name_of(Path::new("a/b-c/")).expect("a name"), "b-c");
        assert!(name_of(Path::new("/")).is_err());
        let dir = tempfile::tempdir().expect("a directory");
        let dotted = dir.path().join("x/..");
        fs::create_dir(dir.path().join("x")).expect("a directory");
        let real = fs::canonicalize(dir.path()).expect("a path");
        let expected = real.file_name().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(name_of(&dotted).ok(), expected);
    }

    #[test]
    fn names_that_would_not_build_are_refused() {
        for (name, words) in [
            ("", "letter"),
            ("7up", "letter"),
            ("-x", "letter"),
            ("a b", "' '"),
            ("größe", "'ö'"),
            ("a.b", "'.'"),
            ("match", "Rust"),
            ("test", "my-test"),
        ] {
            let told = check_name(name, true).expect_err(name);
            assert!(told.contains(words), "{name}: {told}");
        }
        assert!(check_name(&"x".repeat(65), true).expect_err("long").contains("64"));
        assert_eq!(check_name("word-count_2", true), Ok(()));
        assert_eq!(check_name("match", false), Ok(()));
    }

    #[test]
    fn every_place_for_the_name_is_filled() {
        for template in [RUST, C] {
            let dir = tempfile::tempdir().expect("a directory");
            make(dir.path(), "hello", template).expect("it can be made");
            for (file, _) in template {
                let text = fs::read_to_string(dir.path().join(file)).expect("a file");
                assert!(!text.contains("{{"), "{file}");
            }
            let job = fs::read_to_string(dir.path().join("job.toml")).expect("a file");
            assert!(job.contains("name = \"hello\"\n") && job.contains("/hello.wasm\""), "{job}");
        }
    }

    #[test]
    fn the_job_files_are_read_without_a_problem() {
        for template in [RUST, C] {
            let (_, text) = template.iter().find(|(file, _)| *file == "job.toml").expect("it is");
            let (_, problems) = JobFile::parse(&text.replace(NAME, "hello"));
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("mine"), "precious").expect("a file");
        let told = make(dir.path(), "hello", RUST).expect_err("not empty").to_string();
        assert!(told.contains("not empty"), "{told}");
        assert!(make(&dir.path().join("mine"), "hello", RUST).is_err());
        assert!(make(&dir.path().join("mine/hello"), "hello", RUST).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
        assert_eq!(fs::read_to_string(dir.path().join("mine")).expect("the file"), "precious");
    }

    #[test]
    fn what_cannot_be_finished_leaves_nothing_behind() {
        // The second file needs a directory where the first one is.
        const BROKEN: Template = &[("a", "text"), ("a/b", "text")];
        let dir = tempfile::tempdir().expect("a directory");
        assert!(make(&dir.path().join("new/deep"), "deep", BROKEN).is_err());
        assert!(!dir.path().join("new").exists());
        assert!(make(dir.path(), "hello", BROKEN).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("it is still there").count(), 0);
    }

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("a/b-c")), "a/b-c");
        assert_eq!(quoted(Path::new("my tasks/it's")), "'my tasks/it'\\''s'");
    }
}
