//! What a master counts, for `/metrics` and for the status page.
//!
//! Each master has a registry of its own: a process may hold several. Counting is cheap enough to
//! stand in the way of every page of results, and is never done for a single task.

mod gauges;
mod run_times;
mod stalls;
mod throughput;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use tonic::Code;
use weir_proto::{
    agent::{AgentMessage, MasterMessage},
    outcome::WORDS,
};

use self::{gauges::Gauges, run_times::RunTimes, stalls::Stalls};
pub(crate) use self::{
    gauges::Reading,
    throughput::{Rates, SECONDS, Throughput},
};
use crate::control::{Ending, Event, Measure, SessionId};

/// Most messages with pages whose way is timed at once; the way of others is not measured.
const MAX_TIMED: usize = 8_192;
/// Bounds of buckets for what takes a disk or a network, in seconds.
const SHORT: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 4.0, 16.0];
/// Bounds of buckets for what takes as long as tasks do, in seconds.
const LONG: [f64; 14] =
    [0.001, 0.004, 0.016, 0.064, 0.25, 0.5, 1.0, 4.0, 16.0, 60.0, 240.0, 900.0, 3_600.0, 14_400.0];

/// One label and its value.
type Label = [(&'static str, &'static str); 1];
/// A called method, and what was answered.
type Call = [(&'static str, String); 2];
type Method = [(&'static str, String); 1];

/// The counts of one master; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    jobs_submitted: Counter,
    jobs_ended: Family<Label, Counter>,
    tasks: Family<Label, Counter>,
    tasks_retried: Counter,
    fuel: Counter,
    leases_granted: Counter,
    commits: Counter,
    rpcs: Family<Call, Counter>,
    gauges: Gauges,
    commit_seconds: Histogram,
    job_wait_seconds: Histogram,
    lease_hold_seconds: Histogram,
    run_times: RunTimes,
    stalls: Stalls,
    page_commit_seconds: Histogram,
    job_seconds: Histogram,
    rpc_seconds: Family<Method, Histogram, fn() -> Histogram>,
    throughput: Mutex<Throughput>,
}

impl Default for Inner {
    fn default() -> Inner {
        let short = || Histogram::new(SHORT);
        let mut inner = Inner {
            registry: Registry::default(),
            jobs_submitted: Counter::default(),
            jobs_ended: Family::default(),
            tasks: Family::default(),
            tasks_retried: Counter::default(),
            fuel: Counter::default(),
            leases_granted: Counter::default(),
            commits: Counter::default(),
            rpcs: Family::default(),
            gauges: Gauges::default(),
            commit_seconds: short(),
            job_wait_seconds: Histogram::new(LONG),
            lease_hold_seconds: Histogram::new(LONG),
            run_times: RunTimes::default(),
            stalls: Stalls::default(),
            page_commit_seconds: short(),
            job_seconds: Histogram::new(LONG),
            rpc_seconds: Family::new_with_constructor(short),
            throughput: Mutex::default(),
        };
        inner.registry = inner.register();
        inner.begin_at_zero();
        inner
    }
}

impl Inner {
    /// Names are those of Prometheus' conventions: base units, `_total` of what only grows (the
    /// library adds it), and a full stop after each help (it adds that too).
    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        start.set(started.as_secs_f64());
        let help = "When this master started, Unix time in seconds";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, start);
        let weir = registry.sub_registry_with_prefix("weir");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        weir.register("build", "What this master was built from", build);
        self.register_counts(weir);
        self.register_times(weir);
        self.stalls.register(weir);
        self.gauges.register(weir);
        registry
    }

    fn register_counts(&self, weir: &mut Registry) {
        weir.register("jobs_submitted", "Jobs accepted", self.jobs_submitted.clone());
        weir.register("jobs_ended", "Jobs that ended, by how", self.jobs_ended.clone());
        let help = "Tasks with a result, by its outcome";
        weir.register("tasks", help, self.tasks.clone());
        let help = "Attempts that failed and whose tasks are run again";
        weir.register("tasks_retried", help, self.tasks_retried.clone());
        let help = "Fuel that tasks with a result have used, counted Wasm instructions";
        weir.register("fuel", help, self.fuel.clone());
        weir.register("leases_granted", "Leases lent to agents", self.leases_granted.clone());
        let help = "Durable writes to the log, each of any number of entries";
        weir.register("log_commits", help, self.commits.clone());
        let help = "gRPC calls by method and by the code they were first answered with";
        weir.register("rpc_requests", help, self.rpcs.clone());
    }

    /// The way of a task, stop by stop.
    fn register_times(&self, weir: &mut Registry) {
        let mut seconds = |name: &str, help: &str, histogram: &Histogram| {
            weir.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        let help = "From a write's order to its being durable, of the first of a group";
        seconds("commit_duration", help, &self.commit_seconds);
        let help = "From a job's acceptance to its first lease";
        seconds("job_wait", help, &self.job_wait_seconds);
        let help = "From a lease's grant to its end";
        seconds("lease_hold", help, &self.lease_hold_seconds);
        let help = "From the arrival of pages with results to their being stored";
        seconds("page_commit_duration", help, &self.page_commit_seconds);
        let help = "From a job's acceptance to its end";
        seconds("job_duration", help, &self.job_seconds);
        let help = "Wall time of tasks in their sandboxes";
        weir.register_with_unit("task_run", help, Unit::Seconds, self.run_times.clone());
        let help = "From a gRPC call to its answer, or to the first of a stream's";
        weir.register_with_unit("rpc_duration", help, Unit::Seconds, self.rpc_seconds.clone());
    }

    /// A series that is there from the start shows its first increase.
    fn begin_at_zero(&self) {
        for word in WORDS {
            let _created = self.tasks.get_or_create(&[("outcome", word)]);
        }
        for ending in [Ending::Succeeded, Ending::Failed, Ending::Cancelled] {
            let _created = self.jobs_ended.get_or_create(&[("status", word_of(ending))]);
        }
    }
}

impl Metrics {
    /// Adds what a leader's step measured.
    pub(crate) fn measured(&self, measure: Measure) {
        let inner = &*self.0;
        match measure {
            Measure::JobSubmitted => {
                inner.jobs_submitted.inc();
            }
            Measure::JobLeased { waited_ms } => inner.job_wait_seconds.observe(seconds(waited_ms)),
            Measure::LeasesGranted(new) => {
                inner.leases_granted.inc_by(new.into());
            }
            Measure::LeaseOver { held_ms } => inner.lease_hold_seconds.observe(seconds(held_ms)),
            Measure::TasksRetried(tasks) => {
                inner.tasks_retried.inc_by(tasks.into());
            }
            Measure::JobEnded { ending, took_ms } => {
                inner.jobs_ended.get_or_create(&[("status", word_of(ending))]).inc();
                inner.job_seconds.observe(seconds(took_ms));
            }
            Measure::TasksDone { agent, used } => {
                let mut tasks = 0;
                for (number, count) in used.outcomes {
                    let place = usize::from(number).checked_sub(1);
                    let word = place.and_then(|place| WORDS.get(place)).copied();
                    let outcome = [("outcome", word.unwrap_or("unknown"))];
                    inner.tasks.get_or_create(&outcome).inc_by(count.into());
                    tasks += u64::from(count);
                }
                inner.fuel.inc_by(used.fuel);
                inner.run_times.add(&used.times);
                self.throughput().add(agent, tasks, used.fuel);
            }
        }
    }

    /// A write to the log became durable after so long.
    pub(crate) fn committed(&self, after: Duration) {
        self.0.commits.inc();
        self.0.commit_seconds.observe(after.as_secs_f64());
    }

    /// The master's loop was busy for so long, while a snapshot was under way or not.
    pub(crate) fn loop_was_busy(&self, time: Duration, in_snapshot: bool) {
        self.0.stalls.busy(time, in_snapshot);
    }

    /// A snapshot is durable so long after it was begun.
    pub(crate) fn snapshot_taken(&self, after: Duration) {
        self.0.stalls.snapshot_taken(after);
    }

    /// A gRPC method was called and first answered after so long.
    pub(crate) fn called(&self, method: &str, code: Code, after: Duration) {
        let call = [("method", method.to_owned()), ("code", word_of_code(code).to_owned())];
        self.0.rpcs.get_or_create(&call).inc();
        let method = [("method", method.to_owned())];
        self.0.rpc_seconds.get_or_create(&method).observe(after.as_secs_f64());
    }

    /// How much is done, second by second.
    pub(crate) fn throughput(&self) -> MutexGuard<'_, Throughput> {
        self.0.throughput.lock().expect("nobody panics while holding the throughput")
    }

    /// All of it as OpenMetrics text, with what is so now.
    pub(crate) fn text(&self, reading: &Reading) -> String {
        self.0.gauges.set(reading);
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry).expect("a string takes any text");
        text
    }
}

