//! What `--json` prints: a type for each thing, with keys that stay and units in their names. Each
//! has a JSON Schema in `docs/schema/`; `docs/json.md` says which command prints which.

pub(crate) mod job;

pub(crate) mod task;

pub(crate) mod cluster;

pub(crate) mod backup;

pub(crate) mod store;

pub(crate) mod local;

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};
use weir_sdk::proto::countable::Countables;

pub(crate) use self::task::{ended_line, result_line, submitted_line, verdict_line};

use crate::bench;

/// Countables by name.
fn counts(countables: &Countables) -> BTreeMap<String, u32> {
    countables.iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Makes the schema of a type.
type MakeSchema = fn() -> Schema;

/// Every schema, by the name of its file in `docs/schema/`.
pub(crate) const SCHEMAS: &[(&str, MakeSchema)] = &[
    ("job-line", || schema_for!(job::JobLine)),
    ("job-details", || schema_for!(job::Job)),
    ("progress", || schema_for!(job::Progress)),
    ("job-changed", || schema_for!(job::JobChanged)),
    ("outputs", || schema_for!(job::Outputs)),
    ("submitted-line", || schema_for!(task::SubmittedLine)),
    ("task-line", || schema_for!(task::TaskLine)),
    ("ended-line", || schema_for!(task::EndedLine)),
    ("status", || schema_for!(cluster::Status)),
    ("member", || schema_for!(cluster::Member)),
    ("upgraded", || schema_for!(cluster::Upgraded)),
    ("agent", || schema_for!(cluster::Agent)),
    ("namespace", || schema_for!(cluster::NamespaceLine)),
    ("backup", || schema_for!(backup::Backup)),
    ("restored", || schema_for!(backup::Restored)),
    ("event", || schema_for!(cluster::Event)),
    ("put", || schema_for!(store::Put)),
    ("blob", || schema_for!(store::Blob)),
    ("entry", || schema_for!(store::Entry)),
    ("store-stat", || schema_for!(store::StoreStat)),
    ("stored-stat", || schema_for!(store::StoredStat)),
    ("name", || schema_for!(store::Name)),
    ("name-removed", || schema_for!(store::NameRemoved)),
    ("job-check", || schema_for!(local::JobCheck)),
    ("doctor", || schema_for!(local::Doctor)),
    ("config", || schema_for!(local::Config)),
    ("bench", || schema_for!(bench::Figures)),
    ("bench-masters", || schema_for!(bench::masters::MastersFigures)),
];
