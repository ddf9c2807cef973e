//! Three masters and four agents as processes through faults of every kind, one every two seconds, while
//! arrays of 1 ms tasks and a stream of single jobs run: nothing acknowledged is lost, and every result
//! is that of a run without faults.

#![cfg(target_os = "linux")]

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use tokio::runtime::Runtime;
use weir_sdk::Client;
use weir_tests::{
    guests::guest,
    nemesis::{
        machines::{MASTERS, MachineKind, Machines},
        plan::{Fault, plan},
        work::Work,
    },
};

const AGENTS: usize = 4;
/// Faults of a run, unless `WEIR_FAULTS` says otherwise.
const FAULTS: usize = 10;
const FAULTS_ON_LOOPBACK: usize = 3;
/// From the beginning of one to that of the next.
const EVERY: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);
/// Of ten faults, so many have to hit work that is under way; six are done to whoever leads.
const LIVE_OF_TEN: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_to_masters_and_agents() {
    let faults = std::env::var("WEIR_FAULTS");
    let faults = faults.map_or(FAULTS, |faults| faults.parse().expect("WEIR_FAULTS is a number"));
    survives(MachineKind::OwnNetworks, faults, &format!("make nemesis FAULTS={faults}"));
}

#[test]
fn nothing_is_lost_on_loopback_either_where_proxies_part_processes() {
    let again = "cargo test --release -p weir-tests --test nemesis loopback";
    survives(MachineKind::Processes, FAULTS_ON_LOOPBACK, again);
}

fn survives(kind: MachineKind, faults: usize, again: &str) {
    let seed = seed();
    let replay = format!("this run again: WEIR_SEED={seed} {again}");
    say(&replay);
    let faults = plan(&mut ChaCha8Rng::seed_from_u64(seed), faults, AGENTS);
    // The machines' network is that of the thread that makes them and of those that it starts.
    let ran = thread::spawn(move || {
        let machines = Machines::new(kind, AGENTS).unwrap_or_else(|error| {
            say(&format!("networks of their own are not to be had, so on loopback: {error}"));
            Machines::new(MachineKind::Processes, AGENTS).expect("loopback takes no rights")
        });
        run(machines, &faults);
    });
    if let Err(panicked) = ran.join() {
        say(&replay);
        std::panic::resume_unwind(panicked);
    }
}

fn run(mut machines: Machines, faults: &[Fault]) {
    let runtime = Runtime::new().expect("a runtime");
    let (work, mut loops) = runtime.block_on(async {
        machines.wait_for_leader();
        let client = Client::connect(&machines.masters()).await.expect("they answer");
        let module = client.put_file(&guest("checksum")).await.expect("the module is put");
        wait_for_agents(&client).await;
        let work = Work::new(client, module).await;
        let loops = work.begin();
        (work, loops)
    });
    let began = Instant::now();
    let (mut live, mut restarts) = (0, 0);
    for (number, fault) in (1..).zip(faults) {
        // What is wrong shows at once.
        while let Some(ended) = loops.try_join_next() {
            runtime.block_on(async { ended.expect("work goes on") });
        }
        let (hit, restarted) = befall(&mut machines, fault, number);
        live += usize::from(hit);
        restarts += restarted;
        thread::sleep((EVERY * number).saturating_sub(began.elapsed()));
    }
    let count = faults.len();
    say(&format!(
        "{count} faults, {live} of them hit live work; {restarts} processes ended of them"
    ));
    work.end();
    let done = runtime.block_on(async {
        while let Some(ended) = loops.join_next().await {
            ended.expect("work goes on");
        }
        work.checked().await
    });
    say(&format!(
        "{} jobs, {} tasks, each with one result, as without faults; {} calls to submit failed and were \
         made again; {:.0?}",
        done.jobs,
        done.tasks,
        done.refused,
        began.elapsed()
    ));
    assert!(live * 10 >= faults.len() * LIVE_OF_TEN, "{live} faults hit live work");
}

/// One fault from its beginning to its mending. Whether it hit work under way, which is whoever led while
/// tasks had no result, or an agent that ran some; and how many processes ended of it.
fn befall(machines: &mut Machines, fault: &Fault, number: u32) -> (bool, usize) {
    let (leader, look) = machines.wait_for_leader();
    let meant = machines.meant(fault.target, leader);
    let hits = |machine: &usize| match *machine {
        master if master < MASTERS => master == leader && look.open_tasks > 0,
        agent => look.open_tasks > 0 && machines.is_busy(agent),
    };
    let live = meant.iter().any(hits);
    say(&format!("{number:3}: {fault}{}", if live { ", which works" } else { "" }));
    machines.harm(fault, &meant);
    thread::sleep(fault.lasts);
    (live, machines.mend(fault, &meant))
}

async fn wait_for_agents(client: &Client) {
    let live = async || {
        let status = client.status().await.expect("the cluster answers");
        status.agents.iter().filter(|agent| agent.life.is_live()).count()
    };
    while live().await < AGENTS {
        tokio::time::sleep(POLL).await;
    }
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
    writeln!(std::io::stderr(), "nemesis: {line}").expect("stderr is open");
}
