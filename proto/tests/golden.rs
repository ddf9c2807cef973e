//! What the log and the store hold of commands and pages: a binary of today reads what an earlier one
//! wrote, and writes the same bytes.

#[path = "golden/files.rs"]
mod files;

use weir_proto::{
    agent::AgentDescription,
    capability::Capability,
    command::{COMMAND_VERSION, Change, Command},
    digest::Digest,
    id::{AgentId, ClusterId, Incarnation, JobId, LeaseId, Namespace, NodeId, RequestId, StageId},
    job::{Input, InputSource, JobSpec, Keep, StageSpec, Stdin, TaskKind},
    limits::{Limits, Resources},
    malformed::Malformed,
    metering::Metering,
    name::{Expected, SetName},
    outcome::{Exceeded, Outcome, Trap, Usage},
    page::{OutTree, Output, Page, StoredBlob, TaskResult},
    range::{RangeSet, TaskRange},
    weight::Weight,
};

const COMMANDS: &str = "tests/golden/commands.hex";
const PAGES: &str = "tests/golden/pages.hex";

const STAGE: StageId = StageId { job: JobId(4), stage: 0 };
const LEASE: LeaseId = LeaseId { term: 3, seq: 8 };

fn namespace() -> Namespace {
    "blue".parse().expect("a namespace")
}

fn ranges() -> RangeSet {
    [TaskRange::new(2, 5), TaskRange::single(9)].into_iter().collect()
}

/// A job that says something of everything.
fn job() -> JobSpec {
    let capabilities = ["clock", "net:example.org:443"].map(|word| word.parse::<Capability>());
    let stage = StageSpec {
        args: vec!["--seed".to_owned(), "{index}".to_owned()],
        env: vec![("LANG".to_owned(), "C".to_owned())],
        stdin: Stdin::Blob(Digest::of(b"stdin")),
        inputs: vec![
            Input {
                path: "/in/file".to_owned(),
                source: InputSource::Blob(Digest::of(b"file")),
                writable: false,
            },
            Input {
                path: "/in/tree".to_owned(),
                source: InputSource::Tree(Digest::of(b"tree")),
                writable: true,
            },
        ],
        count: 10,
        kind: TaskKind::Array,
        limits: Limits { fuel: 5_000_000, timeout_ms: 9_000, ..Limits::default() },
        resources: Resources {
            countables: [("gpu", 2)].into_iter().collect(),
            ..Resources::new(500, 64 << 20)
        },
        success_codes: vec![3, 4],
        retries: 2,
        keep: Keep::Paths(vec!["logs".to_owned()]),
        seed: 77,
        capabilities: capabilities.into_iter().collect::<Result<_, _>>().expect("capabilities"),
        coredump: true,
        ..StageSpec::new("map", Digest::of(b"module"))
    };
    JobSpec { name: "golden".to_owned(), namespace: namespace(), stages: vec![stage], priority: -7 }
}

/// A job of each further kind that the first one is not of.
fn foreach() -> JobSpec {
    let manifest = Digest::of(b"manifest");
    let stage = StageSpec {
        stdin: Stdin::Item,
        count: 3,
        kind: TaskKind::Foreach { manifest },
        keep: Keep::Out,
        once: true,
        metering: Metering::Epoch,
        ..StageSpec::new("each", Digest::of(b"module"))
    };
    JobSpec { stages: vec![stage], ..job() }
}

fn agent() -> AgentDescription {
    AgentDescription {
        id: AgentId(0xa1),
        incarnation: Incarnation(0xb2),
        name: "pi".to_owned(),
        architecture: "aarch64".to_owned(),
        profile: "weir-1".to_owned(),
        epoch_profile: Some("weir-1-epoch".to_owned()),
        resources: Resources {
            countables: [("gpu", 1)].into_iter().collect(),
            ..Resources::new(4000, 1 << 30)
        },
        fuel_per_second: 800_000_000,
        version: "0.1.0".to_owned(),
    }
}

/// Each change there is, once at least.
fn changes() -> Vec<(&'static str, Change)> {
    let agent_id = AgentId(0xa1);
    let (request, job_id) = (RequestId([5; 16]), JobId(4));
    let set_name = |target, expected| {
        let name = "data/today".parse().expect("a name");
        Change::SetName(SetName { namespace: namespace(), name, target, expected })
    };
    let tree = InputSource::Tree(Digest::of(b"tree"));
    vec![
        ("create cluster", Change::CreateCluster(ClusterId(0xc3))),
        ("submit job", Change::SubmitJob { request, spec: job() }),
        ("submit job with items", Change::SubmitJob { request, spec: foreach() }),
        ("cancel job", Change::CancelJob(job_id)),
        ("register agent", Change::RegisterAgent(agent())),
        ("agent lost", Change::AgentLost { agent: agent_id, suspects: vec![STAGE.task(6)] }),
        ("agent left", Change::AgentLeft { agent: agent_id, abandoned: vec![(LEASE, ranges())] }),
        ("drain agent", Change::DrainAgent { agent: agent_id, draining: true }),
        ("calibrate agent", Change::CalibrateAgent { agent: agent_id, fuel_per_second: 9 }),
        ("pause tasks", Change::PauseTasks { job: job_id, tasks: ranges(), paused: true }),
        ("commit pages", Change::CommitPages { agent: agent_id, pages: vec![page().encode()] }),
        ("extend leases", Change::ExtendLeases { stage: STAGE, leased_through: 2048 }),
        (
            "grant once",
            Change::GrantOnce {
                lease: LEASE,
                stage: STAGE,
                range: TaskRange::new(1, 3),
                agent: agent_id,
                incarnation: Incarnation(0xb2),
                connection: 2,
            },
        ),
        ("return once", Change::ReturnOnce { lease: LEASE, stage: STAGE, tasks: ranges() }),
        ("retry job", Change::RetryJob { request, job: job_id }),
        ("remove job", Change::RemoveJob(job_id)),
        ("set name", set_name(Some(tree), Expected::Absent)),
        ("move name", set_name(Some(tree), Expected::PointsAt(tree))),
        ("remove name", set_name(None, Expected::Anything)),
        (
            "set weight",
            Change::SetWeight {
                namespace: namespace(),
                weight: Weight::try_from(20).expect("a weight"),
            },
        ),
        (
            "set address",
            Change::SetAddress { node: NodeId(2), address: "10.0.0.2:7400".to_owned(), data: 7 },
        ),
        ("raise feature level", Change::RaiseFeatureLevel(1)),
    ]
}

