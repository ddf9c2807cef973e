//! What is typed at a shell, and what should come back: transcripts, run word for word.
//!
//! A transcript is a text of lines `$ COMMAND`, each followed by what the command should print, stdout
//! and stderr together. A line `> MORE` after a command goes on with it. One shell runs them all, so
//! that variables, directories and jobs in the background are as a reader has them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::cluster::binary;

/// Longest wait for a command of a transcript.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of `capabilities(7)`: `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`.
const ROOTS_FILE_RIGHTS: u64 = 1 << 1 | 1 << 2;
/// Ends what a command prints, before its exit code.
const MARK: &str = "@@weir-session@@";

/// A command of a transcript, and what it should print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is typed; several lines where it goes on.
    pub command: String,
    /// What should come back, line by line.
    pub expected: Vec<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was printed, line by line; control characters but tabs are shown as `\\x1b`.
    pub lines: Vec<String>,
    /// The exit code.
    pub code: i32,
}

/// A shell.
pub struct Session {
    shell: Child,
    stdin: ChildStdin,
    output: Receiver<Vec<u8>>,
    pending: String,
}

/// The steps of a transcript; text before the first command is left out.
pub fn steps(transcript: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in transcript.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), expected: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.expected.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => step.expected.push(line.to_owned()),
            }
        }
    }
    steps
}

/// A command that may read what its user may read. Root may read everything, unless it gives that up.
fn as_everybody(program: &str) -> Command {
    let may_read_everything = rights().is_some_and(|rights| rights & ROOTS_FILE_RIGHTS != 0);
    if !may_read_everything {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", program]);
    command
}

/// The capabilities of this process, as Linux counts them.
fn rights() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

impl Session {
    /// Starts a shell in a directory, with `weir` on its path, nothing of the user's settings and no right to
    /// files beyond their modes.
    pub fn start(directory: &Path, variables: &[(&str, &str)]) -> Session {
        let tools = binary().parent().expect("the binary is in a directory").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        // Both ends of one pipe, so that what is printed comes in its order.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = as_everybody("bash");
        command
            .args(["--noprofile", "--norc"])
            .current_dir(directory)
            .env_clear()
            .env("PATH", format!("{}:{path}", tools.display()))
            .env("HOME", directory)
            .env("TMPDIR", directory)
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer);
        let mut shell = command.spawn().expect("there is bash, and setpriv for root");
        drop(command);
        let stdin = shell.stdin.take().expect("stdin is piped");
        let (send, output) = mpsc::channel();
        // Ends with the last process that writes to the pipe.
        thread::spawn(move || {
            let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
            let mut chunk = [0; 64 << 10];
            while let Ok(bytes @ 1..) = reader.read(&mut chunk) {
                if send.send(chunk[..bytes].to_vec()).is_err() {
                    break;
                }
            }
        });
        Session { shell, stdin, output, pending: String::new() }
    }

    /// Types a command, and waits for what comes back.
    ///
    /// # Panics
    /// When it does not end in `PATIENCE`.
    pub fn run(&mut self, command: &str) -> Answer {
        // stdin of the command is empty: what follows is not for it.
        let typed = format!("{{ {command}\n}} < /dev/null\nprintf '\\n{MARK}%d\\n' $?\n");
        self.stdin.write_all(typed.as_bytes()).expect("the shell reads");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((printed, rest)) = self.pending.split_once(MARK)
                && let Some((code, rest)) = rest.split_once('\n')
            {
                let code = code.parse().expect("an exit code");
                let printed = printed.strip_suffix('\n').unwrap_or(printed);
                let lines = printed.lines().map(visible).collect();
                self.pending = rest.to_owned();
                return Answer { lines, code };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{command:?} did not end; it printed:\n{}", self.pending),
            }
        }
    }
}

impl Session {
    /// Types a command that goes on in the background, and waits until it has printed so many lines.
    ///
    /// # Panics
    /// When it does not in `PATIENCE`.
    pub fn run_in_background(&mut self, command: &str, lines: usize) -> Answer {
        let mut answer = self.run(command);
        let deadline = Instant::now() + PATIENCE;
        while answer.lines.len() < lines {
            if let Some((line, rest)) = self.pending.split_once('\n') {
                if !line.is_empty() {
                    answer.lines.push(visible(line));
                }
                self.pending = rest.to_owned();
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.pending.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{command:?} printed only {:?}", answer.lines),
            }
        }
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What it left in the background ends with it.
        let _ = self.stdin.write_all(b"kill -9 $(jobs -p) 2> /dev/null; exit\n");
        let _ = self.stdin.flush();
        thread::sleep(Duration::from_millis(100));
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A line with its control characters made visible.
fn visible(line: &str) -> String {
    let shown = |c: char| match c {
        '\t' => "\t".to_owned(),
        c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
        c => c.to_string(),
    };
    line.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_commands_and_what_they_print() {
        let steps = steps("text\n$ a\nb\nc\n$ d\n> e\n$ f\n");
        let commands: Vec<&str> = steps.iter().map(|step| &step.command[..]).collect();
        assert_eq!(commands, ["a", "d\ne", "f"]);
        assert_eq!(steps[0].expected, ["b", "c"]);
        assert!(steps[2].expected.is_empty());
    }

    #[test]
    fn a_shell_remembers_and_tells_exit_codes() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut session = Session::start(directory.path(), &[("A", "b")]);
        assert_eq!(session.run("x=$A; echo one; echo two >&2").lines, ["one", "two"]);
        assert_eq!(session.run("echo $x; false").code, 1);
        assert_eq!(session.run("printf 'no end\\033'").lines, ["no end\\x1b"]);
        assert_eq!(session.run("cat").lines, [""; 0]);
    }
}
