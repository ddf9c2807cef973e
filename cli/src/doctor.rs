//! `weir doctor`: looks at a master's data directory while nobody uses it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use weir_master::doctor::{Examination, Problem, examine_master};

use crate::{json::local::Doctor, tally::count, text};

/// Look for damage in a stopped master's data directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir doctor /var/lib/weir/master
  weir doctor ~/.local/share/weir --verify          of `weir dev`, and every byte of every blob
  weir doctor DIR --json | jq -r '.problems[].what'

Nothing in the directory is changed. Databases are copied to $TMPDIR and looked at there; stop the
master first. Exits with 125 where something is damaged.")]
pub(crate) struct DoctorArgs {
    /// The directory: `--data-dir` of `weir master`, or of `weir dev`
    #[arg(value_name = "DATA_DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
    /// Read every byte of every blob, too
    #[arg(long)]
    verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When it is no master's directory, or in use; and when something is damaged, once that is told.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let found = examine_master(&args.dir, args.verify)?;
    if args.json {
        text::print_json(&Doctor::from(&found))?;
    } else {
        text::print(&told(&found))?;
    }
    match found.problems.len() {
        0 => Ok(ExitCode::SUCCESS),
        some => bail!("{} found", count(some as u64, "problem")),
    }
}

fn told(found: &Examination) -> String {
    let mut out = String::new();
    for (about, what) in &found.facts {
        out.push_str(&format!("{about:<12} {what}\n"));
    }
    for Problem { what, next } in &found.problems {
        out.push_str(&format!("\nproblem: {what}\n  next: {next}\n"));
    }
    if found.problems.is_empty() {
        out.push_str("\nnothing is damaged\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_comes_with_what_to_do() {
        let problems = vec![Problem { what: "entry 2 does not decode".to_owned(), next: "pray" }];
        let facts = vec![("log", "format 1".to_owned())];
        let text = told(&Examination { facts, problems });
        assert_eq!(
            text,
            "log          format 1\n\nproblem: entry 2 does not decode\n  next: pray\n"
        );
    }
}
