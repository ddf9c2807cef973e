//! What the status page and a job's page show, as data.

use std::{collections::BTreeMap, sync::Arc};

use weir_proto::{
    id::{AgentId, JobId, StageId},
    limits::Resources,
};
use weir_scheduler::state::{AgentLife, ClusterState, Job};
use weir_store::blobs::Stat;

use crate::{
    control::Control,
    driver::Latencies,
    metrics::{Rates, Reading},
    rpc::view::Advice,
};

/// Most jobs on the page.
pub(super) const MAX_ROWS: usize = 50;

/// What the status page shows.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What is agreed.
    pub(super) state: Arc<ClusterState>,
    /// When this was gathered, Unix milliseconds.
    pub(super) now_ms: u64,
    /// Where agents find this master.
    pub(super) url: String,
    /// The jobs that are listed, in this order.
    pub(super) rows: Vec<JobId>,
    pub(super) soft: Soft,
    pub(super) rates: Rates,
    pub(super) store: Option<Stat>,
    /// Clients that watch a job.
    pub(super) watchers: usize,
    /// Browsers that look live.
    pub(super) viewers: usize,
}

/// What only the master's loop knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Soft {
    pub(super) leads: bool,
    pub(super) term: u64,
    pub(super) leases: u64,
    /// Tasks that agents may run at this moment.
    pub(super) running: u64,
    /// The same, of jobs that are listed and have some.
    pub(super) running_of: BTreeMap<JobId, u32>,
    pub(super) agents: BTreeMap<AgentId, AgentUse>,
    pub(super) commit_p50_us: u64,
    pub(super) commit_p99_us: u64,
}

/// What an attached agent is used for.
#[derive(Debug, Clone)]
pub(super) struct AgentUse {
    pub(super) used: Resources,
    pub(super) leases: u32,
    pub(super) connected: bool,
}

/// What a job's page shows.
#[derive(Debug)]
pub(super) struct JobFacts {
    pub(super) job: Arc<Job>,
    /// When this was gathered, Unix milliseconds.
    pub(super) now_ms: u64,
    pub(super) advice: Advice,
}

/// The jobs to list: active ones, then ended ones, the newest first. Looks at no more of them than
/// there are active ones and rows.
pub(super) fn rows(state: &ClusterState) -> Vec<JobId> {
    let active = state.active.iter().rev().copied();
    let ended = state.jobs.iter().rev().filter(|(_, job)| !job.is_active()).map(|(id, _)| *id);
    active.chain(ended).take(MAX_ROWS).collect()
}

impl Soft {
    /// Looks at the loop's own state; what it costs is bounded by agents, leases and rows.
    pub(super) fn read(control: &Control, latencies: &Latencies, rows: &[JobId]) -> Soft {
        let mut soft = Soft {
            leads: control.table().is_some(),
            term: control.term(),
            commit_p50_us: latencies.quantile_us(0.5),
            commit_p99_us: latencies.quantile_us(0.99),
            ..Soft::default()
        };
        let Some(table) = control.table() else { return soft };
        soft.leases = table.leases().len() as u64;
        let held = table.leases().values();
        soft.running = held.map(|held| u64::from(held.running())).sum();
        for job in rows.iter().filter_map(|id| control.state().jobs.get(id)) {
            let stages = 0..job.stages.len() as u32;
            let running = stages.map(|stage| table.running(StageId { job: job.id, stage })).sum();
            if running > 0 {
                soft.running_of.insert(job.id, running);
            }
        }
        for (id, agent) in table.agents() {
            let leases = table.leases_of(*id).count() as u32;
            let usage = AgentUse { used: table.used(*id), leases, connected: agent.connected };
            soft.agents.insert(*id, usage);
        }
        soft
    }
}

impl Facts {
    /// Live agents and lost ones.
    pub(super) fn agents(&self) -> (usize, usize) {
        let lost = self.state.agents.values();
        let lost = lost.filter(|agent| matches!(agent.life, AgentLife::Lost { .. }));
        (self.state.live_agents().count(), lost.count())
    }

    /// Tasks without a result.
    pub(super) fn open_tasks(&self) -> u64 {
        self.state.backlog.values().map(|backlog| backlog.tasks).sum()
    }

    /// The same as numbers for `/metrics`.
    pub(super) fn reading(&self) -> Reading {
        let (live, lost) = self.agents();
        let mut reading = Reading {
            active_jobs: self.state.active.len() as u64,
            open_tasks: self.open_tasks(),
            running_tasks: self.soft.running,
            leases: self.soft.leases,
            agents_live: live as u64,
            agents_lost: lost as u64,
            store: self.store,
            applied_index: self.state.applied,
            term: self.soft.term,
            leads: self.soft.leads,
            watchers: self.watchers as u64,
            viewers: self.viewers as u64,
            ..Reading::default()
        };
        for agent in self.state.agents.values() {
            let AgentLife::Live { .. } = agent.life else { continue };
            let (id, has) = (agent.description.id, &agent.description.resources);
            reading.cpu_millis += u64::from(has.cpu_millis);
            reading.memory_bytes = reading.memory_bytes.saturating_add(has.memory_bytes);
            if let Some(usage) = self.soft.agents.get(&id) {
                reading.cpu_millis_used += u64::from(usage.used.cpu_millis);
                let used = usage.used.memory_bytes;
                reading.memory_bytes_used = reading.memory_bytes_used.saturating_add(used);
            }
        }
        reading
    }
}
