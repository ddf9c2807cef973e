//! What masters agree on, as an earlier binary wrote it: its snapshot reads as the same state, and its
//! log leads to that state. A command that does something else than it did needs a feature level, or
//! masters of two versions would no longer be equal.

#[path = "../../proto/tests/golden/files.rs"]
mod files;

use prost::Message as _;
use weir_proto::{
    agent::AgentDescription,
    command::{Change, Command},
    digest::Digest,
    feature::FEATURE_LEVEL,
    id::{AgentId, ClusterId, Incarnation, JobId, LeaseId, Namespace, NodeId, RequestId, StageId},
    job::{InputSource, JobSpec, StageSpec, TaskKind},
    limits::Resources,
    malformed::Malformed,
    name::{Expected, SetName},
    outcome::{Outcome, Usage},
    page::{Page, TaskResult},
    range::TaskRange,
    weight::Weight,
    wire,
};
use weir_scheduler::{
    apply::apply,
    members::{self, GENESIS_INDEX, MemberChange, genesis},
    snapshot,
    state::ClusterState,
};

const SNAPSHOTS: &str = "tests/golden/snapshots.hex";
const LOG: &str = "tests/golden/log.hex";

/// What the snapshots of each feature level are called, from level 0 on.
const LEVELS: [&str; 2] = ["level 0, version 1", "level 1, version 2"];

const AGENTS: [AgentId; 3] = [AgentId(1), AgentId(2), AgentId(3)];

fn agent(id: AgentId) -> Change {
    Change::RegisterAgent(AgentDescription {
        id,
        incarnation: Incarnation(7),
        name: format!("agent-{}", id.0),
        architecture: "x86_64".to_owned(),
        profile: "weir-1".to_owned(),
        epoch_profile: Some("weir-1-epoch".to_owned()),
        resources: Resources::new(4000, 1 << 30),
        fuel_per_second: 1_000_000,
        version: "0.1.0".to_owned(),
    })
}

