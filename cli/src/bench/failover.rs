//! How soon another master leases when the one that leads is killed, for tasks that it had not lent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use weir_sdk::proto::{id::JobId, job::TaskKind};

use super::{
    Bench,
    masters::warm,
    own::{Master, Own},
};

/// Does about a millisecond of work.
const BUSY: &str = include_str!("busy.wat");
/// Tasks of an array that is lent while leaders die; one lasts for many of them.
const TASKS: u32 = 1_000_000;
/// Fewer than these are left: another array is submitted.
const LEFT: u32 = 100_000;
/// Longest wait for a lease.
const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// After a cluster is whole again, until its leader is killed: followers have heard from it by then.
const QUIET: Duration = Duration::from_millis(500);
/// Grows with each lease that a master grants.
const GRANTED: &str = "weir_leases_granted_total";

/// Times from the death of a leader to the first lease of another, in order.
pub(super) struct Kills {
    pub(super) alone: Vec<Duration>,
    /// An agent was killed at the same instant.
    pub(super) with_agent: Vec<Duration>,
}

/// Kills leaders of a cluster of so many masters and two agents.
pub(super) async fn measure(masters: usize, rounds: u32) -> Result<Kills> {
    let mut own = Own::start(masters, 2).await?;
    let mut kills = Kills { alone: Vec::new(), with_agent: Vec::new() };
    let mut job = None;
    for _ in 0..rounds {
        kills.alone.push(round(&mut own, &mut job, false).await?);
        kills.with_agent.push(round(&mut own, &mut job, true).await?);
    }
    kills.alone.sort_unstable();
    kills.with_agent.sort_unstable();
    Ok(kills)
}

async fn round(own: &mut Own, job: &mut Option<JobId>, with_agent: bool) -> Result<Duration> {
    keep_busy(own, job).await?;
    let leader = own.wait_until_whole().await?;
    tokio::time::sleep(QUIET).await;
    let mut before = Vec::new();
    for master in &own.masters {
        before.push(master.metric(GRANTED).await.context("a master does not tell its metrics")?);
    }

    let killed = Instant::now();
    own.masters[leader].node.kill()?;
    if with_agent {
        own.agents[1].kill()?;
    }
    let others: Vec<(&Master, f64)> = own.masters.iter().zip(before).collect();
    let after = first_lease(&others, leader, killed).await?;

    own.masters[leader].node.ended().await?;
    own.masters[leader].node.start()?;
    if with_agent {
        own.agents[1].ended().await?;
        own.agents[1].start()?;
    }
    own.wait_until_whole().await?;
    Ok(after)
}

/// Waits until a master other than this one has granted more leases than before.
async fn first_lease(masters: &[(&Master, f64)], dead: usize, killed: Instant) -> Result<Duration> {
    while killed.elapsed() < TIMEOUT {
        for (at, (master, before)) in masters.iter().enumerate() {
            if at != dead && master.metric(GRANTED).await.is_some_and(|now| now > *before) {
                return Ok(killed.elapsed());
            }
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("no other master granted a lease in {} s", TIMEOUT.as_secs())
}

/// Sees to it that there are many tasks that nobody has lent yet.
async fn keep_busy(own: &Own, job: &mut Option<JobId>) -> Result<()> {
    let client = own.client().await?;
    if let Some(job) = *job {
        let view = client.job(job).await?;
        ensure!(view.summary.failed == 0, "tasks of {job} failed");
        if view.summary.open() > LEFT {
            return Ok(());
        }
    }
    let Bench { client, module } = warm(client, BUSY).await?;
    let mut spec = Bench { client: client.clone(), module }.spec(TASKS, true);
    spec.stages.iter_mut().for_each(|stage| stage.kind = TaskKind::Array);
    let submitted = client.submit(spec).await?;
    *job = Some(submitted);
    let began = Instant::now();
    while client.job(submitted).await?.summary.succeeded == 0 {
        ensure!(began.elapsed() < TIMEOUT, "no task of {submitted} ends");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
