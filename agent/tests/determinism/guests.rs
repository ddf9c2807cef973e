//! The guests: texts of `cases/`, and programs that compilers made.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_proto::limits::Limits;

use crate::data_segments;

/// What guests may use that do not say otherwise.
const LIMITS: Limits = Limits {
    fuel: 50_000_000,
    memory_bytes: 64 << 20,
    timeout_ms: 600_000,
    output_bytes: 1 << 20,
    scratch_bytes: 1 << 20,
};

/// One module, and what it is run with.
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) module: Vec<u8>,
    pub(crate) args: Vec<String>,
    /// Beyond what all have.
    pub(crate) inputs: Vec<(String, Vec<u8>)>,
    pub(crate) limits: Limits,
    /// Whether what it leaves follows from its clock, and so from the fuel it has used.
    pub(crate) sees_time: bool,
    /// Whether it multiplies and adds NaNs in one step: see decision 13.
    pub(crate) fuses_nans: bool,
    /// What its data segments cost where they are billed, as far as that can be told.
    pub(crate) data_fuel: Option<u64>,
    /// Whether compiling it takes so long that it is run in few variants.
    pub(crate) is_large: bool,
}

/// The guests of `cases/`, by name. What is no whole module gets two preludes before it.
///
/// Lines at the top that begin with `;;` say what a case shows; among them `limits: fuel=N memory=N
/// output=N scratch=N` changes limits, `time` says that it sees the time, `no image` that its data is
/// never an image and so billed in every variant, `starts` that more is done before `_start` than to
/// lay out data, and `fused` that it multiplies and adds NaNs in one step.
pub(crate) fn written() -> Vec<Guest> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/determinism/cases");
    let paths = fs::read_dir(dir).expect("the cases").map(|entry| entry.expect("one").path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.iter().map(|path| from_text(path)).collect()
}

fn from_text(path: &Path) -> Guest {
    let text = fs::read_to_string(path).expect("a case");
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let whole =
        text.lines().any(|line| line.starts_with("(module") || line.starts_with("(component"));
    let module = match whole {
        true => text.clone(),
        false => format!(
            "(module {}\n{}\n{text})",
            include_str!("../hostile/prelude.wat"),
            include_str!("prelude.wat")
        ),
    };
    let module = wat::parse_str(&module).unwrap_or_else(|error| panic!("{name}: {error}"));
    let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix(";; ")).collect();
    assert!(!head.is_empty(), "{name} does not say what it shows");
    let data_fuel = match (head.contains(&"no image"), head.contains(&"starts")) {
        (true, _) => Some(0),
        (false, true) => None,
        (false, false) => data_segments::fuel(&module),
    };
    Guest {
        args: vec!["one".to_owned(), "two words".to_owned()],
        inputs: Vec::new(),
        limits: limits(&head),
        sees_time: head.contains(&"time"),
        fuses_nans: head.contains(&"fused"),
        data_fuel,
        is_large: false,
        name,
        module,
    }
}

fn limits(head: &[&str]) -> Limits {
    let mut limits = LIMITS;
    let changes = head.iter().find_map(|line| line.strip_prefix("limits: ")).unwrap_or("");
    for change in changes.split_whitespace() {
        let (name, value) = change.split_once('=').expect("name=value");
        let value = value.parse().expect("a number");
        match name {
            "fuel" => limits.fuel = value,
            "memory" => limits.memory_bytes = value,
            "output" => limits.output_bytes = value,
            "scratch" => limits.scratch_bytes = value,
            other => panic!("no limit {other}"),
        }
    }
    limits
}
