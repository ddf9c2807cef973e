//! `weir dev` is killed while it runs a large array, twenty times at moments drawn from a seed, and
//! started again each time: the job goes on by itself, nothing anybody was told changes, and all
//! results are those of a run that nobody disturbed.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{
        digest::Digest,
        id::{JobId, Namespace},
        job::{JobSpec, StageSpec, TaskKind},
        page::Output,
    },
    view::JobView,
    watch::WatchOptions,
};
use weir_tests::{cluster::Server, guests::guest};

/// Tasks of the array; few enough that a run is short, and enough for many pages of results.
const TASKS: u32 = 20_000;
/// Rounds of the guest `checksum` that take about a millisecond.
const ROUNDS: &str = "250000";
/// Kills that are wanted in all, and how many of them with 5 to 95 % of the tasks done.
const KILLS: usize = 20;
const KILLS_IN_THE_MIDDLE: usize = 15;
/// Kills in one run of the array.
const KILLS_A_RUN: usize = 10;
/// Longest time without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Fuel and output of each task that has a result.
type Results = BTreeMap<u32, (u64, Vec<u8>)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_killed_at_twenty_random_moments_ends_its_jobs_as_if_nothing_had_happened() {
    let seed = seed();
    let replay = "cargo test --release -p weir-tests --test durability";
    say(&format!("this run again: WEIR_SEED={seed} {replay}"));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let began = Instant::now();

    let reference = undisturbed().await;
    let reference_digest = digest_of(&reference);
    say(&format!("without faults: {reference_digest} after {:.1?}", began.elapsed()));
    let mut kills = Vec::new();
    while !enough(&kills) {
        let results = disturbed(&moments(&mut random), &mut kills).await;
        assert_eq!(first_difference(&results, &reference), None);
        assert_eq!(digest_of(&results), reference_digest);
    }
    let middle = kills.iter().filter(|kill| in_the_middle(**kill)).count();
    say(&format!("{} kills, {middle} in the middle, {:.1?}", kills.len(), began.elapsed()));
}

fn enough(kills: &[u32]) -> bool {
    let middle = kills.iter().filter(|done| in_the_middle(**done)).count();
    kills.len() >= KILLS && middle >= KILLS_IN_THE_MIDDLE
}

fn in_the_middle(done: u32) -> bool {
    (TASKS / 20..=TASKS - TASKS / 20).contains(&done)
}

/// How many tasks shall be done at each kill of a run, ascending.
fn moments(random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut moments: Vec<u32> =
        (0..KILLS_A_RUN).map(|_| (random.next_u64() % u64::from(TASKS)) as u32).collect();
    moments.sort_unstable();
    moments
}

/// The results of a run from beginning to end in one process.
async fn undisturbed() -> Results {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::dev(data.path());
    let client = connect(&server).await;
    let job = submit(&client).await;
    let (results, view) = watch(&client, job, true).await;
    assert_ended(view);
    results
}

/// The results of a run that is killed whenever so many tasks are done; notes how many were.
async fn disturbed(moments: &[u32], kills: &mut Vec<u32>) -> Results {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::dev(data.path());
    let mut client = connect(&server).await;
    let job = submit(&client).await;
    let mut told = Results::new();
    for moment in moments {
        let Some(done) = wait_for(&client, job, *moment).await else { break };
        let killed = Instant::now();
        server.kill();
        server = Server::dev(data.path());
        client = connect(&server).await;

        let (survived, _) = watch(&client, job, false).await;
        let kept = survived.len() as u32;
        let restarted = killed.elapsed();
        kills.push(done);
        say(&format!(
            "kill {:2}: {:4.1} % done, {kept} of {done} results told, back after {restarted:.1?}",
            kills.len(),
            f64::from(done) * 100.0 / f64::from(TASKS),
        ));
        assert!(kept >= done, "{} results that were told are lost", done - kept);
        assert_eq!(first_difference(&told, &survived), None);
        told = survived;
    }
    let (results, view) = watch(&client, job, true).await;
    assert_ended(view);
    assert_eq!(first_difference(&told, &results), None);
    assert_same_after_another_start(server, data.path(), job, &results).await;
    results
}

