//! Settings that many commands share: where the master is, which namespace is meant, how much is
//! said and how it looks. A flag goes before the environment, the environment before the user's
//! file, the file before the default. `config/command.rs` shows and changes them.

pub(crate) mod command;

mod edit;

mod file;

use std::{
    ffi::OsString,
    fmt,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, bail};
use clap::ValueEnum as _;
use tracing_subscriber::EnvFilter;
use weir_sdk::proto::id::Namespace;

use self::file::ConfigFile;
use crate::{completions::candidates, connect::DEFAULT_ADDRESS};

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalFlags {
    /// Namespace of jobs and data [default: `default`]
    #[arg(long, global = true, value_name = "NAME", add = candidates::namespaces())]
    namespace: Option<Namespace>,
    /// When to use colours [default: auto, on a terminal and without NO_COLOR]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    color: Option<Color>,
    /// No summaries and no remarks: only what was asked for, and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// When output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// The same for the help and the errors of the command line's parser.
    pub(crate) fn of_help(self) -> clap::ColorChoice {
        match self {
            Color::Auto => clap::ColorChoice::Auto,
            Color::Always => clap::ColorChoice::Always,
            Color::Never => clap::ColorChoice::Never,
        }
    }
}

/// What can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Key {
    /// Address of the cluster's master
    Master,
    /// Namespace of jobs and data
    Namespace,
    /// When to use colours: auto, always or never
    Color,
    /// No summaries and no remarks: true or false
    Quiet,
    /// What is logged to stderr, such as `info`
    Log,
}

impl Key {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Key; 5] =
        [Key::Master, Key::Namespace, Key::Color, Key::Quiet, Key::Log];

    /// Its name in the file and for `weir config set`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Key::Master => "master",
            Key::Namespace => "namespace",
            Key::Color => "color",
            Key::Quiet => "quiet",
            Key::Log => "log",
        }
    }

    /// Its twin in the environment.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Key::Master => "WEIR_MASTER",
            Key::Namespace => "WEIR_NAMESPACE",
            Key::Color => "WEIR_COLOR",
            Key::Quiet => "WEIR_QUIET",
            Key::Log => "WEIR_LOG",
        }
    }
}

/// Where a value comes from; later ones go before earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the user's file.
    File { path: PathBuf, line: usize },
    /// A variable.
    Environment(&'static str),
    /// The command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// Who said so.
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    fn usual(value: T) -> Setting<T> {
        Setting { value, origin: Origin::Default }
    }
}

/// All settings of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Address of the master.
    pub(crate) master: Setting<String>,
    /// The namespace of what is put and submitted.
    pub(crate) namespace: Setting<Namespace>,
    /// When output has colours.
    pub(crate) color: Setting<Color>,
    /// Neither summaries nor remarks.
    pub(crate) quiet: Setting<bool>,
    /// Filter of what is logged.
    pub(crate) log: Setting<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            master: Setting::usual(DEFAULT_ADDRESS.to_owned()),
            namespace: Setting::usual(Namespace::default_namespace()),
            color: Setting::usual(Color::Auto),
            quiet: Setting::usual(false),
            log: Setting::usual("warn".to_owned()),
        }
    }
}

impl Settings {
    /// The master that somebody named, in whichever way; none when it is only the default.
    pub(crate) fn named_master(&self) -> Option<&str> {
        (self.master.origin != Origin::Default).then_some(&self.master.value)
    }

