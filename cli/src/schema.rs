//! `weir schema`: JSON Schemas of what people write and of what `--json` prints.

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use schemars::Schema;
use weir_sdk::job_file;

use crate::{json, text};

/// What people write has one schema; the others are of what commands print.
const JOB_FILE: &str = "job-file";

/// Print the JSON Schema of job files, or of what a command prints with --json
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// Of what: a job file, or something that is printed with --json
    #[arg(value_parser = PossibleValuesParser::new(names()), default_value = JOB_FILE)]
    what: String,
}

const EXAMPLES: &str = "\
Examples:
  weir schema > job.schema.json
  weir schema job-line                 what `weir job ls --json` prints of each job

Editors with a TOML language server (Taplo, Even Better TOML) complete and check a job file that
begins with a line naming its schema:
  #:schema ./job.schema.json";

fn names() -> Vec<&'static str> {
    let printed = json::SCHEMAS.iter().map(|(name, _)| *name);
    std::iter::once(JOB_FILE).chain(printed).collect()
}

fn schema(what: &str) -> Schema {
    match json::SCHEMAS.iter().find(|(name, _)| *name == what) {
        Some((_, schema)) => schema(),
        None => job_file::schema::schema(),
    }
}

/// Runs the command.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn run(args: &SchemaArgs) -> Result<ExitCode> {
    text::print_json(&schema(&args.what))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
    }

    /// The file that publishes a schema, in `docs/schema`.
    fn file_of(what: &str) -> String {
        format!("{}.schema.json", if what == JOB_FILE { "job" } else { what })
    }

    #[test]
    fn the_published_schemas_are_those_of_the_types() {
        for what in names() {
            let path = docs().join("schema").join(file_of(what));
            if std::env::var_os("UPDATE").is_some() {
                let text = serde_json::to_string_pretty(&schema(what)).expect("JSON");
                std::fs::write(&path, text + "\n").expect("written");
            }
            let published = std::fs::read(&path).unwrap_or_default();
            // As values: the order of keys depends on what else is built.
            let published = serde_json::from_slice(&published).unwrap_or(serde_json::Value::Null);
            let old = published != schema(what).to_value();
            assert!(!old, "{} is old: UPDATE=1 writes it anew", path.display());
        }
    }

    #[test]
    fn the_page_about_json_names_every_schema_and_no_other() {
        let page = std::fs::read_to_string(docs().join("json.md")).expect("the page");
        for what in names().into_iter().filter(|what| *what != JOB_FILE) {
            let link = format!("[{what}](schema/{})", file_of(what));
            assert!(page.contains(&link), "docs/json.md does not have {link}");
        }
        for link in page.split("](schema/").skip(1) {
            let file = link.split(')').next().unwrap_or_default();
            assert!(names().iter().any(|what| file_of(what) == file), "there is no {file}");
        }
    }

    #[test]
    fn the_page_about_json_has_an_example_of_each_schema_with_just_its_keys() {
        let page = std::fs::read_to_string(docs().join("json.md")).expect("the page");
        for (name, schema) in json::SCHEMAS {
            let schema = schema().to_value();
            let known = schema["properties"].as_object().expect("an object's schema");
            let start = format!("`{name}`\n\n```json\n");
            let example = page.split(&start).nth(1).and_then(|rest| rest.lines().next());
            let example =
                example.unwrap_or_else(|| panic!("docs/json.md has no example of {name}"));
            let example: serde_json::Value = serde_json::from_str(example).expect(name);
            let keys = example.as_object().expect("an object");
            for key in keys.keys() {
                assert!(known.contains_key(key), "{name}: {key} is not in the schema");
            }
            for key in schema["required"].as_array().into_iter().flatten() {
                let key = key.as_str().expect("a key");
                assert!(keys.contains_key(key), "{name}: the example has no {key}");
            }
        }
    }

    #[test]
    fn every_key_of_what_is_printed_says_what_it_is() {
        for (name, schema) in json::SCHEMAS {
            let schema = schema().to_value();
            let definitions = schema["$defs"].as_object().into_iter().flat_map(|all| all.values());
            for object in definitions.chain([&schema]) {
                let properties = object["properties"].as_object();
                for (key, property) in properties.into_iter().flatten() {
                    let says = property["description"].is_string();
                    assert!(says, "{name}: {key} has no description");
                }
            }
        }
    }
}
