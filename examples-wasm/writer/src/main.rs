//! Writes files beneath `/out`: `writer FILES BYTES [--stdout]` makes `file-0000.bin` and so on, of
//! BYTES bytes each, the last of several in the directory `nested`; with `--stdout` it also prints
//! BYTES bytes of text. Tests that outputs are collected, and the limits on them.
//!
//! What it writes follows from the file's number and from WEIR_TASK_INDEX (0 if unset), so that a
//! repeated attempt gives the same blobs and two tasks give different ones.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("writer: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let request = Request::parse(env::args().skip(1))?;
    let task = task_index()?;
    for number in 0..request.files {
        let path = path_of(number, request.files);
        write_file(&path, request.bytes, Random::new(task, number))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if request.stdout {
        // The files have the numbers below it, so its content is its own.
        print_text(request.bytes, Random::new(task, u64::MAX))
            .map_err(|error| format!("cannot write to stdout: {error}"))?;
    }
    Ok(())
}

struct Request {
    files: u64,
    bytes: u64,
    stdout: bool,
}

impl Request {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let usage = || "usage: writer FILES BYTES [--stdout]".to_string();
        let (flags, numbers): (Vec<_>, Vec<_>) =
            arguments.partition(|argument| argument.starts_with("--"));
        let [files, bytes] = numbers.as_slice() else { return Err(usage()) };
        if flags.iter().any(|flag| flag != "--stdout") {
            return Err(usage());
        }
        Ok(Self {
            files: files.parse().map_err(|_| usage())?,
            bytes: bytes.parse().map_err(|_| usage())?,
            stdout: !flags.is_empty(),
        })
    }
}

fn task_index() -> Result<u64, String> {
    match env::var("WEIR_TASK_INDEX") {
        Err(env::VarError::NotPresent) => Ok(0),
        Err(error) => Err(format!("WEIR_TASK_INDEX: {error}")),
        Ok(index) => index.parse().map_err(|_| format!("WEIR_TASK_INDEX is not a number: {index}")),
    }
}

fn path_of(number: u64, files: u64) -> PathBuf {
    let in_nested = files > 1 && number == files - 1;
    let directory = if in_nested { "/out/nested" } else { "/out" };
    Path::new(directory).join(format!("file-{number:04}.bin"))
}

fn write_file(path: &Path, bytes: u64, mut random: Random) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = BufWriter::with_capacity(64 * 1024, File::create(path)?);
    for _ in 0..bytes {
        file.write_all(&[random.byte()])?;
    }
    file.flush()
}

/// Lines of 63 letters, which a terminal and a log can show.
fn print_text(bytes: u64, mut random: Random) -> io::Result<()> {
    let mut stdout = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for position in 1..=bytes {
        let letter = b'a' + random.byte() % 26;
        stdout.write_all(&[if position % 64 == 0 { b'\n' } else { letter }])?;
    }
    stdout.flush()
}

/// Bytes that do not compress and do not repeat, by the generator SplitMix64.
struct Random {
    state: u64,
}

impl Random {
    fn new(task: u64, number: u64) -> Self {
        // Mixed once, because neighbouring numbers would otherwise start neighbouring sequences.
        Self { state: mix(mix(task).wrapping_add(number)) }
    }

    fn byte(&mut self) -> u8 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.state) >> 56) as u8
    }
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
