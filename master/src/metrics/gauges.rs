//! What is so now: read when somebody asks.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Label;

/// A number that goes up and down.
type Number = Gauge<u64, AtomicU64>;

/// What is so now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) active_jobs: u64,
    pub(crate) open_tasks: u64,
    pub(crate) running_tasks: u64,
    pub(crate) leases: u64,
    pub(crate) agents_live: u64,
    pub(crate) agents_lost: u64,
    /// Of live agents, as all that follows.
    pub(crate) cpu_millis: u64,
    pub(crate) cpu_millis_used: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_bytes_used: u64,
    pub(crate) store: Option<weir_store::blobs::Stat>,
    pub(crate) applied_index: u64,
    pub(crate) term: u64,
    pub(crate) leads: bool,
    pub(crate) watchers: u64,
    pub(crate) viewers: u64,
}

/// The registered gauges.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    active_jobs: Number,
    open_tasks: Number,
    running_tasks: Number,
    leases: Number,
    agents: Family<Label, Number>,
    cores: Gauge<f64, AtomicU64>,
    cores_used: Gauge<f64, AtomicU64>,
    memory: Number,
    memory_used: Number,
    store_blobs: Number,
    store_bytes: Number,
    disk_free: Number,
    disk_size: Number,
    applied_index: Number,
    term: Number,
    is_leader: Number,
    watchers: Number,
    viewers: Number,
}

impl Gauges {
    pub(super) fn register(&self, weir: &mut Registry) {
        let mut number = |name: &str, help: &str, gauge: &Number| {
            weir.register(name, help, gauge.clone());
        };
        number("jobs_active", "Jobs that have not ended", &self.active_jobs);
        number("tasks_open", "Tasks without a result", &self.open_tasks);
        number("tasks_running", "Tasks that agents may run at this moment", &self.running_tasks);
        number("leases_out", "Leases that agents hold", &self.leases);
        let help = "Memory that live agents offer to tasks, in bytes";
        number("agents_memory_bytes", help, &self.memory);
        let help = "Memory of live agents that leases take, in bytes";
        number("agents_memory_used_bytes", help, &self.memory_used);
        number("store_blobs", "Blobs in the store", &self.store_blobs);
        number("store_bytes", "Bytes of the blobs in the store", &self.store_bytes);
        let help = "Bytes free on the store's disk, 0 where the system does not tell";
        number("store_disk_free_bytes", help, &self.disk_free);
        let help = "Bytes that the store's disk has, 0 where the system does not tell";
        number("store_disk_size_bytes", help, &self.disk_size);
        number("raft_applied_index", "The last log entry applied", &self.applied_index);
        number("raft_term", "The Raft term", &self.term);
        number("is_leader", "1 where this master leads, 0 elsewhere", &self.is_leader);
        number("watchers", "Clients that watch a job", &self.watchers);
        number("live_viewers", "Browsers that look at the live status page", &self.viewers);
        let help = "Agents by what became of them";
        weir.register("agents", help, self.agents.clone());
        let help = "Cores that live agents offer to tasks";
        weir.register("agents_cores", help, self.cores.clone());
        let help = "Cores of live agents that leases take";
        weir.register("agents_cores_used", help, self.cores_used.clone());
    }

    pub(super) fn set(&self, reading: &Reading) {
        self.active_jobs.set(reading.active_jobs);
        self.open_tasks.set(reading.open_tasks);
        self.running_tasks.set(reading.running_tasks);
        self.leases.set(reading.leases);
        self.agents.get_or_create(&[("state", "live")]).set(reading.agents_live);
        self.agents.get_or_create(&[("state", "lost")]).set(reading.agents_lost);
        self.cores.set(reading.cpu_millis as f64 / 1e3);
        self.cores_used.set(reading.cpu_millis_used as f64 / 1e3);
        self.memory.set(reading.memory_bytes);
        self.memory_used.set(reading.memory_bytes_used);
        if let Some(store) = &reading.store {
            self.store_blobs.set(store.blobs);
            self.store_bytes.set(store.bytes);
            let (free, size) = store.disk.unwrap_or_default();
            self.disk_free.set(free);
            self.disk_size.set(size);
        }
        self.applied_index.set(reading.applied_index);
        self.term.set(reading.term);
        self.is_leader.set(u64::from(reading.leads));
        self.watchers.set(reading.watchers);
        self.viewers.set(reading.viewers);
    }
}
