//! The process that compiles one module: it confines itself, reads the module from stdin, writes the
//! code to stdout, and ends.
//!
//! Its exit code says how it went and its stderr why; the agent's side is `process`. Stdin begins
//! with the module's length, eight bytes, least first, and stays open for as long as the agent wants
//! the code: when it ends, however the agent died, so does this process. A death signal would
//! follow the agent's *thread* that started the process, and a runtime's threads come and go.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    process::ExitCode,
    thread,
};

use weir_proto::metering::Metering;

use super::{
    limits::{CompileLimits, confine},
    precompile,
    shape::MAX_MODULE_BYTES,
};
use crate::{confine::confine_to_computing, profile};

/// The code is on stdout.
pub(super) const COMPILED: u8 = 0;
/// The module is no good; stderr holds the reason.
pub(super) const REFUSED: u8 = 3;
/// The memory limit held.
pub(super) const OUT_OF_MEMORY: u8 = 4;
/// The world failed; stderr holds the reason.
pub(super) const FAILED: u8 = 5;

/// What an agent tells the process that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildConfig {
    /// What it may take.
    pub limits: CompileLimits,
    /// For which of the agent's engines.
    pub metering: Metering,
    /// [`profile::fingerprint`] of the engine that is to run the code.
    pub fingerprint: String,
}

impl ChildConfig {
    /// The arguments of the process after its own first ones: flags and their values.
    pub fn args(&self) -> [(&'static str, String); 5] {
        let CompileLimits { cpu_seconds, memory_bytes, code_bytes } = self.limits;
        [
            ("--cpu-seconds", cpu_seconds.to_string()),
            ("--memory-bytes", memory_bytes.to_string()),
            ("--code-bytes", code_bytes.to_string()),
            ("--metering", self.metering.to_string()),
            ("--fingerprint", self.fingerprint.clone()),
        ]
    }
}

/// How this process fails.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("cannot confine itself: {0}")]
    Confine(io::Error),
    #[error("cannot read the module: {0}")]
    Read(io::Error),
    #[error("the module is said to have {bytes} bytes; at most {MAX_MODULE_BYTES} are allowed")]
    Length { bytes: u64 },
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot make an engine: {0:#}")]
    Engine(wasmtime::Error),
    #[error("it compiles for {ours} and not for {wanted}: it is another build than the agent's")]
    Foreign { ours: String, wanted: String },
    #[error("cannot write the code: {0}")]
    Write(io::Error),
}

/// Compiles the module on stdin: all that a process started for it does. To be called before there
/// are other threads, and before anything is written to stdout. Where the process `confines` itself to
/// computing, it does so as far as the kernel can; its agent has told what that is.
pub fn run(config: &ChildConfig, confines: bool) -> ExitCode {
    let (code, said) = match compile(config, confines) {
        Ok(Ok(())) => (COMPILED, String::new()),
        Ok(Err(error)) if error.is::<wasmtime::error::OutOfMemory>() => {
            (OUT_OF_MEMORY, String::new())
        }
        Ok(Err(error)) => (REFUSED, format!("{error:#}")),
        Err(error) => (FAILED, error.to_string()),
    };
    // If the agent does not listen any more, nobody does.
    let _ = io::stderr().write_all(said.as_bytes());
    ExitCode::from(code)
}

fn compile(config: &ChildConfig, confines: bool) -> Result<wasmtime::Result<()>, ChildError> {
    confine(&config.limits).map_err(ChildError::Confine)?;
    if confines {
        confine_to_computing();
    }
    let bytes = read_module()?;
    thread::Builder::new().spawn(end_with_the_agent).map_err(ChildError::Thread)?;
    let engine = profile::compiling_engine(config.metering).map_err(ChildError::Engine)?;
    let ours = profile::fingerprint(config.metering, &engine);
    if ours != config.fingerprint {
        return Err(ChildError::Foreign { ours, wanted: config.fingerprint.clone() });
    }
    let code = match precompile(&engine, &bytes) {
        Ok(code) => code,
        Err(error) => return Ok(Err(error)),
    };
    write_code(&code).map_err(ChildError::Write)?;
    Ok(Ok(()))
}

fn read_module() -> Result<Vec<u8>, ChildError> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length).map_err(ChildError::Read)?;
    let bytes = u64::from_le_bytes(length);
    if bytes > MAX_MODULE_BYTES {
        return Err(ChildError::Length { bytes });
    }
    let mut module = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    stdin.read_exact(&mut module).map_err(ChildError::Read)?;
    Ok(module)
}

/// Waits for the end of stdin. It aborts because nothing needs cleaning up, and `exit` would wait
/// for locks that the compiler may hold.
fn end_with_the_agent() {
    while let Ok(1..) = io::stdin().lock().read(&mut [0]) {}
    std::process::abort();
}

/// Writes to stdout itself: std's handle would look for line ends in machine code.
fn write_code(code: &[u8]) -> io::Result<()> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(stdout).write_all(code)
}