/// A page with every kind of output, and some of the outcomes that carry most.
fn page() -> Page {
    let usage = |fuel| Usage {
        fuel,
        peak_memory_bytes: 1 << 16,
        wall_us: 250,
        read_bytes: fuel / 2,
        written_bytes: 3,
    };
    let trap = Trap {
        kind: "unreachable".to_owned(),
        message: "wasm `unreachable` instruction executed".to_owned(),
        frames: vec!["main".to_owned(), "_start".to_owned()],
    };
    let exceeded = Exceeded { used: 12, limit: 10 };
    let outcomes = [
        Outcome::Succeeded { exit_code: 0 },
        Outcome::Succeeded { exit_code: 3 },
        Outcome::Failed { exit_code: -1 },
        Outcome::Trapped(trap),
        Outcome::OutOfFuel(exceeded),
        Outcome::OutOfMemory(exceeded),
        Outcome::TimedOut(exceeded),
        Outcome::OutputTooLarge(exceeded),
        Outcome::ScratchFull(exceeded),
        Outcome::CompileLimit { reason: "too long".to_owned() },
        Outcome::InvalidModule { reason: "no memory".to_owned() },
        Outcome::MissingInput { digest: Digest::of(b"missing") },
        Outcome::Cancelled,
        Outcome::AgentLostTooOften { losses: 3 },
        Outcome::UpstreamFailed,
        Outcome::DeadlineExpired,
    ];
    let mut results: Vec<TaskResult> = (1..)
        .zip(outcomes)
        .map(|(number, outcome)| TaskResult::without_output(outcome, usage(number * 1000)))
        .collect();
    results[0].stdout = Output::Inline(b"hello\n".to_vec());
    results[0].out = Some(OutTree { digest: Digest::of(b"out"), size_bytes: 99 });
    results[1].stderr = Output::Blob { digest: Digest::of(b"stderr"), size_bytes: 1 << 20 };
    results[3].coredump = Some(StoredBlob { digest: Digest::of(b"dump"), size_bytes: 7 });
    Page { stage: STAGE, first: 40, results }
}

#[test]
fn commands_of_earlier_binaries_are_read_and_written_as_they_were() {
    let changes = changes();
    let command = |change| Command { now_ms: 1_700_000_000_000, change };
    if files::is_update() {
        let encoded = changes.iter().map(|(name, c)| (*name, command(c.clone()).encode()));
        files::write(COMMANDS, &encoded.collect::<Vec<_>>());
    }
    let golden = files::read(COMMANDS);
    let names: Vec<&str> = golden.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, changes.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for ((name, bytes), (_, change)) in golden.iter().zip(changes) {
        let expected = command(change);
        assert_eq!(Command::decode(bytes).as_ref(), Ok(&expected), "{name}");
        assert_eq!(expected.encode(), *bytes, "{name} is written otherwise than it was");
    }
}

#[test]
fn pages_of_earlier_binaries_are_read_and_written_as_they_were() {
    if files::is_update() {
        files::write(PAGES, &[("page", page().encode())]);
    }
    let [(_, bytes)] = &files::read(PAGES)[..] else { panic!("one page in {PAGES}") };
    assert_eq!(Page::decode(bytes), Ok(page()));
    assert_eq!(
        page().encode(),
        *bytes,
        "a page's digest is its name: other bytes are another page"
    );
}

#[test]
fn commands_of_newer_binaries_are_refused_with_both_versions() {
    let (_, bytes) = files::read(COMMANDS).swap_remove(0);
    // The version is the first field: its tag, then its number.
    assert_eq!(bytes[..2], [0x08, 1]);
    let newer = [&[0x08, 99], &bytes[2..]].concat();
    let refused = Command::decode(&newer).expect_err("nobody knows version 99 yet");
    assert!(matches!(refused, Malformed::TooNew { found: 99, known: COMMAND_VERSION, .. }));
    assert_eq!(
        refused.to_string(),
        format!("command has version 99; this binary knows up to {COMMAND_VERSION}")
    );
}