    /// Whether what goes to this stream has colours.
    pub(crate) fn colours(&self, stream: &impl IsTerminal) -> bool {
        match self.color.value {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                stream.is_terminal() && !refused
            }
        }
    }

    /// A key's value as text, and where it comes from.
    fn shown(&self, key: Key) -> (String, &Origin) {
        match key {
            Key::Master => (self.master.value.clone(), &self.master.origin),
            Key::Namespace => (self.namespace.value.to_string(), &self.namespace.origin),
            Key::Color => (word(self.color.value), &self.color.origin),
            Key::Quiet => (self.quiet.value.to_string(), &self.quiet.origin),
            Key::Log => (self.log.value.clone(), &self.log.origin),
        }
    }

    /// Reads a value, which takes the place of the one before; or says what is wrong with it.
    pub(crate) fn set(&mut self, key: Key, text: &str, origin: Origin) -> Result<(), String> {
        match key {
            Key::Master => self.master = Setting { value: parse_master(text)?, origin },
            Key::Namespace => {
                let value = text.parse().map_err(|_| {
                    format!(
                        "{text:?} is no namespace; write 1 to 64 of a-z, 0-9, - and _, the first \
                         a letter or digit"
                    )
                })?;
                self.namespace = Setting { value, origin };
            }
            Key::Color => {
                let value = Color::from_str(text, false)
                    .map_err(|_| format!("{text:?} is not one of auto, always and never"))?;
                self.color = Setting { value, origin };
            }
            Key::Quiet => self.quiet = Setting { value: parse_bool(text)?, origin },
            Key::Log => {
                EnvFilter::builder().parse(text).map_err(|error| {
                    format!("{text:?} is no filter ({error}); write a level such as `info`")
                })?;
                self.log = Setting { value: text.to_owned(), origin };
            }
        }
        Ok(())
    }
}

fn word(color: Color) -> String {
    color.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn parse_master(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(format!("{text:?} is no address; write one such as `http://10.0.0.1:7400`"));
    }
    Ok(text.to_owned())
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Something in the file or the environment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where: `PATH:LINE:COLUMN`, a path, or the name of a variable.
    pub(crate) place: String,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What was found outside the command line: the file, and the variables that are set.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    file: Option<ConfigFile>,
    variables: Vec<(Key, OsString)>,
}

impl Sources {
    /// Those of this process.
    pub(crate) fn here() -> Sources {
        Sources::read(|name| std::env::var_os(name))
    }

    /// Those of an environment; an empty variable counts as absent.
    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Sources {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let found = |key: Key| variable(key.variable()).map(|value| (key, value));
        Sources {
            file: file::path(variable).map(ConfigFile::read),
            variables: Key::ALL.into_iter().filter_map(found).collect(),
        }
    }

    /// Where the user's file is, whether or not it is there; none without a home.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| &*file.path)
    }

    /// Each key's value by precedence. What is wrong is told and left out.
    pub(crate) fn resolve(&self, flags: &GlobalFlags) -> (Settings, Vec<Problem>) {
        let (mut settings, mut problems) = (Settings::default(), Vec::new());
        if let Some(file) = &self.file {
            problems.extend(file.problems.iter().cloned());
            for entry in &file.entries {
                let origin = Origin::File { path: file.path.clone(), line: entry.line };
                if let Err(message) = settings.set(entry.key, &entry.value, origin) {
                    problems.push(Problem { place: file.place(entry.line, entry.column), message });
                }
            }
        }
        for (key, value) in &self.variables {
            let name = key.variable();
            let set = value
                .to_str()
                .ok_or_else(|| "it is not UTF-8".to_owned())
                .and_then(|text| settings.set(*key, text, Origin::Environment(name)));
            problems.extend(set.err().map(|message| Problem { place: name.to_owned(), message }));
        }
        if let Some(value) = flags.namespace.clone() {
            settings.namespace = Setting { value, origin: Origin::Flag("--namespace") };
        }
        if let Some(value) = flags.color {
            settings.color = Setting { value, origin: Origin::Flag("--color") };
        }
        if flags.quiet {
            settings.quiet = Setting { value: true, origin: Origin::Flag("--quiet") };
        }
        (settings, problems)
    }
}

/// One command line, one set of settings: `main` makes them known before a command begins.
static CURRENT: OnceLock<Settings> = OnceLock::new();

/// The settings of this process; the defaults where `main` made none known, as in tests.
pub(crate) fn current() -> &'static Settings {
    CURRENT.get_or_init(Settings::default)
}

/// Makes the settings known to every command.
pub(crate) fn make_current(settings: Settings) {
    // Only `main` calls this, once; a second call would change nothing.
    let _ = CURRENT.set(settings);
}

/// A command does not begin with settings that its user did not mean.
///
/// # Errors
/// When there are problems, with all of them.
pub(crate) fn check(problems: &[Problem]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = problems.iter().map(Problem::to_string).collect();
    bail!("the settings are wrong; `weir config show` shows them all\n{}", list.join("\n"))
}

#[cfg(test)]
mod tests;
