//! `weir compile-module`: what an agent starts to compile one module apart from itself. Nobody types
//! it, so it is none of the commands that help, completions and manual pages are made of. What it
//! does is in the agent's `compiler/child.rs`.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use weir_agent::compiler::{
    Place,
    child::{self, ChildConfig},
    limits::CompileLimits,
};
use weir_sdk::proto::metering::Metering;

use crate::confine::Confine;

/// Its name on the command line.
const NAME: &str = "compile-module";

/// Compile the module on stdin to stdout, for the agent that started this
#[derive(Debug, clap::Parser)]
#[command(name = NAME)]
pub(crate) struct CompileModuleArgs {
    #[arg(long)]
    cpu_seconds: u64,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    code_bytes: u64,
    #[arg(long)]
    metering: Metering,
    #[arg(long)]
    fingerprint: String,
    #[arg(long, default_value = "auto")]
    confine: Confine,
}

/// The arguments, if this process was started to compile.
pub(crate) fn asked(mut args: impl Iterator<Item = OsString>) -> Option<CompileModuleArgs> {
    let _program = args.next();
    let first = args.next().filter(|first| first == NAME)?;
    Some(CompileModuleArgs::parse_from(std::iter::once(first).chain(args)))
}

/// Compiles the module. To be called first of all, with neither a runtime nor a logger: either would
/// escape the limits, or write where only the reason belongs.
pub(crate) fn run(args: CompileModuleArgs) -> ExitCode {
    let CompileModuleArgs { metering, fingerprint, confine, .. } = args;
    let limits = CompileLimits {
        cpu_seconds: args.cpu_seconds,
        memory_bytes: args.memory_bytes,
        code_bytes: args.code_bytes,
    };
    child::run(&ChildConfig { limits, metering, fingerprint }, confine == Confine::Auto)
}

/// How an agent in this process starts it.
///
/// # Errors
/// When the system does not tell which program this is.
pub(crate) fn in_a_child(confine: Confine) -> Result<Place> {
    let program = if cfg!(target_os = "linux") {
        // This very program, even if another has been installed in its place since.
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe().context("cannot tell which program this is")?
    };
    let mut args = vec![OsString::from(NAME)];
    if confine == Confine::Off {
        args.extend(["--confine", "off"].map(OsString::from));
    }
    Ok(Place::Child { program, args })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Weir;

    fn asked_with(line: &[&str]) -> Option<CompileModuleArgs> {
        asked(line.iter().map(OsString::from))
    }

    #[test]
    fn the_arguments_that_an_agent_gives_are_understood() {
        let limits = CompileLimits { cpu_seconds: 1, memory_bytes: 2, code_bytes: 3 };
        let (metering, fingerprint) = (Metering::Epoch, "weir-1-00".to_owned());
        let config = ChildConfig { limits, metering, fingerprint };
        let given = config.args();
        let flags = given.iter().flat_map(|(flag, value)| [*flag, &**value]);
        let line: Vec<&str> = ["weir", NAME].into_iter().chain(flags).collect();
        let args = asked_with(&line).expect("it is asked");
        let read = (args.cpu_seconds, args.memory_bytes, args.code_bytes, &*args.fingerprint);
        assert_eq!(read, (1, 2, 3, "weir-1-00"));
        assert_eq!(args.metering, Metering::Epoch);
    }

    #[test]
    fn no_other_command_is_taken_for_it() {
        assert!(asked_with(&["weir"]).is_none());
        assert!(asked_with(&["weir", "run", NAME]).is_none());
        assert!(Weir::command().find_subcommand(NAME).is_none());
    }
}
