//! The one binary of Weir. Each command is a file; this one only chooses among them, and tells
//! errors. A task's way begins in `run.rs`.

mod bench;

mod check;

mod clock;

mod cluster;

mod compile_module;

mod completions;

mod config;

mod confine;

mod connect;

mod core_dumps;

mod doctor;

mod embed;

mod events;

mod exit;

mod follow;

mod help;

mod job;

mod json;

mod machine;

mod man;

mod merge;

mod name;

mod namespace;

mod new;

mod number;

mod output;

mod progress;

mod place;

mod put;

mod rate;

mod run;

mod schema;

mod screen;

mod serve;

mod signals;

mod source;

mod store;

mod submit;

mod tally;

mod task_flags;

mod text;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{
    CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tracing_subscriber::EnvFilter;

/// Longest wait for loops that still run when a command is done, such as a read of stdin.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Run WebAssembly tasks on this machine or on many
#[derive(Debug, clap::Parser)]
#[command(name = "weir", version, max_term_width = 100, after_help = EXAMPLES)]
struct Weir {
    #[command(flatten)]
    global: config::GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  weir run hello.wasm                              run a module here, without any set-up
  weir dev                                         run a cluster on this machine
  weir run --array 100 --out tiles tile.wasm       100 tasks, their outputs in tiles/0 to tiles/99
  weir run --in text=book.txt count.wasm -- /in/text
  weir job ls

WEIR_MASTER names the master, WEIR_LOG what is logged to stderr (such as `info`); `weir config show`
tells these and other settings.";

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Submit(Box<submit::SubmitArgs>),
    Dev(serve::DevArgs),
    Master(serve::MasterArgs),
    Agent(serve::AgentArgs),
    #[command(subcommand)]
    Job(job::JobCommand),
    Put(put::PutArgs),
    Get(put::GetArgs),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(subcommand)]
    Name(name::NameCommand),
    #[command(subcommand)]
    Namespace(namespace::NamespaceCommand),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    Status(cluster::StatusArgs),
    Events(events::EventsArgs),
    Schema(schema::SchemaArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    #[command(subcommand)]
    Config(config::command::ConfigCommand),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(subcommand)]
    New(new::NewCommand),
}

fn main() -> ExitCode {
    if let Some(args) = compile_module::asked(std::env::args_os()) {
        return compile_module::run(args);
    }
    let sources = config::Sources::here();
    if let Some(answered) = completions::answer(Weir::command(), &sources) {
        return answered;
    }
    let (usual, _) = sources.resolve(&config::GlobalFlags::default());
    let command = help::grouped(Weir::command()).color(usual.color.value.of_help());
    let matches = command.try_get_matches().unwrap_or_else(|error| told_more(error).exit());
    let mut weir = Weir::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (settings, problems) = sources.resolve(&weir.global);
    config::make_current(settings);
    if weir.command.heeds_settings()
        && let Err(error) = config::check(&problems)
    {
        return failed(&error);
    }
    start_logging();
    // Before there is a second thread: it would not be confined.
    if let Err(error) = weir.command.confine() {
        return failed(&error);
    }
    let runtime = match tokio::runtime::Runtime::new().context("cannot start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(dispatch(weir));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended.unwrap_or_else(|error| failed(&error))
}

/// Whoever forgets the two dashes before a guest's arguments hears of them.
fn told_more(mut error: clap::Error) -> clap::Error {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let has_tip = [ContextKind::Suggested, ContextKind::SuggestedArg];
    let has_tip = has_tip.into_iter().any(|kind| error.get(kind).is_some());
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return error;
    };
    if usage.contains("[-- <ARGS>...]") && !has_tip {
        let tip = format!("arguments of the guest follow two dashes: `-- {}`", text::plain(word));
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}

impl Command {
    /// Whether it must not begin with settings that its user did not mean. Whoever has wrong ones
    /// needs what tells them so, and shells that start need their completions.
    fn heeds_settings(&self) -> bool {
        !matches!(
            self,
            Command::Config(_)
                | Command::Completions(_)
                | Command::Doctor(_)
                | Command::Man(_)
                | Command::New(_)
                | Command::Schema(_)
        )
    }
}

impl Command {
    /// Gives up what servers that run modules do not need.
    fn confine(&mut self) -> Result<()> {
        match self {
            Command::Dev(args) => args.confine(),
            Command::Agent(args) => args.confine(),
            _ => Ok(()),
        }
    }
}

async fn dispatch(weir: Weir) -> Result<ExitCode> {
    match weir.command {
        Command::Run(args) => run::run(*args).await,
        Command::Submit(args) => submit::run(*args).await,
        Command::Dev(args) => serve::dev(args).await,
        Command::Master(args) => serve::master(args).await,
        Command::Agent(args) => serve::agent(args).await,
        Command::Job(command) => job::run(command).await,
        Command::Put(args) => put::put(args).await,
        Command::Get(args) => put::get(args).await,
        Command::Store(command) => store::run(command).await,
        Command::Name(command) => name::run(command).await,
        Command::Doctor(args) => doctor::run(&args),
        Command::Namespace(command) => namespace::run(command).await,
        Command::Cluster(command) => cluster::run(command).await,
        Command::Status(args) => cluster::status(args).await,
        Command::Events(args) => events::run(args).await,
        Command::Schema(args) => schema::run(&args),
        Command::Bench(args) => bench::run(args).await,
        Command::Config(command) => config::command::run(command, &weir.global),
        Command::Completions(args) => completions::run(&args, &Weir::command()),
        Command::Man(args) => man::run(&args, Weir::command()),
        Command::New(command) => new::run(command),
    }
}

fn start_logging() {
    let settings = config::current();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log.value))
        .with_ansi(settings.colours(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
}

/// Tells an error, each cause on its own line; whoever closed our stdout needs to hear nothing.
fn failed(error: &anyhow::Error) -> ExitCode {
    if text::output_closed(error) {
        return ExitCode::from(exit::OUTPUT_CLOSED);
    }
    text::print_error(&told(error));
    ExitCode::from(exit::WEIR_FAILED)
}

fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    let mut last = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let cause = cause.to_string();
        // Some libraries repeat the source in their own message.
        if depth > 0 && last.ends_with(&cause) {
            continue;
        }
        let before = if depth == 0 { "error: " } else { "  because " };
        let lines: Vec<_> = cause.lines().map(text::plain).collect();
        told.push_str(&format!("{before}{}\n", lines.join("\n  ")));
        last = cause;
    }
    told
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Weir::command().debug_assert();
    }

    #[test]
    fn the_help_of_run_shows_every_exit_code() {
        let mut command = Weir::command();
        let run = command.find_subcommand_mut("run").expect("run");
        let help = run.render_help().to_string();
        for (code, word, _) in exit::TABLE {
            assert!(help.contains(&format!("{code}  {word}")), "{code}");
        }
    }

    #[test]
    fn guests_arguments_follow_two_dashes() {
        let parsed =
            Weir::try_parse_from(["weir", "run", "--fuel", "5G", "a.wasm", "--", "--fuel"]);
        assert!(parsed.is_ok(), "{parsed:?}");
        assert!(Weir::try_parse_from(["weir", "run", "--fuel", "5X", "a.wasm"]).is_err());
        assert!(Weir::try_parse_from(["weir", "run", "--in", "nothing", "a.wasm"]).is_err());
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_without_control_characters() {
        let error = anyhow::anyhow!("no such\x1b[2J file").context("cannot run a.wasm");
        let expected = "error: cannot run a.wasm\n  because no such\u{fffd}[2J file\n";
        assert_eq!(told(&error), expected);
    }
}
