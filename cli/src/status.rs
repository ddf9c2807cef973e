//! `weir status`: the cluster, its agents and its log.

use std::process::ExitCode;

use anyhow::Result;
use weir_sdk::{
    proto::units::{grouped, short_bytes, short_count, short_duration},
    view::ClusterStatus,
};

use crate::{
    connect::MasterFlag,
    json,
    text::{self, Table, plain},
};

/// Show the cluster, its agents and how fast its log commits
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir status
  weir status --master http://10.0.0.1:7400
  weir status --json | jq '.agents[].name'")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When no master listens.
pub(crate) async fn run(args: StatusArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let status = client.status().await?;
    if args.json {
        text::print_json(&json::status(&status, client.address()))?;
    } else {
        text::print(&about(&status, client.address()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn about(status: &ClusterStatus, address: &str) -> String {
    let mut out = format!(
        "{} at {address}, version {}\nlog          index {}, term {}, {} commits since start, p50 \
         {}, p99 {}\n\n",
        status.cluster,
        plain(&status.version),
        grouped(status.applied_index),
        grouped(status.term),
        grouped(status.commits),
        short_duration(status.commit_p50),
        short_duration(status.commit_p99)
    );
    if status.agents.is_empty() {
        out.push_str("no agents; `weir agent --master URL --data-dir DIR` adds this machine\n");
        return out;
    }
    let headings =
        ["AGENT", "NAME", "STATE", ">CORES", ">MEMORY", ">CORES USED", ">MEMORY USED", ">FUEL/S"];
    let mut table = Table::new(&headings);
    for view in &status.agents {
        let has = view.agent.resources;
        table.row([
            view.agent.id.to_string(),
            view.agent.name.clone(),
            if view.live { "live" } else { "lost" }.to_owned(),
            cores(has.cpu_millis),
            short_bytes(has.memory_bytes),
            cores(view.used.cpu_millis),
            short_bytes(view.used.memory_bytes),
            short_count(view.agent.fuel_per_second),
        ]);
    }
    out.push_str(&table.render());
    out
}

fn cores(cpu_millis: u32) -> String {
    (f64::from(cpu_millis) / 1000.0).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_sdk::{
        proto::{
            agent::AgentDescription,
            id::{AgentId, ClusterId, Incarnation},
            limits::Resources,
        },
        view::AgentView,
    };

    use super::*;

    #[test]
    fn a_cluster_shows_its_agents_and_commits() {
        let agent = AgentDescription {
            id: AgentId(1),
            incarnation: Incarnation(2),
            name: "pi\x07".to_owned(),
            architecture: "aarch64".to_owned(),
            profile: "weir-1".to_owned(),
            resources: Resources { cpu_millis: 4500, memory_bytes: 4 << 30 },
            fuel_per_second: 800_000_000,
            version: "0.1.0".to_owned(),
        };
        let used = Resources { cpu_millis: 1000, memory_bytes: 64 << 20 };
        let status = ClusterStatus {
            cluster: ClusterId(3),
            version: "0.1.0".to_owned(),
            term: 1,
            applied_index: 12_345,
            state_hash: "x".to_owned(),
            agents: vec![AgentView { agent, live: true, leases: 1, used }],
            commits: 10,
            commit_p50: Duration::from_micros(600),
            commit_p99: Duration::from_millis(2),
            members: vec![],
            active_jobs: 0,
            open_tasks: 0,
        };
        let shown = about(&status, "127.0.0.1:7400");
        for word in ["cluster-0000000000000003", "12,345", "600 us", "4.5", "4.00 GiB", "800 M"] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        assert!(!shown.contains('\x07'));
    }
}
