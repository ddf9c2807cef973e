//! What commands print that need no cluster: a checked job file, and settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use weir_master::doctor::Examination;

/// What `job check` found in a job file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobCheck {
    /// The job file, as it was named.
    pub(crate) file: String,
    /// What is wrong with it, in the order of the file.
    pub(crate) problems: Vec<CheckProblem>,
    /// What it comes to; absent where a problem is an error.
    pub(crate) job: Option<CheckedJob>,
}

/// Something that is wrong with a job file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckProblem {
    /// `error`, or `warning` where the file can be used all the same.
    pub(crate) severity: &'static str,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Its column in characters, from 1.
    pub(crate) column: usize,
    /// The bytes of the file that it is about: the first, and the one after the last.
    pub(crate) span: [usize; 2],
}

/// What a job file comes to.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckedJob {
    /// The job's name.
    pub(crate) name: String,
    /// Its stages.
    pub(crate) stages: Vec<CheckedStage>,
}

/// A stage of a job file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckedStage {
    /// Its name.
    pub(crate) name: String,
    /// The module's path, digest or name.
    pub(crate) module: String,
    /// How many tasks it has.
    pub(crate) tasks: usize,
}

/// What `doctor` found in a data directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Doctor {
    /// What there is, by what it is about: `log`, `snapshot`, `entries`, `cluster`, `store`...
    facts: BTreeMap<&'static str, String>,
    /// What is wrong; empty where nothing is.
    problems: Vec<DoctorProblem>,
}

/// Something that is wrong with a data directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DoctorProblem {
    /// What.
    what: String,
    /// What to do next.
    next: &'static str,
}

impl From<&Examination> for Doctor {
    fn from(found: &Examination) -> Doctor {
        let problems = found.problems.iter().cloned();
        Doctor {
            facts: found.facts.iter().cloned().collect(),
            problems: problems.map(|p| DoctorProblem { what: p.what, next: p.next }).collect(),
        }
    }
}

/// The settings, as `config show` prints them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Config {
    /// The user's file, whether it is there or not.
    pub(crate) file: Option<String>,
    /// Every setting.
    pub(crate) settings: Vec<Setting>,
    /// What is wrong with them.
    pub(crate) problems: Vec<SettingProblem>,
}

/// A setting.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Setting {
    /// Its name, such as `master`.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) value: Value,
    /// Who said so.
    pub(crate) from: SettingOrigin,
}

/// Where a setting's value comes from.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct SettingOrigin {
    /// `default`, `file`, `environment` or `flag`.
    pub(crate) kind: &'static str,
    /// Of a file: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Of a file: the line in it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Of a variable or a flag: its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'static str>,
}

/// Something that is wrong with the settings.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SettingProblem {
    /// Where: a variable, or a place in the file.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) message: String,
}
