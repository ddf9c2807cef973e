//! `weir man`: manual pages, made from the same text as `--help`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

use crate::text;

/// Print the manual page weir(1), or write the pages of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir man | man -l -                              read weir(1) without installing it
  weir man --to ~/.local/share/man/man1            then: man weir-run, man weir-job-ls")]
pub(crate) struct ManArgs {
    /// Write a page for every command to this directory, which is made if need be
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints or writes the pages of the command line that `command` describes.
///
/// # Errors
/// When stdout is closed, or a page cannot be written.
pub(crate) fn run(args: &ManArgs, command: Command) -> Result<ExitCode> {
    let pages = pages(command)?;
    let Some(directory) = &args.to else {
        text::print(&pages[0].text)?;
        return Ok(ExitCode::SUCCESS);
    };
    let about = || format!("cannot write manual pages to {}", directory.display());
    fs::create_dir_all(directory).with_context(about)?;
    for page in pages {
        fs::write(directory.join(&page.file), page.text).with_context(about)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A manual page.
#[derive(Debug)]
struct Page {
    /// The name of its file, such as `weir-job-ls.1`.
    file: String,
    /// What it says, for `man` to lay out.
    text: String,
}

/// The page of a command and those of all below it, itself first.
fn pages(command: Command) -> Result<Vec<Page>> {
    let mut command = without_help(command);
    let version = format!("weir {}", command.get_version().unwrap_or_default());
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &version, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, version: &str, pages: &mut Vec<Page>) -> Result<()> {
    let man = Man::new(command.clone().after_help(None)).source(version).manual("Weir");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(help) = command.get_after_help() {
        text.push_str(&sections(&help.to_string()));
    }
    pages.push(Page { file: man.get_filename(), text });
    for command in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add_pages(command, version, pages)?;
    }
    Ok(())
}

/// Without the commands named `help`, which repeat the others.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

/// What follows the options in `--help`, as it stands there: columns and examples are not to be
/// filled into paragraphs. A line such as `Examples:` begins a section.
fn sections(help: &str) -> String {
    let mut out = String::new();
    let mut in_section = false;
    for line in help.lines() {
        let heading = line.strip_suffix(':').filter(|_| !line.starts_with(' '));
        if heading.is_some() || !in_section {
            let end = if in_section { ".fi\n" } else { "" };
            let name = heading.unwrap_or("Notes").split([',', '(']).next().unwrap_or_default();
            out.push_str(&format!("{end}.SH {}\n.nf\n", escaped(name.trim()).to_uppercase()));
            in_section = true;
        }
        if heading.is_none() {
            out.push_str(&escaped(line));
            out.push('\n');
        }
    }
    if in_section { out + ".fi\n" } else { out }
}

/// A line of text that `man` shows as it is.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Weir;

    /// The file of every visible command's page: `weir.1`, `weir-job.1`, `weir-job-ls.1`.
    fn files(command: &Command, path: &str) -> Vec<String> {
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        let below = visible.flat_map(|sub| files(sub, &format!("{path}-{}", sub.get_name())));
        std::iter::once(format!("{path}.1")).chain(below).collect()
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages(Weir::command()).expect("pages");
        let made: Vec<&str> = pages.iter().map(|page| &*page.file).collect();
        assert_eq!(made, files(&Weir::command(), "weir"));
        assert!(made.contains(&"weir-job-ls.1"));
        for page in pages {
            assert!(page.text.contains(".SH NAME\n"), "{}", page.file);
            assert!(page.text.contains(".SH OPTIONS\n"), "{}", page.file);
        }
    }

    #[test]
    fn examples_stand_in_a_section_of_their_own_line_by_line() {
        let made = sections("Examples:\n  a --b \\c\n\nExit codes (of all):\n.x\n");
        let expected =
            ".SH EXAMPLES\n.nf\n  a \\-\\-b \\ec\n\n.fi\n.SH EXIT CODES\n.nf\n\\&.x\n.fi\n";
        assert_eq!(made, expected);
        assert!(sections("some words\n").starts_with(".SH NOTES\n"));
        assert_eq!(sections(""), "");
    }
}
