//! What clients ask for, and what tasks do: all of it a function of the stage's spec and an index,
//! but for the wall time, which differs between attempts.

use weir_proto::{
    digest::Digest,
    id::{Namespace, RequestId},
    job::{JobSpec, StageSpec, TaskKind},
    limits::Resources,
    outcome::{Exceeded, Outcome, Trap, Usage},
    page::{Output, TaskResult},
};

use weir_scheduler::state::FIRST_LEASED_THROUGH;

use super::random::Random;

/// Most virtual time that the tasks of one job take together, few at a time or many.
const MAX_WORK_US: u64 = 4_000_000;
const MAX_WIDE_WORK_US: u64 = 12_000_000;
/// A job of more tasks is large: as many may be leased at first. The last of a large job's tasks
/// take long, so that a new leader meets them on agents.
const LARGE: u64 = FIRST_LEASED_THROUGH as u64;
const LAST_OF_LARGE: u64 = 24;
const LONG_US: u64 = 1_000_000;
/// Jobs of more tasks have no task that takes its agent with it.
const MAX_TASKS_WITH_POISON: u64 = 40;

/// A job that a client is going to submit.
pub(super) struct Plan {
    pub(super) request: RequestId,
    pub(super) spec: JobSpec,
    pub(super) submit_us: u64,
    /// How long after it was accepted it is cancelled.
    pub(super) cancel_after_us: Option<u64>,
}

/// What one task does.
pub(super) struct Behaviour {
    pub(super) duration_us: u64,
    /// It takes its agent's process with it.
    pub(super) is_poison: bool,
}

/// The jobs of one simulation, each submitted before `until_us`. Many masters say so much to each
/// other that they get fewer, and no large one.
pub(super) fn plans(random: &mut Random, until_us: u64, masters_are_few: bool) -> Vec<Plan> {
    let most = if masters_are_few { 6 } else { 3 };
    let mut counts: Vec<u64> = (0..random.between(2, most)).map(|_| count(random)).collect();
    if masters_are_few && random.one_in(6) {
        // More than may be leased at first: `leased_through` has to be extended.
        counts[0] = LARGE + random.between(1, 60);
    }
    counts.into_iter().map(|count| plan(random, count, until_us)).collect()
}

fn count(random: &mut Random) -> u64 {
    match random.between(0, 9) {
        0..=4 => 1,
        5..=8 => random.between(2, 30),
        _ => random.between(31, 150),
    }
}

fn plan(random: &mut Random, count: u64, until_us: u64) -> Plan {
    // Many tasks run many at a time, for each time is an event.
    let is_wide = count > MAX_TASKS_WITH_POISON;
    let most_us = if is_wide { MAX_WIDE_WORK_US } else { MAX_WORK_US };
    let means = [200, 1_000, 5_000, 30_000, 300_000, 2_000_000];
    let fitting: Vec<u64> = means.into_iter().filter(|us| us * count <= most_us).collect();
    let mean_us = if count > LARGE { 200 } else { random.pick(&fitting) };
    let poison = (count <= MAX_TASKS_WITH_POISON && random.one_in(12))
        .then(|| random.between(0, count - 1).to_string());
    let stage = StageSpec {
        args: [mean_us.to_string()].into_iter().chain(poison).collect(),
        count: count as u32,
        kind: if count > 1 { TaskKind::Array } else { TaskKind::Plain },
        resources: Resources {
            cpu_millis: if is_wide { 250 } else { random.pick(&[250, 500, 1_000, 1_000, 2_000]) },
            memory_bytes: if is_wide {
                16 << 20
            } else {
                random.pick(&[16 << 20, 64 << 20, 512 << 20])
            },
            countables: [("gpu", if is_wide { 0 } else { random.pick(&[0, 0, 0, 1, 2]) })]
                .into_iter()
                .collect(),
        },
        seed: random.id(),
        // Each lease of such tasks is an entry of the log.
        once: random.one_in(4) && count <= LARGE,
        ..StageSpec::new("main", Digest::of(b"a module"))
    };
    let namespace = random.pick(&["default", "team-a"]).parse();
    let namespace: Namespace = namespace.expect("a valid namespace");
    let priority = random.pick(&[0, 0, 0, -7, 7]);
    let mut request = [0; 16];
    request[..8].copy_from_slice(&random.id().to_le_bytes());
    Plan {
        request: RequestId(request),
        spec: JobSpec { name: "job".to_owned(), namespace, stages: vec![stage], priority },
        submit_us: random.between(0, until_us),
        cancel_after_us: random.one_in(6).then(|| random.mostly_short(0, 5_000_000)),
    }
}

/// Virtual time that the tasks of a job take, one after the other.
pub(super) fn work_us(spec: &JobSpec) -> u64 {
    let tasks =
        |stage: &StageSpec| (0..stage.count).map(|index| mean_us(stage, index)).sum::<u64>();
    spec.stages.iter().map(tasks).sum()
}

pub(super) fn behaviour(spec: &StageSpec, index: u32) -> Behaviour {
    let mean_us = mean_us(spec, index);
    let poison = spec.args.get(1).and_then(|arg| arg.parse().ok());
    Behaviour {
        duration_us: mean_us / 2 + drawn(spec, index, 0) % (mean_us + 1),
        is_poison: poison == Some(index),
    }
}

/// What a task leaves, on whatever agent and at whatever attempt.
pub(super) fn result(spec: &StageSpec, index: u32, wall_us: u64) -> TaskResult {
    let fuel = drawn(spec, index, 1) % 1_000_000;
    let outcome = match drawn(spec, index, 2) % 20 {
        0 => Outcome::Failed { exit_code: (fuel % 100) as i32 },
        1 => Outcome::OutOfFuel(Exceeded { used: fuel, limit: fuel }),
        2 => Outcome::Trapped(Trap {
            kind: "unreachable".to_owned(),
            message: "wasm `unreachable` instruction executed".to_owned(),
            frames: vec![format!("frame {index}")],
        }),
        _ => Outcome::Succeeded { exit_code: 0 },
    };
    let length = match drawn(spec, index, 3) % 50 {
        0 => 4_000,
        few => few as usize % 20,
    };
    let byte = (drawn(spec, index, 4) % 256) as u8;
    TaskResult {
        outcome,
        usage: Usage {
            fuel,
            peak_memory_bytes: fuel % 1_024 * 65_536,
            wall_us,
            ..Usage::default()
        },
        stdout: Output::Inline(vec![byte; length]),
        stderr: Output::empty(),
        out: None,
        coredump: None,
    }
}

fn mean_us(spec: &StageSpec, index: u32) -> u64 {
    if u64::from(spec.count) > LARGE && u64::from(index) >= LARGE - LAST_OF_LARGE {
        return LONG_US;
    }
    spec.args[0].parse().expect("the first argument is a number")
}

/// A number that belongs to a task and a purpose.
fn drawn(spec: &StageSpec, index: u32, purpose: u64) -> u64 {
    // SplitMix64's finaliser: enough to look random, and cheap.
    let mut z = spec.seed ^ (u64::from(index) << 8 | purpose).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
