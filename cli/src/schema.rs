//! `weir schema`: JSON Schemas of what people write and of what `--json` prints.

use std::process::ExitCode;

use anyhow::Result;
use weir_sdk::job_file;

use crate::text;

/// Print the JSON Schema of job files, or of what a command prints with --json
#[derive(Debug, clap::Args)]
#[command(after_help = EDITORS)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value_t = What::JobFile)]
    what: What,
}

const EDITORS: &str = "\
Editors with a TOML language server (Taplo, Even Better TOML) complete and check a job file that
begins with a line naming its schema:
  weir schema > job.schema.json
  #:schema ./job.schema.json";

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// A job file
    JobFile,
}

impl What {
    fn schema(self) -> schemars::Schema {
        match self {
            What::JobFile => job_file::schema::schema(),
        }
    }

    /// Where the repository publishes it.
    #[cfg(test)]
    fn published(self) -> &'static str {
        match self {
            What::JobFile => "docs/schema/job.schema.json",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn run(args: &SchemaArgs) -> Result<ExitCode> {
    text::print_json(&args.what.schema())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn the_published_schemas_are_those_of_the_types() {
        for what in What::value_variants() {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let path = root.join(what.published());
            if std::env::var_os("UPDATE").is_some() {
                let text = serde_json::to_string_pretty(&what.schema()).expect("JSON");
                std::fs::write(&path, text + "\n").expect("written");
            }
            let published = std::fs::read(&path).unwrap_or_default();
            // As values: the order of keys depends on what else is built.
            let published = serde_json::from_slice(&published).unwrap_or(serde_json::Value::Null);
            let old = published != what.schema().to_value();
            assert!(!old, "{} is old: UPDATE=1 writes it anew", what.published());
        }
    }
}
