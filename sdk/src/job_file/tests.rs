//! Job files as a whole: every key, the schema, the documented examples, and damage of any kind.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value as Json;

use weir_proto::metering::Metering;

use super::{
    problem::Severity,
    stage::{LimitsFile, ResourcesFile},
    values::MeteringWord,
    *,
};

const FULL: &str = r#"
name = "thumbnails"
namespace = "media"
priority = -10
precompile = true

[[stage]]
name = "shrink"
module = "shrink.wasm"
args = ["--size", "{index}", "{input.stem}"]
foreach = ["images/**/*.png", "more/*.png"]
inputs = { palette = "palette.txt", "/etc/shrink" = "config:rw", odd = { from = "x:rw", rw = true } }
stdin = "{input}"
success_codes = [3, 77]
retries = 0
once = true
seed = 7
capabilities = ["clock", "random"]
coredump = true
metering = "epoch"
outputs = ["thumb.png"]

[stage.env]
LANG = "C"

[stage.limits]
fuel = "5G"
memory = 1_048_576
timeout = "1m30s"
output = "1MiB"
scratch = "2MiB"

[stage.resources]
cpu = 0.5
memory = "32MiB"
gpu = 2
licence-a = 1
"#;

#[test]
fn every_key_is_read() {
    let (file, problems) = JobFile::parse(FULL);
    assert_eq!(problems, []);
    let stage = &file.stage[0];
    assert_eq!((file.priority, file.precompile), (Some(Int(-10)), Some(true)));
    assert_eq!(stage.args, ["--size", "{index}", "{input.stem}"]);
    let allowed: Vec<String> = stage.capabilities.iter().map(|word| word.0.to_string()).collect();
    assert_eq!(allowed, ["clock", "random"]);
    assert_eq!((stage.coredump, stage.once), (Some(true), Some(true)));
    assert_eq!(stage.metering, Some(MeteringWord(Metering::Epoch)));
    let inputs: Vec<(&str, bool)> =
        stage.inputs.iter().map(|(path, input)| (&path[..], input.value.writable)).collect();
    assert_eq!(inputs, [("/etc/shrink", true), ("/in/odd", true), ("/in/palette", false)]);
    assert_eq!(stage.stdin.as_ref().map(|at| &at.value), Some(&sources::StdinFile::Item));
    let limits = stage.limits.limits();
    assert_eq!((limits.fuel, limits.memory_bytes), (5_000_000_000, 1 << 20));
    assert_eq!((limits.timeout_ms, limits.scratch_bytes), (90_000, 2 << 20));
    assert_eq!(stage.resources.cpu, Some(values::Cores(500)));
    assert_eq!(stage.resources.countables.to_string(), "gpu=2 licence-a=1");
}

#[test]
fn what_cannot_be_a_resource_is_told_where_it_stands() {
    for (line, message, hint) in [
        ("cpus = 2", "unknown key `stage.resources.cpus`", "did you mean `cpu`?"),
        ("memroy = 2", "unknown key `stage.resources.memroy`", "did you mean `memory`?"),
        ("GPU = 1", "\"GPU\" is no name of a resource", "operators"),
        ("gpu = 0", "`stage.resources.gpu` is `0`; it must be 1 to 1_000_000", ""),
        ("gpu = \"2\"", "`stage.resources.gpu` is a string; it must be an integer", "`gpu = 1`"),
    ] {
        let text = format!("[[stage]]\nmodule = \"a.wasm\"\n[stage.resources]\n{line}\n");
        let (_, problems) = JobFile::parse(&text);
        let [problem] = &problems[..] else { panic!("{problems:?} of {line}") };
        assert!(problem.message.contains(message), "{problem:?}");
        assert!(problem.hint.as_deref().unwrap_or_default().contains(hint), "{problem:?}");
    }
    assert_eq!(JobFile::parse("[[stage]]\nmodule = \"a.wasm\"\nresources = { tpu = 1 }\n").1, []);
}

fn properties(schema: &Json) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().expect("an object's schema");
    properties.keys().cloned().collect()
}

fn asked<T>(ask: impl FnOnce(&mut Table<'_>, &mut Problems<'_>) -> T) -> BTreeSet<String> {
    known_keys(ask).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let schema = schema::schema().to_value();
    let definitions = &schema["$defs"];
    assert_eq!(properties(&schema), asked(JobFile::ask));
    assert_eq!(properties(&definitions["Stage"]), asked(StageFile::ask));
    assert_eq!(properties(&definitions["Limits"]), asked(LimitsFile::ask));
    assert_eq!(properties(&definitions["Resources"]), asked(ResourcesFile::ask));
    assert_eq!(definitions["Stage"]["required"], serde_json::json!(["module"]));
    assert_eq!(schema["required"], serde_json::json!(["stage"]));
}

/// The examples of `docs/job-file.md`.
fn documented() -> Vec<String> {
    let blocks = include_str!("../../../docs/job-file.md").split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_documented_example_is_a_job_file() {
    let examples = documented();
    assert!(examples.len() >= 4);
    for example in examples {
        let (_, problems) = JobFile::parse(&example);
        assert_eq!(problems, [], "of {example}");
    }
}

#[test]
fn every_key_is_documented() {
    let page = include_str!("../../../docs/job-file.md");
    let keys = asked(JobFile::ask).into_iter().chain(asked(StageFile::ask));
    for key in keys.chain(asked(LimitsFile::ask)).chain(asked(ResourcesFile::ask)) {
        let row = [format!("| `{key}` |"), format!("| `[[{key}]]` |")];
        assert!(row.iter().any(|row| page.contains(row)), "{key} has no row in a table");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_read_every_span_is_of_the_file(text in "\\PC{0,200}") {
        check_spans(&text)?;
    }

    #[test]
    fn a_damaged_file_is_told_without_a_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\"'=.,a-z0-9üß\n ]{0,4}"), 0..6),
    ) {
        let mut text = FULL.to_owned();
        for (place, insert) in cuts {
            let at = on_chars(&text, place.index(text.len())..0).start;
            let end = on_chars(&text, at..at + insert.len() / 2).end;
            text.replace_range(at..end, &insert);
        }
        check_spans(&text)?;
    }
}

fn check_spans(text: &str) -> Result<(), TestCaseError> {
    let (_, problems) = JobFile::parse(text);
    for problem in &problems {
        prop_assert!(text.get(problem.span.clone()).is_some(), "{problem:?} of {text:?}");
        prop_assert!(!problem.message.contains(char::is_control));
        prop_assert!(problem.severity == Severity::Error || problem.hint.is_some());
    }
    Ok(())
}
