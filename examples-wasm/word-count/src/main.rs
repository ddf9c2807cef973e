//! Counts the words of every regular file under `/in`, or of stdin when there is no `/in`. Prints the
//! words of each file and of all, then the most frequent words: `word-count [--top N]`, default 10.
//! The map stage of the word-count example, and the test of read-only inputs. The same input gives
//! the same bytes of output.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("word-count: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let top = parse_arguments()?;
    let input = Path::new("/in");
    let mut counts = HashMap::new();
    let mut files = Vec::new();
    if input.is_dir() {
        for path in regular_files(input)? {
            let words = count_file(&path, &mut counts)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            files.push((path, words));
        }
    } else {
        count_words(io::stdin().lock(), &mut counts)
            .map_err(|error| format!("cannot read stdin: {error}"))?;
    }
    print(&files, &counts, top).map_err(|error| format!("cannot write to stdout: {error}"))
}

/// How many of the most frequent words to print.
fn parse_arguments() -> Result<usize, String> {
    let usage = "usage: word-count [--top N]";
    let arguments: Vec<_> = env::args_os().skip(1).map(|argument| argument.into_string()).collect();
    match arguments.as_slice() {
        [] => Ok(10),
        [Ok(name), Ok(top)] if name == "--top" => {
            top.parse().map_err(|_| format!("--top is not a number: {top}\n{usage}"))
        }
        _ => Err(usage.into()),
    }
}

/// Every regular file below `directory`, in the order of the paths. Links are not followed.
fn regular_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let in_context = |error| format!("cannot list {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(in_context)? {
        let entry = entry.map_err(in_context)?;
        let kind = entry.file_type().map_err(in_context)?;
        if kind.is_dir() {
            files.append(&mut regular_files(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn count_file(path: &Path, counts: &mut HashMap<String, u64>) -> io::Result<u64> {
    count_words(BufReader::new(File::open(path)?), counts)
}

/// Adds the words of `text` to `counts`; returns how many there were.
///
/// Goes line by line, so that a large file needs little memory. Bytes that are not UTF-8 separate
/// words like any other character that is neither a letter nor a digit.
fn count_words(mut text: impl BufRead, counts: &mut HashMap<String, u64>) -> io::Result<u64> {
    let mut words = 0;
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line)? > 0 {
        for word in words_of(&String::from_utf8_lossy(&line)) {
            words += 1;
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        line.clear();
    }
    Ok(words)
}

/// Letters and digits, with the apostrophes among them: `isn't` is one word and `'quoted'` is `quoted`.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
}

fn print(files: &[(PathBuf, u64)], counts: &HashMap<String, u64>, top: usize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for (path, words) in files {
        writeln!(stdout, "{words:>9} {}", path.display())?;
    }
    writeln!(stdout, "{:>9} words, {} different", counts.values().sum::<u64>(), counts.len())?;

    let mut frequent: Vec<_> = counts.iter().collect();
    frequent.sort_by_key(|&(word, count)| (Reverse(count), word));
    for (word, count) in frequent.into_iter().take(top) {
        writeln!(stdout, "{count:>9} {word}")?;
    }
    stdout.flush()
}