fn submit(request: u8, change: impl FnOnce(&mut StageSpec)) -> Change {
    let mut stage = StageSpec {
        count: 10,
        kind: TaskKind::Array,
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    change(&mut stage);
    let namespace = Namespace::default_namespace();
    let spec = JobSpec { name: "golden".to_owned(), namespace, stages: vec![stage], priority: 1 };
    Change::SubmitJob { request: RequestId([request; 16]), spec }
}

fn stage(job: u64) -> StageId {
    StageId { job: JobId(job), stage: 0 }
}

/// Results from `first` on, with these exit codes.
fn results(job: u64, first: u32, codes: &[i32]) -> Change {
    let result = |code: &i32| {
        let outcome = match *code {
            0 => Outcome::Succeeded { exit_code: 0 },
            exit_code => Outcome::Failed { exit_code },
        };
        let usage =
            Usage { fuel: 1_000, peak_memory_bytes: 65_536, wall_us: 300, ..Usage::default() };
        TaskResult::without_output(outcome, usage)
    };
    let results = codes.iter().map(result).collect();
    let page = Page { stage: stage(job), first, results };
    Change::CommitPages { agent: AGENTS[0], pages: vec![page.encode()] }
}

/// A history after which there is something of everything in the state.
fn history() -> Vec<Change> {
    let blob = InputSource::Blob(Digest::of(b"data"));
    let tree = InputSource::Tree(Digest::of(b"tree"));
    let namespace = || "blue".parse::<Namespace>().expect("a namespace");
    let name = |name: &str, target, expected| {
        let name = name.parse().expect("a name");
        Change::SetName(SetName { namespace: namespace(), name, target, expected })
    };
    let weight = Weight::try_from(20).expect("a weight");
    let all = TaskRange::new(0, 10);
    vec![
        Change::CreateCluster(ClusterId(0xc3)),
        Change::SetAddress { node: NodeId(2), address: "10.0.0.2:7400".to_owned(), data: 7 },
        agent(AGENTS[0]),
        agent(AGENTS[1]),
        agent(AGENTS[2]),
        Change::CalibrateAgent { agent: AGENTS[0], fuel_per_second: 2_000_000 },
        // Job 1 fails in part, is retried as job 3, and is known.
        submit(1, |stage| stage.retries = 1),
        Change::ExtendLeases { stage: stage(1), leased_through: 10 },
        results(1, 0, &[0, 0, 7, 0, 0]),
        results(1, 2, &[7, 0, 0]),
        // Some of job 2 has a result; the rest stands still, and one task lost an agent.
        submit(2, |stage| stage.retries = 3),
        results(2, 0, &[0, 5, 0]),
        Change::AgentLost { agent: AGENTS[2], suspects: vec![stage(2).task(8), stage(1).task(9)] },
        Change::PauseTasks {
            job: JobId(2),
            tasks: [TaskRange::new(4, 6)].into_iter().collect(),
            paused: true,
        },
        Change::CancelJob(JobId(1)),
        Change::RetryJob { request: RequestId([3; 16]), job: JobId(1) },
        // Job 4 runs at most once, and some of it is granted.
        submit(4, |stage| stage.once = true),
        Change::GrantOnce {
            lease: LeaseId { term: 2, seq: 5 },
            stage: stage(4),
            range: TaskRange::new(0, 4),
            agent: AGENTS[0],
            incarnation: Incarnation(7),
            connection: 1,
        },
        Change::ReturnOnce {
            lease: LeaseId { term: 2, seq: 5 },
            stage: stage(4),
            tasks: [TaskRange::new(2, 4)].into_iter().collect(),
        },
        // Job 5 is forgotten, and what makes no sense is refused.
        submit(5, |stage| stage.count = 1),
        results(5, 0, &[0]),
        Change::RemoveJob(JobId(5)),
        Change::CancelJob(JobId(99)),
        Change::GrantOnce {
            lease: LeaseId { term: 2, seq: 6 },
            stage: stage(4),
            range: all,
            agent: AGENTS[0],
            incarnation: Incarnation(7),
            connection: 1,
        },
        name("data/today", Some(blob), Expected::Absent),
        name("data/today", Some(tree), Expected::PointsAt(blob)),
        name("data/gone", Some(blob), Expected::Anything),
        name("data/gone", None, Expected::Anything),
        Change::SetWeight { namespace: namespace(), weight },
        Change::DrainAgent { agent: AGENTS[1], draining: true },
        Change::AgentLeft { agent: AGENTS[1], abandoned: Vec::new() },
    ]
}

/// Entry by entry, as a log holds them.
fn log() -> Vec<(&'static str, Vec<u8>)> {
    let entry =
        |(at, change): (u64, Change)| ("entry", Command { now_ms: 1_000 * at, change }.encode());
    (1..).zip(history()).map(entry).collect()
}

/// Three masters at a feature level, one of which has just joined, and what the log made of them.
fn replay(log: &[(String, Vec<u8>)], feature_level: u32) -> ClusterState {
    let masters = [(NodeId(1), "10.0.0.1:7400".to_owned()), (NodeId(2), String::new())];
    let mut state = genesis(masters);
    state.feature_level = feature_level;
    let add = MemberChange::Add { node: NodeId(3), address: "10.0.0.3:7400".to_owned() };
    members::change(&mut state, add, GENESIS_INDEX + 1);
    for (index, (_, bytes)) in (GENESIS_INDEX + 2..).zip(log) {
        let command = Command::decode(bytes).expect("a command of an earlier binary");
        // What was refused then is refused now.
        let _refused = apply(&mut state, command, index);
        state.check_invariants();
    }
    state
}

fn snapshots() -> Vec<(String, Vec<u8>)> {
    if files::is_update() {
        files::write(LOG, &log());
        let snapshot = |level| snapshot::encode(&replay(&files::read(LOG), level));
        let at_levels = (0..).zip(LEVELS).map(|(level, name)| (name, snapshot(level)));
        files::write(SNAPSHOTS, &at_levels.collect::<Vec<_>>());
    }
    files::read(SNAPSHOTS)
}

#[test]
fn a_snapshot_of_an_earlier_binary_reads_as_the_state_that_its_log_leads_to() {
    for (level, (name, bytes)) in (0..).zip(snapshots()) {
        let state = snapshot::decode(&bytes).expect("a snapshot of an earlier binary");
        state.check_invariants();
        let replayed = replay(&files::read(LOG), level);
        assert_eq!(state, replayed, "{name}");
        assert_eq!(snapshot::encode(&replayed), bytes, "{name} is written otherwise than it was");
    }
}

#[test]
fn the_golden_log_is_the_history_told_here() {
    snapshots();
    let golden: Vec<Vec<u8>> = files::read(LOG).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(golden, log().into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
}

#[test]
fn nothing_in_the_golden_state_is_left_empty() {
    let state = replay(&files::read(LOG), FEATURE_LEVEL);
    let stages = || state.jobs.values().flat_map(|job| &job.stages);
    for (what, is_there) in [
        ("members", state.members.len() == 3),
        ("names", !state.names.is_empty()),
        ("weights", !state.weights.is_empty()),
        ("ended jobs", state.jobs.len() > state.active.len()),
        ("kept pages", stages().any(|stage| stage.pages.iter().any(|page| page.kept))),
        ("partly accepted pages", {
            let partly = |stage: &weir_scheduler::stage::Stage| {
                stage.pages.iter().any(|page| page.accepted.len() < page.range.len())
            };
            stages().any(|stage| partly(stage))
        }),
        ("verdicts", stages().any(|stage| !stage.verdicts.is_empty())),
        ("losses", stages().any(|stage| !stage.losses.is_empty())),
        ("attempts", stages().any(|stage| !stage.attempts.is_empty())),
        ("causes", stages().any(|stage| !stage.causes.is_empty())),
        ("times", stages().any(|stage| stage.times.count() > 0)),
        ("paused tasks", stages().any(|stage| !stage.paused.is_empty())),
        ("granted tasks", stages().any(|stage| !stage.granted.is_empty())),
        ("a retry", state.jobs.values().any(|job| job.retry_of.is_some())),
    ] {
        assert!(is_there, "the golden state has no {what}");
    }
}

#[test]
fn a_snapshot_of_a_newer_binary_is_refused_with_both_versions() {
    let (_, bytes) = snapshots().swap_remove(0);
    let wire = wire::Snapshot::decode(&bytes[..]).expect("a snapshot");
    let newer = wire::Snapshot { version: 99, ..wire }.encode_to_vec();
    let refused = snapshot::decode(&newer).expect_err("nobody knows version 99 yet");
    assert!(matches!(refused, Malformed::TooNew { what: "snapshot", found: 99, .. }), "{refused}");
}

#[test]
fn a_snapshot_of_a_cluster_at_a_higher_feature_level_is_refused_with_both_levels() {
    let (_, bytes) = snapshots().pop().expect("a snapshot");
    let wire = wire::Snapshot::decode(&bytes[..]).expect("a snapshot");
    let newer = wire::Snapshot { feature_level: FEATURE_LEVEL + 1, ..wire }.encode_to_vec();
    let refused = snapshot::decode(&newer).expect_err("nobody knows that level yet");
    assert!(matches!(refused, Malformed::FeatureLevel { .. }), "{refused}");
}
