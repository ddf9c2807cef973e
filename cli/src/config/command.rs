//! `weir config`: shows the settings and where each comes from, and changes the user's file.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{GlobalFlags, Key, Origin, Settings, Sources, edit};
use crate::{
    exit, json,
    text::{self, Table},
};

/// Show and change settings: the file, the environment, and which goes first
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir config show                                 every setting, and where it comes from
  weir config set master http://10.0.0.1:7400      from now on, this is the cluster
  weir config unset master

A flag goes before the environment, the environment before the file, the file before the default.

  KEY        FLAG         ENVIRONMENT
  master     --master     WEIR_MASTER
  namespace  --namespace  WEIR_NAMESPACE
  color      --color      WEIR_COLOR (and NO_COLOR, while it is `auto`)
  quiet      --quiet      WEIR_QUIET
  log                     WEIR_LOG

The file is $WEIR_CONFIG, else $XDG_CONFIG_HOME/weir/config.toml, else ~/.config/weir/config.toml.")]
pub(crate) enum ConfigCommand {
    /// Show each setting's value and where it comes from
    #[command(after_help = "\
Examples:
  weir config show
  WEIR_LOG=debug weir config show --json

What is wrong is told on stderr and left out; the exit code is then 125.")]
    Show(ShowArgs),
    /// Print where the file of settings is
    #[command(after_help = "\
Examples:
  weir config path
  $EDITOR \"$(weir config path)\"")]
    Path,
    /// Change a setting in the file; all else in it stays as it is
    #[command(after_help = "\
Examples:
  weir config set master http://10.0.0.1:7400
  weir config set color never
  weir config set quiet true
  weir config set log info,weir_master=debug")]
    Set(SetArgs),
    /// Remove a setting from the file
    #[command(after_help = "\
Examples:
  weir config unset master
  weir config unset namespace")]
    Unset(UnsetArgs),
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Which setting
    key: Key,
    /// Its value
    value: String,
}

/// Arguments of `unset`.
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// Which setting
    key: Key,
}

/// Runs the command.
///
/// # Errors
/// When a value makes no sense, or the file cannot be changed.
pub(crate) fn run(command: ConfigCommand, flags: &GlobalFlags) -> Result<ExitCode> {
    let sources = &Sources::here();
    match command {
        ConfigCommand::Show(args) => return show(&args, sources, flags),
        ConfigCommand::Path => text::print(&format!("{}\n", file_path(sources)?.display()))?,
        ConfigCommand::Set(args) => set(&args, sources)?,
        ConfigCommand::Unset(args) => unset(args.key, sources)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ShowArgs, sources: &Sources, flags: &GlobalFlags) -> Result<ExitCode> {
    let (settings, problems) = sources.resolve(flags);
    if args.json {
        let problems = problems.iter().map(|problem| json::local::SettingProblem {
            place: problem.place.to_string(),
            message: problem.message.clone(),
        });
        text::print_json(&json::local::Config {
            file: sources.path().map(|path| path.display().to_string()),
            settings: Key::ALL.map(|key| setting(&settings, key)).into(),
            problems: problems.collect(),
        })?;
    } else {
        let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
        for key in Key::ALL {
            let (value, origin) = settings.shown(key);
            table.row([key.name().to_owned(), value, origin.to_string()]);
        }
        text::print_table(&table)?;
        for problem in &problems {
            text::remark(&problem.to_string());
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::WEIR_FAILED) })
}

fn setting(settings: &Settings, key: Key) -> json::local::Setting {
    let (value, origin) = settings.shown(key);
    let usual = json::local::SettingOrigin::default();
    let from = match origin {
        Origin::Default => json::local::SettingOrigin { kind: "default", ..usual },
        Origin::File { path, line } => json::local::SettingOrigin {
            kind: "file",
            path: Some(path.display().to_string()),
            line: Some(*line),
            ..usual
        },
        Origin::Environment(name) => {
            json::local::SettingOrigin { kind: "environment", name: Some(name), ..usual }
        }
        Origin::Flag(name) => {
            json::local::SettingOrigin { kind: "flag", name: Some(name), ..usual }
        }
    };
    let value = if key == Key::Quiet { settings.quiet.value.into() } else { value.into() };
    json::local::Setting { key: key.name(), value, from }
}

fn set(args: &SetArgs, sources: &Sources) -> Result<()> {
    let checked = Settings::default().set(args.key, &args.value, Origin::Default);
    checked.map_err(|why| anyhow!("cannot set {}: {why}", args.key.name()))?;
    // `1` is true on the command line and in the environment, but a number in the file.
    let value = match (args.key, &*args.value) {
        (Key::Quiet, "1") => "true",
        (Key::Quiet, "0") => "false",
        (_, value) => value,
    };
    let path = file_path(sources)?;
    let text = edit::with(&text_of(sources)?, args.key, value);
    let text = text.map_err(|why| anyhow!("cannot change {}: {why}", path.display()))?;
    edit::write(path, &text)?;
    tell_what_goes_before(args.key, sources);
    Ok(())
}

fn unset(key: Key, sources: &Sources) -> Result<()> {
    let path = file_path(sources)?;
    let text = edit::without(&text_of(sources)?, key);
    match text.map_err(|why| anyhow!("cannot change {}: {why}", path.display()))? {
        Some(text) => edit::write(path, &text)?,
        None => text::remark(&format!("{} has no {}", path.display(), key.name())),
    }
    tell_what_goes_before(key, sources);
    Ok(())
}

/// Whoever changes the file and sees no change is told why.
fn tell_what_goes_before(key: Key, sources: &Sources) {
    if sources.variables.iter().any(|(set, _)| *set == key) {
        let name = key.variable();
        text::remark(&format!("the environment variable {name} is set and goes before the file"));
    }
}

/// What the file says now; an error where it cannot be read, for it would be lost.
fn text_of(sources: &Sources) -> Result<String> {
    let Some(file) = &sources.file else { return Ok(String::new()) };
    match (&file.text, file.problems.first()) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(problem)) => bail!("cannot change {problem}"),
        (None, None) => Ok(String::new()),
    }
}

fn file_path(sources: &Sources) -> Result<&Path> {
    sources
        .path()
        .context("there is no place for a file of settings: neither HOME nor WEIR_CONFIG is set")
}
