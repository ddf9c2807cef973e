//! Sleeps for the milliseconds in its argument and says so before and after. With the capability
//! `clock` it waits inside a host call, where it uses no fuel and executes nothing that could be
//! interrupted: tests that a time limit and cancelling reach a task there. Without, it ends at once.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    let Some(Ok(millis)) = env::args().nth(1).map(|argument| argument.parse::<u64>()) else {
        eprintln!("usage: sleeper MILLIS");
        return ExitCode::from(2);
    };
    match sleep(millis) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sleeper: cannot write to stdout: {error}");
            ExitCode::from(2)
        }
    }
}

fn sleep(millis: u64) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "sleeping for {millis} ms")?;
    stdout.flush()?;
    thread::sleep(Duration::from_millis(millis));
    writeln!(stdout, "awake after {millis} ms")?;
    stdout.flush()
}
