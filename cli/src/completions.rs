//! `weir completions`, and what its scripts ask: a shell that completes runs `weir` itself, with
//! `VARIABLE` naming the shell and the words so far as arguments. What a cluster has is in
//! `completions/candidates.rs`.

mod bash;

pub(crate) mod candidates;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::{
    Shell,
    env::{Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh},
};

use self::bash::Bash;
use crate::{
    config::{self, GlobalFlags, Key, Origin, Settings, Sources},
    text,
};

/// Set by the scripts, to the shell that asks.
const VARIABLE: &str = "_WEIR_COMPLETE";
/// Shells that can ask. Bash is our own, see there.
const SHELLS: Shells = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Print a script with which a shell completes `weir`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, one for each shell; a new shell then completes commands, flags, and what the cluster has:
  bash        echo 'source <(weir completions bash)' >> ~/.bashrc
  zsh         echo 'source <(weir completions zsh)' >> ~/.zshrc          after compinit
  fish        echo 'weir completions fish | source' > ~/.config/fish/completions/weir.fish
  elvish      echo 'eval (weir completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  powershell  in $PROFILE:  weir completions powershell | Out-String | Invoke-Expression

Jobs, names, agents and namespaces are those of the master that the line or the settings name; one
that does not answer within 300 ms is left out.")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints the script for the command line that `command` describes.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn run(args: &CompletionsArgs, command: &Command) -> Result<ExitCode> {
    text::print(&script(args.shell, command.get_name())?)?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, name: &str) -> Result<String> {
    let shell = shell.to_string();
    let adapter = SHELLS.completer(&shell).with_context(|| format!("{shell} is not known"))?;
    let mut script = Vec::new();
    adapter.write_registration(VARIABLE, name, name, name, &mut script)?;
    Ok(String::from_utf8(script)?)
}

/// Answers a shell that completes a line; none if no shell asks.
///
/// A shell shows what comes on stdout as candidates and what comes on stderr in the middle of the
/// line, so whatever is wrong here is told nobody.
pub(crate) fn answer(command: Command, sources: &Sources) -> Option<ExitCode> {
    let shell = std::env::var(VARIABLE).ok()?;
    let adapter = SHELLS.completer(&shell)?;
    let asked: Vec<OsString> = std::env::args_os().skip_while(|arg| arg != "--").skip(1).collect();
    let words = if adapter.is(Bash.name()) { bash::words(&asked) } else { asked };
    config::make_current(settings(sources, &words));
    let mut answer = Vec::new();
    let here = std::env::current_dir().ok();
    let _ = adapter.write_complete(&mut prepared(command), words, here.as_deref(), &mut answer);
    let _ = std::io::stdout().write_all(&answer);
    Some(ExitCode::SUCCESS)
}

/// The settings of a line that is not complete yet: its flags, as far as they are there.
fn settings(sources: &Sources, words: &[OsString]) -> Settings {
    let (mut settings, _) = sources.resolve(&GlobalFlags::default());
    let before = &words[..words.len().saturating_sub(1)];
    for (key, flag) in [(Key::Master, "--master"), (Key::Namespace, "--namespace")] {
        if let Some(value) = value_of(flag, before) {
            let _ = settings.set(key, &value, Origin::Flag(flag));
        }
    }
    settings
}

fn value_of(flag: &str, words: &[OsString]) -> Option<String> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let at =
        words.iter().take_while(|word| *word != "--").position(|word| word.starts_with(flag))?;
    match &words[at][flag.len()..] {
        "" => words.get(at + 1).map(|value| value.to_string()),
        rest => rest.strip_prefix('=').map(str::to_owned),
    }
}

/// The command with flags as a second choice: they are told where nothing else fits, as after `-`,
/// and do not stand between jobs or files.
fn prepared(mut command: Command) -> Command {
    // Adds `--help`, which is to be like the others.
    command.build();
    flags_last(command)
}

fn flags_last(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let positional = arg.is_positional();
        arg.hide(!positional)
    });
    command.mut_subcommands(flags_last)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};
    use clap_complete::engine::complete;

    use super::*;
    use crate::Weir;

    /// The candidates for the last of these words, with nothing on this machine or a cluster.
    fn completed(words: &[&str]) -> Vec<String> {
        let args = words.iter().map(OsString::from).collect();
        let found = complete(&mut prepared(Weir::command()), args, words.len() - 1, None);
        let found = found.expect("candidates");
        found.iter().map(|found| found.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_shell_has_a_script_that_asks_weir() {
        for shell in Shell::value_variants() {
            let script = script(*shell, "weir").expect("a script");
            assert!(script.contains(VARIABLE) && script.contains("weir"), "{shell}: {script}");
        }
    }

    #[test]
    fn every_command_is_completed() {
        let command = Weir::command();
        let found = completed(&["weir", ""]);
        for sub in command.get_subcommands() {
            let name = sub.get_name();
            assert!(found.contains(&name.to_owned()), "{name} in {found:?}");
            if sub.has_subcommands() {
                let found = completed(&["weir", name, ""]);
                for below in sub.get_subcommands() {
                    let below = below.get_name().to_owned();
                    assert!(found.contains(&below), "{below} in {found:?}");
                }
            }
        }
    }

    #[test]
    fn flags_are_told_where_they_begin_and_stay_away_from_values() {
        let flags = completed(&["weir", "job", "ls", "--s"]);
        assert_eq!(flags, ["--status", "--since", "--sort", "--stale"]);
        assert!(completed(&["weir", "job", "ls", "--h"]).contains(&"--help".to_owned()));
        let shells = completed(&["weir", "completions", ""]);
        assert_eq!(shells, ["bash", "elvish", "fish", "powershell", "zsh"]);
        let statuses = completed(&["weir", "job", "ls", "--status", "active,f"]);
        assert_eq!(statuses, ["active,failed"]);
    }

    #[test]
    fn flags_of_the_line_say_which_master_is_asked() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let of = |line: &str| settings(&Sources::default(), &words(line));
        assert_eq!(of("weir job show --master a:1 ").master.value, "a:1");
        assert_eq!(of("weir job show --namespace=blue ").namespace.value.as_str(), "blue");
        for line in ["weir job ls --namespace blue", "weir run x -- --namespace blue "] {
            assert_eq!(of(line).namespace.value.as_str(), "default", "{line}");
        }
    }

    #[test]
    fn the_help_tells_how_to_install_for_every_shell() {
        let mut command = Weir::command();
        let completions = command.find_subcommand_mut("completions").expect("completions");
        let help = completions.render_help().to_string();
        for shell in Shell::value_variants() {
            assert!(help.contains(&format!("weir completions {shell}")), "{shell}");
        }
    }
}
