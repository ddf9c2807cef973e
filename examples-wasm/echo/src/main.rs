//! Prints its arguments, joined by spaces, on one line and then copies stdin to stdout as it arrives.
//! Without arguments it only copies. The first guest to try: it shows that arguments, stdin and
//! stdout reach a task.

use std::env;
use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    match print_arguments().and_then(|()| copy_stdin()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::from(2)
        }
    }
}

/// Writes the arguments byte for byte: they need not be UTF-8.
fn print_arguments() -> io::Result<()> {
    let arguments: Vec<_> =
        env::args_os().skip(1).map(|argument| argument.into_encoded_bytes()).collect();
    if arguments.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&arguments.join(&b' '))?;
    stdout.write_all(b"\n")
}

/// Flushes after every read, because stdout alone would hold back the end of an unfinished line.
fn copy_stdin() -> io::Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut chunk = [0; 16 * 1024];
    loop {
        match stdin.read(&mut chunk)? {
            0 => return Ok(()),
            length => stdout.write_all(&chunk[..length])?,
        }
        stdout.flush()?;
    }
}
