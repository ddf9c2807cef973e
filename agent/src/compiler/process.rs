//! The agent's side of a process that compiles: starts it, gives it the module, waits for it with a
//! limit, and reads from its end what happened. The other side is `child`.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::ChildStdin,
    time::timeout,
};
use weir_proto::{
    metering::Metering,
    units::{grouped, short_bytes},
};

use super::{
    Compiled, CompilerError, bounded,
    child::{self, ChildConfig},
    limits::CompileLimits,
};

/// Most bytes of what a process says that are kept; a reason is shorter.
const MAX_SAID_BYTES: u64 = 16 << 10;

/// What Rust exits with when its main thread panics.
const PANICKED: u8 = 101;

/// What Rust's allocator says before it aborts the process.
const NO_MEMORY: &str = "memory allocation of";

/// A process to start.
pub(super) struct Command<'a> {
    pub(super) program: &'a Path,
    pub(super) args: &'a [OsString],
    pub(super) limits: CompileLimits,
    pub(super) metering: Metering,
    pub(super) fingerprint: String,
    pub(super) threads: usize,
}

/// A process that ended without saying how it went, and not by a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Death {
    /// By what it did itself: a bug.
    Crashed { how: String },
    /// By a signal that nothing in it raises: somebody, or a kernel without memory.
    Killed { signal: i32 },
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Crashed { how } => f.write_str(how),
            Death::Killed { signal } => write!(f, "by signal {signal}"),
        }
    }
}

impl Command<'_> {
    /// Runs the process to its end, or to the end of its time. Dropped, it kills the process.
    pub(super) async fn run(
        &self,
        bytes: &[u8],
        output: &File,
    ) -> Result<Result<Compiled, Death>, CompilerError> {
        // What an earlier process wrote before it died is no part of this one's code.
        let output = emptied(output).map_err(CompilerError::Write)?;
        let mut child = self.start(output)?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let ended = timeout(self.limits.wall(), async {
            // Stdin stays open until all is over: for the process its end is the agent's.
            let (_stdin, said, status) =
                tokio::join!(give(stdin, bytes), hear(stderr), child.wait());
            Ok((status?, said?))
        });
        match ended.await {
            Ok(Ok((status, said))) => self.end(status, &said),
            Ok(Err(error)) => Err(CompilerError::Speak(error)),
            Err(_) => {
                child.kill().await.map_err(CompilerError::Speak)?;
                let seconds = grouped(self.limits.wall().as_secs());
                let reason = format!("compiling it takes more than {seconds} s");
                Ok(Ok(Compiled::OverLimit { reason }))
            }
        }
    }

    fn start(&self, output: File) -> Result<tokio::process::Child, CompilerError> {
        let config = ChildConfig {
            limits: self.limits,
            metering: self.metering,
            fingerprint: self.fingerprint.clone(),
        };
        let mut command = tokio::process::Command::new(self.program);
        command.args(self.args);
        for (flag, value) in config.args() {
            command.arg(flag).arg(value);
        }
        command
            .env_clear()
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            .current_dir("/")
            // Ctrl-C at the terminal is the agent's to answer.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CompilerError::Start { program: self.program.to_owned(), source })
    }

    fn end(
        &self,
        status: ExitStatus,
        said: &str,
    ) -> Result<Result<Compiled, Death>, CompilerError> {
        if let Some(signal) = status.signal() {
            return Ok(self.signalled(signal, said));
        }
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(child::COMPILED) => Ok(Ok(Compiled::Done)),
            Some(child::REFUSED) => Ok(Ok(Compiled::Refused { reason: bounded(said.to_owned()) })),
            Some(child::OUT_OF_MEMORY) => Ok(Ok(self.out_of_memory())),
            Some(PANICKED) => Ok(Err(Death::Crashed { how: said.trim().to_owned() })),
            _ => Err(CompilerError::Failed { reason: bounded(format!("{status}: {said}")) }),
        }
    }

    fn signalled(&self, signal: i32, said: &str) -> Result<Compiled, Death> {
        let limits = &self.limits;
        match Signal::from_named_raw(signal) {
            Some(Signal::XCPU) => Ok(Compiled::OverLimit {
                reason: format!(
                    "compiling it takes more than {} s of processor time",
                    grouped(limits.cpu_seconds)
                ),
            }),
            Some(Signal::XFSZ) => Ok(Compiled::OverLimit {
                reason: format!("its machine code takes more than {}", size(limits.code_bytes)),
            }),
            Some(Signal::ABORT) if said.contains(NO_MEMORY) => Ok(self.out_of_memory()),
            Some(
                Signal::ABORT
                | Signal::BUS
                | Signal::FPE
                | Signal::ILL
                | Signal::SEGV
                | Signal::SYS
                | Signal::TRAP,
            ) => Err(Death::Crashed { how: format!("signal {signal} {}", said.trim()) }),
            _ => Err(Death::Killed { signal }),
        }
    }

    fn out_of_memory(&self) -> Compiled {
        let most = size(self.limits.memory_bytes);
        Compiled::OverLimit { reason: format!("compiling it takes more than {most} of memory") }
    }
}

fn size(bytes: u64) -> String {
    format!("{} bytes ({})", grouped(bytes), short_bytes(bytes))
}

fn emptied(mut output: &File) -> io::Result<File> {
    output.set_len(0)?;
    io::Seek::rewind(&mut output)?;
    output.try_clone()
}

/// Gives the process its module, and returns the pipe still open. A process that reads no further
/// has ended or will be ended, and that tells more than the broken pipe.
async fn give(mut stdin: ChildStdin, bytes: &[u8]) -> ChildStdin {
    let length = (bytes.len() as u64).to_le_bytes();
    if stdin.write_all(&length).await.is_ok() {
        let _ = stdin.write_all(bytes).await;
    }
    stdin
}

/// All that a process says, of which the beginning is kept.
async fn hear(mut stderr: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut said = Vec::new();
    (&mut stderr).take(MAX_SAID_BYTES).read_to_end(&mut said).await?;
    tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
