//! What a snapshot of a large state costs: how long it stops a master's loop, and how long a master
//! takes that starts from it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use weir_sdk::Client;

use super::{
    Bench, NOOP,
    masters::{Amounts, commits, warm},
    own::Own,
};

/// Longest wait for anything.
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(5);
/// Jobs that are submitted and run at once.
const AT_ONCE: u32 = 50;
/// Changes between two looks whether a snapshot has been taken.
const CHANGES: u32 = 2_000;
/// Grows with each snapshot that a master has taken.
const SNAPSHOTS: &str = "weir_snapshot_duration_seconds_count";
const STALL: &str = "weir_loop_longest_in_snapshot_seconds";

/// What it costs.
pub(super) struct Snapshot {
    /// The longest that a loop of a master stood still.
    pub(super) stall: Duration,
    pub(super) restart: Duration,
    pub(super) restart_all: Duration,
}

/// Runs so many jobs on so many masters, waits until each has taken a snapshot of all, and starts them
/// again.
pub(super) async fn measure(masters: usize, amounts: Amounts) -> Result<Snapshot> {
    let mut own = Own::start(masters, 1).await?;
    let bench = warm(own.client().await?, NOOP).await?;
    run_jobs(&bench, amounts).await?;
    let stall = take_snapshots(&own, &bench).await?;

    // The master after the one that leads: the others need no election meanwhile.
    let leader = own.wait_until_whole().await?;
    let follower = (leader + 1) % masters;
    let restart = restart(&mut own, &[follower]).await?;
    own.wait_until_whole().await?;
    let all: Vec<usize> = (0..masters).collect();
    let restart_all = restart_and_ask(&mut own, &all).await?;
    Ok(Snapshot { stall, restart, restart_all })
}

async fn run_jobs(bench: &Bench, amounts: Amounts) -> Result<()> {
    let mut left = amounts.jobs;
    while left > 0 {
        let now = left.min(AT_ONCE);
        let mut jobs = JoinSet::new();
        for _ in 0..now {
            let bench = bench.clone();
            jobs.spawn(async move { bench.array(amounts.tasks).await.map(drop) });
        }
        while let Some(done) = jobs.join_next().await {
            done??;
        }
        left -= now;
    }
    Ok(())
}

/// Commits small changes until each master has taken one more snapshot; the longest stall of any.
async fn take_snapshots(own: &Own, bench: &Bench) -> Result<Duration> {
    let before = taken(own).await?;
    let began = Instant::now();
    while !taken(own).await?.iter().zip(&before).all(|(now, before)| now > before) {
        ensure!(began.elapsed() < TIMEOUT, "not every master takes a snapshot");
        commits(bench, CHANGES).await?;
    }
    let mut longest: f64 = 0.0;
    for master in &own.masters {
        let stall = master.metric(STALL).await.context("a master does not tell its metrics")?;
        longest = longest.max(stall);
    }
    Ok(Duration::from_secs_f64(longest))
}

async fn taken(own: &Own) -> Result<Vec<f64>> {
    let mut taken = Vec::new();
    for master in &own.masters {
        let count = master.metric(SNAPSHOTS).await;
        taken.push(count.context("a master does not tell its metrics")?);
    }
    Ok(taken)
}

/// Kills these masters and starts them again; how long until each can answer clients.
async fn restart(own: &mut Own, masters: &[usize]) -> Result<Duration> {
    let started = start_again(own, masters).await?;
    for master in masters {
        while !own.masters[*master].is_ready().await {
            ensure!(started.elapsed() < TIMEOUT, "a master does not come back");
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(started.elapsed())
}

/// As `restart`, but until a client has an answer that needs a leader.
async fn restart_and_ask(own: &mut Own, masters: &[usize]) -> Result<Duration> {
    let started = start_again(own, masters).await?;
    loop {
        if let Ok(client) = Client::connect(&own.addresses()).await
            && client.status().await.is_ok()
        {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < TIMEOUT, "the masters do not come back");
        tokio::time::sleep(POLL).await;
    }
}

async fn start_again(own: &mut Own, masters: &[usize]) -> Result<Instant> {
    for master in masters {
        own.masters[*master].node.kill()?;
    }
    for master in masters {
        own.masters[*master].node.ended().await?;
    }
    let started = Instant::now();
    for master in masters {
        own.masters[*master].node.start()?;
    }
    Ok(started)
}
