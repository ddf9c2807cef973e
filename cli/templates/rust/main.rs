//! A task for Weir: greets, and counts the lines and words of its input files.
//!
//! It reads what is in /in and, where a job keeps outputs, writes a report into /out.

use std::{env, fs, io, path::Path, process::ExitCode};

const GREETING: &str = "hello from {{name}}";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // A task that exits with another code than 0 has failed; `weir` tells the code.
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut report = format!("{}\n", greeting(env::args().skip(1))?);
    // Each task of an array sees which one it is; a task that runs alone sees nothing.
    if let Ok(index) = env::var("WEIR_TASK_INDEX") {
        let count = env::var("WEIR_TASK_COUNT").unwrap_or_default();
        report.push_str(&format!("task {index} of {count}\n"));
    }
    for name in names_in("/in").map_err(|error| format!("cannot list /in: {error}"))? {
        let bytes = fs::read(Path::new("/in").join(&name))
            .map_err(|error| format!("cannot read /in/{name}: {error}"))?;
        let (lines, words) = count(&String::from_utf8_lossy(&bytes));
        report.push_str(&format!("{name}: {lines} lines, {words} words\n"));
    }
    print!("{report}");
    if Path::new("/out").is_dir() {
        fs::write("/out/report.txt", &report)
            .map_err(|error| format!("cannot write /out/report.txt: {error}"))?;
    }
    Ok(())
}

/// What `--greeting TEXT` says, or a greeting of its own.
fn greeting(mut args: impl Iterator<Item = String>) -> Result<String, String> {
    match (args.next().as_deref(), args.next()) {
        (None, _) => Ok(GREETING.to_owned()),
        (Some("--greeting"), Some(text)) => Ok(text),
        (Some("--greeting"), None) => Err("--greeting needs a text".to_owned()),
        (Some(other), _) => Err(format!("there is no {other}, only --greeting TEXT")),
    }
}

/// The files in a directory, sorted; none where the directory is not there.
fn names_in(directory: &str) -> io::Result<Vec<String>> {
    if !Path::new(directory).is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Lines and words of a text.
fn count(text: &str) -> (usize, usize) {
    (text.lines().count(), text.split_whitespace().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_words_are_counted() {
        assert_eq!(count("one two\nthree\n"), (2, 3));
        assert_eq!(count(""), (0, 0));
    }

    #[test]
    fn a_greeting_may_be_given() {
        let given = ["--greeting", "hi"].map(String::from);
        assert_eq!(greeting(given.into_iter()), Ok("hi".to_owned()));
        assert_eq!(greeting(std::iter::empty()), Ok(GREETING.to_owned()));
        assert!(greeting(std::iter::once("--greting".to_owned())).is_err());
    }
}
