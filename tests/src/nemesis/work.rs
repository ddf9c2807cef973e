//! What goes on while faults happen: arrays of short tasks and a stream of single jobs, each watched
//! from its beginning; and what must have become of all of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{
        digest::Digest,
        id::{JobId, Namespace},
        job::{JobSpec, StageSpec, TaskKind},
        page::Output,
    },
    query::JobQuery,
    submit::{SubmitError, new_request},
    watch::WatchOptions,
};

/// Tasks of an array.
const TASKS: u32 = 1_000;
/// Rounds of the guest `checksum` that take about a millisecond.
const ROUNDS: u32 = 250_000;
/// How many single jobs are different: each does a few rounds more than the one before.
const KINDS: u32 = 8;
/// Arrays, and single jobs, that are under way at once.
const ARRAYS: u32 = 2;
const SINGLES: u32 = 2;
/// Between two single jobs: few enough come that the cluster still knows all of them at the end.
const PAUSE: Duration = Duration::from_millis(40);
/// Longest time for a job to be accepted, or for a watch to tell something.
const PATIENCE: Duration = Duration::from_secs(90);

/// Fuel and output of each task.
pub type Results = BTreeMap<u32, (u64, Vec<u8>)>;

/// Which job, as the reference knows it: the array, or a kind of single job.
type Kind = Option<u32>;

/// What a client does.
#[derive(Debug, Clone)]
pub struct Work(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    module: Digest,
    /// What each kind of job gives where nothing goes wrong.
    reference: BTreeMap<Kind, Results>,
    acknowledged: Mutex<BTreeMap<JobId, Kind>>,
    /// Calls to submit a job that failed after all tries, and were made again.
    refused: AtomicU32,
    ended: AtomicBool,
}

/// What was done, and found to be right.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Jobs that were acknowledged.
    pub jobs: usize,
    /// Their tasks.
    pub tasks: usize,
    /// Calls to submit a job that failed after all tries, and were made again.
    pub refused: u32,
}

impl Work {
    /// Runs each kind of job once, before anything goes wrong.
    pub async fn new(client: Client, module: Digest) -> Work {
        let mut reference = BTreeMap::new();
        for kind in std::iter::once(None).chain((0..KINDS).map(Some)) {
            let job = client.submit(spec(module, kind)).await.expect("a job is accepted");
            reference.insert(kind, results(&client, job).await);
        }
        let inner = Inner {
            client,
            module,
            reference,
            acknowledged: Mutex::default(),
            refused: AtomicU32::new(0),
            ended: AtomicBool::new(false),
        };
        Work(Arc::new(inner))
    }

    /// Begins; what it returns ends some time after `end`, and panics when something is wrong.
    pub fn begin(&self) -> JoinSet<()> {
        let mut loops = JoinSet::new();
        for _ in 0..ARRAYS {
            loops.spawn(self.clone().arrays());
        }
        for first in 0..SINGLES {
            loops.spawn(self.clone().singles(first));
        }
        loops
    }

    /// No new jobs from now on.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }

    async fn arrays(self) {
        while !self.has_ended() {
            self.one(None).await;
        }
    }

    async fn singles(self, first: u32) {
        let mut kind = first;
        while !self.has_ended() {
            self.one(Some(kind % KINDS)).await;
            kind += SINGLES;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// A job from its acceptance to its end, over whatever happens meanwhile.
    async fn one(&self, kind: Kind) {
        let job = self.submit(kind).await;
        let before = self.0.acknowledged.lock().expect("nobody panics here").insert(job, kind);
        assert_eq!(before, None, "{job} is what two requests made");
        self.check(job, kind).await;
    }

    /// Under one request's name until somebody accepts it: that makes one job.
    async fn submit(&self, kind: Kind) -> JobId {
        let (request, began) = (new_request(), Instant::now());
        loop {
            let spec = spec(self.0.module, kind);
            match self.0.client.submit_as(request, spec).await {
                Ok(job) => return job,
                Err(SubmitError::Rpc(error)) => {
                    assert!(began.elapsed() < PATIENCE, "nobody accepts a job: {error}");
                    self.0.refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("a job is refused: {error}"),
            }
        }
    }

    /// All results, each once, are those of the reference.
    async fn check(&self, job: JobId, kind: Kind) {
        let results = results(&self.0.client, job).await;
        let expected = &self.0.reference[&kind];
        let wrong = results.iter().find(|(task, result)| expected.get(task) != Some(result));
        assert_eq!(wrong, None, "{job} gave something else than without faults");
        assert_eq!(results.len(), expected.len(), "{job} has a result of each task");
    }

    /// Once all that was begun has ended: every job still tells what it told, and there is none that
    /// nobody was told of.
    pub async fn checked(&self) -> Done {
        let acknowledged = self.0.acknowledged.lock().expect("nobody panics here").clone();
        let mut tasks = 0;
        for (job, kind) in &acknowledged {
            self.check(*job, *kind).await;
            tasks += self.0.reference[kind].len();
        }
        let query = JobQuery { limit: 1, ..JobQuery::default() };
        let listed = self.0.client.jobs(&query).await.expect("the cluster answers");
        let jobs = acknowledged.len();
        let before = self.0.reference.len();
        assert_eq!(listed.matched as usize, before + jobs, "jobs that were acknowledged");
        Done { jobs, tasks, refused: self.0.refused.load(Ordering::Relaxed) }
    }
}

fn spec(module: Digest, kind: Kind) -> JobSpec {
    let (count, task_kind) = match kind {
        None => (TASKS, TaskKind::Array),
        Some(_) => (1, TaskKind::Plain),
    };
    let stage = StageSpec {
        args: vec![(ROUNDS + kind.unwrap_or_default()).to_string()],
        count,
        kind: task_kind,
        ..StageSpec::new("main", module)
    };
    let namespace = Namespace::default_namespace();
    JobSpec { name: "nemesis".to_owned(), namespace, stages: vec![stage], priority: 0 }
}

/// The results of a job that succeeds, watched to its end; each task's once.
///
/// # Panics
/// When anything else becomes of it, or nothing for long.
pub async fn results(client: &Client, job: JobId) -> Results {
    let mut watch = client.watch(job, WatchOptions { after: None, live: false, follow: true });
    let mut results = Results::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        let next = next.unwrap_or_else(|_| panic!("{job} stands still: {} results", results.len()));
        let event = next.unwrap_or_else(|error| panic!("the watch of {job} ends: {error}"));
        match event.expect("it goes on until the end") {
            JobEvent::Results(page) => {
                for (task, result) in page.iter() {
                    assert!(result.outcome.succeeded(), "{job}/{task}: {}", result.outcome);
                    let Output::Inline(stdout) = &result.stdout else { panic!("a short output") };
                    let result = (result.usage.fuel, stdout.clone());
                    assert!(results.insert(task, result).is_none(), "{job}/{task} has two results");
                }
            }
            JobEvent::Verdict { range, outcome } => panic!("tasks {range} of {job}: {outcome}"),
            JobEvent::Ended(view) => {
                let counts = (view.summary.status.word(), view.summary.succeeded as usize);
                assert_eq!(counts, ("succeeded", results.len()), "{job}");
                return results;
            }
            JobEvent::Live(_) => {}
        }
    }
}
