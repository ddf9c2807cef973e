//! `Cluster`: what the cluster is and how it does.

use tonic::{Request, Response, Status};
use weir_proto::{limits::Resources, wire};
use weir_scheduler::{snapshot, state::AgentLife};

use super::stopping;
use crate::driver::Handle;

/// The service.
#[derive(Clone)]
pub(crate) struct ClusterService {
    master: Handle,
}

impl ClusterService {
    pub(crate) fn new(master: Handle) -> ClusterService {
        ClusterService { master }
    }
}

#[tonic::async_trait]
impl wire::cluster_server::Cluster for ClusterService {
    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::ClusterStatus>, Status> {
        let status = self.master.inspect(|control, latencies| {
            let state = control.state();
            let agents = state.agents.values().map(|agent| {
                let id = agent.description.id;
                let table = control.table();
                let none = Resources { cpu_millis: 0, memory_bytes: 0 };
                let used = table.map_or(none, |table| table.used(id));
                wire::AgentView {
                    agent: Some(agent.description.clone().into()),
                    live: matches!(agent.life, AgentLife::Live { .. }),
                    leases: table.map_or(0, |table| table.leases_of(id).count() as u32),
                    used_cpu_millis: used.cpu_millis,
                    used_memory_bytes: used.memory_bytes,
                }
            });
            let status = wire::ClusterStatus {
                cluster: state.cluster.map_or(0, |cluster| cluster.0),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                term: control.term(),
                applied_index: state.applied,
                state_hash: String::new(),
                agents: agents.collect(),
                commits: latencies.count,
                commit_p50_us: latencies.quantile_us(0.5),
                commit_p99_us: latencies.quantile_us(0.99),
            };
            (status, state.clone())
        });
        let (status, state) = status.await.map_err(stopping)?;
        // Hashing encodes the whole state: not in the loop.
        let hash = tokio::task::spawn_blocking(move || snapshot::hash(&state)).await;
        let hash = hash.map_err(|_| Status::unavailable("the master is stopping"))?;
        Ok(Response::new(wire::ClusterStatus { state_hash: hash.to_string(), ..status }))
    }
}