/// What an ended job left does not change either.
async fn assert_same_after_another_start(
    server: Server,
    data: &Path,
    job: JobId,
    results: &Results,
) {
    server.kill();
    let server = Server::dev(data);
    let (again, view) = watch(&connect(&server).await, job, true).await;
    assert_ended(view);
    assert_eq!(first_difference(results, &again), None);
}

async fn connect(server: &Server) -> Client {
    Client::connect(server.address()).await.expect("it listens")
}

async fn submit(client: &Client) -> JobId {
    let module = client.put_file(&guest("checksum")).await.expect("the module is put");
    let stage = StageSpec {
        args: vec![ROUNDS.to_owned()],
        count: TASKS,
        kind: TaskKind::Array,
        ..StageSpec::new("main", module)
    };
    let namespace = Namespace::default_namespace();
    let spec =
        JobSpec { name: "durability".to_owned(), namespace, stages: vec![stage], priority: 0 };
    client.submit(spec).await.expect("the job is accepted")
}

/// Waits until so many tasks are done; how many are, or none when the job has ended.
async fn wait_for(client: &Client, job: JobId, tasks: u32) -> Option<u32> {
    let mut last = (0, Instant::now());
    loop {
        let view = client.job(job).await.expect("the job is known");
        let done = view.summary.succeeded + view.summary.failed;
        if view.summary.status.ended() {
            return None;
        }
        if done >= tasks {
            return Some(done);
        }
        if done > last.0 {
            last = (done, Instant::now());
        }
        assert!(last.1.elapsed() < PATIENCE, "no progress beyond {done} tasks: {view:#?}");
        tokio::time::sleep(POLL).await;
    }
}

/// What there is, or, with `follow`, what there is once the job has ended; and how it ended.
///
/// Panics when a task has two results, or one that is not success.
async fn watch(client: &Client, job: JobId, follow: bool) -> (Results, Option<JobView>) {
    let mut watch = client.watch(job, WatchOptions { after: None, live: false, follow });
    let mut results = Results::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        match next.expect("something happens").expect("the watch goes on") {
            Some(JobEvent::Results(page)) => {
                for (task, result) in page.iter() {
                    assert!(result.outcome.succeeded(), "task {task}: {}", result.outcome);
                    let Output::Inline(stdout) = &result.stdout else { panic!("a short output") };
                    let result = (result.usage.fuel, stdout.clone());
                    assert!(results.insert(task, result).is_none(), "task {task} has two results");
                }
            }
            Some(JobEvent::Verdict { range, outcome }) => panic!("tasks {range}: {outcome}"),
            Some(JobEvent::Ended(view)) => return (results, Some(*view)),
            Some(JobEvent::Live(_)) => {}
            None => return (results, None),
        }
    }
}

fn assert_ended(view: Option<JobView>) {
    let view = view.expect("the job has ended");
    let counts = (view.summary.status.word(), view.summary.succeeded, view.summary.failed);
    assert_eq!(counts, ("succeeded", TASKS, 0));
}

/// The lowest task of `some` whose result is not the same in `all`.
fn first_difference(some: &Results, all: &Results) -> Option<String> {
    let (task, result) = some.iter().find(|(task, result)| all.get(task) != Some(result))?;
    Some(format!("task {task}: {result:?} and {:?}", all.get(task)))
}

/// Of every task's index, fuel and output; complete when there are as many as tasks.
fn digest_of(results: &Results) -> Digest {
    assert_eq!(results.len(), TASKS as usize, "every task has a result");
    let mut bytes = Vec::new();
    for (task, (fuel, stdout)) in results {
        bytes.extend(task.to_le_bytes());
        bytes.extend(fuel.to_le_bytes());
        bytes.extend(stdout);
    }
    Digest::of(&bytes)
}

/// From `WEIR_SEED`, to replay, or the clock.
fn seed() -> u64 {
    if let Ok(seed) = std::env::var("WEIR_SEED") {
        return seed.parse().expect("WEIR_SEED is a number");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}

/// To stderr itself: the harness holds back what `eprintln!` prints until a test fails.
fn say(line: &str) {
    writeln!(std::io::stderr(), "durability: {line}").expect("stderr is open");
}
