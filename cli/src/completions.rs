//! `weir completions`: scripts with which shells complete commands and flags.

use std::process::ExitCode;

use anyhow::Result;
use clap::Command;
use clap_complete::Shell;

use crate::text;

/// Print a script with which a shell completes `weir`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, one for each shell; a new shell then completes:
  bash        mkdir -p ~/.local/share/bash-completion/completions
              weir completions bash > ~/.local/share/bash-completion/completions/weir
              (Debian and others: needs the package bash-completion)
  zsh         mkdir -p ~/.zfunc && weir completions zsh > ~/.zfunc/_weir
              in ~/.zshrc, before compinit:  fpath=(~/.zfunc $fpath)
  fish        mkdir -p ~/.config/fish/completions
              weir completions fish > ~/.config/fish/completions/weir.fish
  elvish      in ~/.config/elvish/rc.elv:    eval (weir completions elvish | slurp)
  powershell  in $PROFILE:  weir completions powershell | Out-String | Invoke-Expression")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints the script for the command line that `command` describes.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn run(args: &CompletionsArgs, command: Command) -> Result<ExitCode> {
    text::print(&script(args.shell, command))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, mut command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};

    use super::*;
    use crate::Weir;

    #[test]
    fn every_shell_completes_every_visible_command() {
        let command = Weir::command();
        for shell in Shell::value_variants() {
            let script = script(*shell, command.clone());
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                assert!(script.contains(sub.get_name()), "{shell}: {}", sub.get_name());
                for below in sub.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                    assert!(script.contains(below.get_name()), "{shell}: {}", below.get_name());
                }
            }
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