/// Since when messages with pages are on their way into the log, by session and first page.
#[derive(Debug, Default)]
pub(crate) struct PageTimes(HashMap<(SessionId, u64), Instant>);

impl PageTimes {
    /// Looks at what comes in.
    pub(crate) fn received(&mut self, event: &Event) {
        match event {
            Event::FromAgent(session, AgentMessage::Pages { pages, .. }) => {
                if let Some(first) = pages.first().filter(|_| self.0.len() < MAX_TIMED) {
                    self.0.insert((*session, first.seq), Instant::now());
                }
            }
            Event::AgentClosed(session) => self.closed(*session),
            _ => {}
        }
    }

    /// Looks at what goes out.
    pub(crate) fn sent(&mut self, session: SessionId, message: &MasterMessage, metrics: &Metrics) {
        let MasterMessage::PagesStored(seqs) = message else { return };
        let since = seqs.first().and_then(|first| self.0.remove(&(session, *first)));
        if let Some(since) = since {
            metrics.0.page_commit_seconds.observe(since.elapsed().as_secs_f64());
        }
    }

    /// A session ended; what it waits for is told to nobody.
    pub(crate) fn closed(&mut self, session: SessionId) {
        self.0.retain(|(of, _), _| *of != session);
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn word_of(ending: Ending) -> &'static str {
    match ending {
        Ending::Succeeded => "succeeded",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
    }
}

/// The code's name in the gRPC specification, in lower case.
fn word_of_code(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests;
