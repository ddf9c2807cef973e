//! Turns a module's or component's bytes into machine code, in a process of its own that can be limited and killed.
//!
//! Cranelift can be neither limited nor stopped where it runs, so the agent starts its own program
//! again for each module: `process` is the agent's side of that, `child` the other. What is refused
//! without compiling at all is in `shape`. Keeping and loading the code is up to `modules`.

pub mod child;

pub mod limits;

mod process;

mod shape;

mod turns;

use std::{ffi::OsString, fs::File, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use wasmtime::Engine;
use weir_proto::metering::Metering;

use self::{
    limits::CompileLimits,
    process::Death,
    shape::{Kind, check},
    turns::Turns,
};
pub use self::{
    shape::MAX_MODULE_BYTES,
    turns::{Turn, Urgency},
};
use crate::profile;

/// Most modules compiled at once, on machines with as many cores. Each compiler uses all cores by
/// itself, so more would finish nothing sooner, and each may take all the memory that is allowed to
/// one. With one alone, whoever submits a bomb would keep everybody's modules waiting.
pub const MAX_AT_ONCE: usize = 4;

/// How often a compiler that dies without a limit being the cause is started for one module: an
/// accident does not happen again, a bug does.
const MAX_TRIES: u32 = 3;

/// Longest reason, in bytes: it goes into every task's result.
const MAX_REASON_BYTES: usize = 1024;

/// How modules are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerConfig {
    /// Where Cranelift runs.
    pub place: Place,
    /// What compiling one module may take.
    pub limits: CompileLimits,
    /// Threads of one compiler, and, up to `MAX_AT_ONCE`, compilers at once; at least 1.
    pub cores: usize,
}

/// Where Cranelift runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a process of this program, which with these arguments and those of
    /// [`child::ChildConfig::args`] after them does nothing but call [`child::run`].
    Child {
        /// The program.
        program: PathBuf,
        /// Its first arguments.
        args: Vec<OsString>,
    },
    /// In this process: for tests and embedders that trust every module. No limit holds there, a
    /// compiler cannot be stopped, and a bug in it may end the agent and all its tasks.
    ThisProcess,
}

/// How compiling ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiled {
    /// The code is in the file.
    Done,
    /// It can never run as a task.
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// It took more than is allowed.
    OverLimit {
        /// Which limit, with the numbers.
        reason: String,
    },
}

/// Why nothing is known about a module: the world's failure, not the module's.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// The system starts no process of the program.
    #[error("cannot start {program} to compile a module", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The process could not be waited for, or given its module.
    #[error("cannot speak with the process that compiles a module")]
    Speak(#[source] io::Error),
    /// The process ended in a way that says nothing about the module.
    #[error("the process that compiles a module failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
    /// The code cannot be written.
    #[error("cannot write compiled code")]
    Write(#[source] io::Error),
    /// A thread of this process panicked.
    #[error("compiling panicked")]
    Panicked,
}

/// Compiles modules for an agent's engines.
#[derive(Debug)]
pub struct Compiler {
    config: CompilerConfig,
    turns: Arc<Turns>,
}

impl CompilerConfig {
    /// In this process, with all that [`Place::ThisProcess`] loses.
    pub fn in_this_process() -> CompilerConfig {
        CompilerConfig { place: Place::ThisProcess, limits: CompileLimits::default(), cores: 1 }
    }
}

impl Compiler {
    /// A compiler that starts nothing yet.
    pub fn new(config: CompilerConfig) -> Compiler {
        let turns = Turns::new(config.cores.clamp(1, MAX_AT_ONCE));
        Compiler { config, turns }
    }

    /// Waits for a turn to compile. Whoever waits holds no module's bytes yet.
    pub async fn turn(&self, urgency: Urgency) -> Turn {
        self.turns.take(urgency).await
    }

    /// Compiles a module for `engine`, whose tasks are metered so, and appends the code to `output`, whose position is at its
    /// end. Drop the future to stop it.
    ///
    /// # Errors
    /// Whatever the world does to the process; the output then holds anything.
    pub async fn compile(
        &self,
        metering: Metering,
        engine: &Engine,
        bytes: Bytes,
        output: &File,
    ) -> Result<Compiled, CompilerError> {
        let copy = bytes.clone();
        if let Err(reason) = on_blocking_thread(move || check(&copy)).await? {
            return Ok(Compiled::Refused { reason: bounded(reason) });
        }
        match &self.config.place {
            Place::Child { program, args } => {
                let command = process::Command {
                    program,
                    args,
                    limits: self.config.limits,
                    metering,
                    fingerprint: profile::fingerprint(metering, engine),
                    threads: self.config.cores.max(1),
                };
                in_child(&command, &bytes, output).await
            }
            Place::ThisProcess => {
                let engine = engine.clone();
                let output = output.try_clone().map_err(CompilerError::Write)?;
                on_blocking_thread(move || compile_here(&engine, &bytes, output)).await?
            }
        }
    }
}

/// Starts compilers until one ends by itself or by a limit; bounded, for a bug kills them all.
async fn in_child(
    command: &process::Command<'_>,
    bytes: &[u8],
    output: &File,
) -> Result<Compiled, CompilerError> {
    let mut tries = 1;
    loop {
        let death = match command.run(bytes, output).await? {
            Ok(compiled) => return Ok(compiled),
            Err(death) => death,
        };
        tracing::warn!(%death, tries, "a process that compiled a module died");
        if tries < MAX_TRIES {
            tries += 1;
            continue;
        }
        return Ok(match death {
            Death::Crashed { .. } => {
                Compiled::Refused { reason: bounded(format!("the compiler failed: {death}")) }
            }
            Death::Killed { .. } => Compiled::OverLimit {
                reason: bounded(format!(
                    "its compiler was stopped from outside {MAX_TRIES} times, {death}; the machine \
                     may be short of memory"
                )),
            },
        });
    }
}

fn compile_here(
    engine: &Engine,
    bytes: &[u8],
    mut output: File,
) -> Result<Compiled, CompilerError> {
    match precompile(engine, bytes) {
        Ok(code) => {
            io::Write::write_all(&mut output, &code).map_err(CompilerError::Write)?;
            Ok(Compiled::Done)
        }
        Err(error) => Ok(Compiled::Refused { reason: bounded(format!("{error:#}")) }),
    }
}

/// The code of bytes that passed `check`.
fn precompile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
    match Kind::of(bytes).map_err(wasmtime::Error::msg)? {
        Kind::Module => engine.precompile_module(bytes),
        Kind::Component => engine.precompile_component(bytes),
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CompilerError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| CompilerError::Panicked)
}

/// A reason that is not longer than tasks' results can carry.
pub(crate) fn bounded(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    reason
}

#[cfg(test)]
mod tests;
