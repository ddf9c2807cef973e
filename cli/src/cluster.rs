//! `weir cluster`: the cluster, its masters, its agents and its log. What changes an agent is in a
//! file of its own.

mod backup;
mod drain;
mod members;
mod upgrade;

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_sdk::{
    proto::units::{grouped, short_bytes, short_count, short_duration},
    view::{AgentView, ClusterStatus},
};

use crate::{
    completions::candidates,
    connect::{LookArgs, StaleFlag},
    json::cluster::{Agent, Status},
    tally::count,
    text::{self, Table, plain},
};

const NO_AGENTS: &str =
    "no agents; `weir agent --master URL --data-dir DIR` adds the machine it is run on";

/// Look at the cluster, its masters and its agents, and back it up
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir cluster status
  weir cluster members
  weir cluster agents --live
  weir cluster drain pi
  weir cluster backup weir.backup")]
pub(crate) enum ClusterCommand {
    /// Show the cluster, its agents and how fast its log commits
    Status(StatusArgs),
    /// List its masters
    Members(members::MembersArgs),
    /// Add a master, which starts with `weir master --join`
    AddMember(members::AddArgs),
    /// Remove a master for good
    RemoveMember(members::NodeArgs),
    /// Let another master lead
    TransferLeader(members::NodeArgs),
    /// Let its masters rely on what their binaries can do
    Upgrade(upgrade::UpgradeArgs),
    /// List its agents
    Agents(AgentsArgs),
    /// Let agents finish what they run, and leave
    Drain(drain::DrainArgs),
    /// Write all of it to a file
    Backup(backup::BackupArgs),
    /// Look whether a backup is whole
    CheckBackup(backup::CheckArgs),
    /// Make a new cluster's first master of a backup
    Restore(backup::RestoreArgs),
}

/// Show the cluster, its agents and how fast its log commits
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir status
  weir status --master http://10.0.0.1:7400
  weir cluster status --json | jq '.agents[].name'")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    stale: StaleFlag,
}

/// Arguments of `agents`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster agents
  weir cluster agents --live
  weir cluster agents big                          one, by its name or its id
  weir cluster agents --json | jq 'map(.cpu_millis) | add'")]
pub(crate) struct AgentsArgs {
    /// Only these: their names or ids [default: all]
    #[arg(value_name = "AGENT", add = candidates::agents())]
    agents: Vec<String>,
    /// Only those that have a session with the master
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    stale: StaleFlag,
}

/// Runs the command.
///
/// # Errors
/// When no master answers.
pub(crate) async fn run(command: ClusterCommand) -> Result<ExitCode> {
    match command {
        ClusterCommand::Status(args) => status(args).await,
        ClusterCommand::Members(args) => members::list(args).await,
        ClusterCommand::AddMember(args) => members::add(args).await,
        ClusterCommand::RemoveMember(args) => members::remove(args).await,
        ClusterCommand::TransferLeader(args) => members::transfer(args).await,
        ClusterCommand::Upgrade(args) => upgrade::run(args).await,
        ClusterCommand::Agents(args) => agents(args).await,
        ClusterCommand::Drain(args) => drain::run(args).await,
        ClusterCommand::Backup(args) => backup::take(args).await,
        ClusterCommand::CheckBackup(args) => backup::check_file(&args),
        ClusterCommand::Restore(args) => backup::restore_to(args).await,
    }
}

/// Runs `weir status`, the short form of `weir cluster status`.
///
/// # Errors
/// As `run`.
pub(crate) async fn status(StatusArgs { look, stale }: StatusArgs) -> Result<ExitCode> {
    let client = stale.of(look.master.connect().await?);
    let status = client.status().await?;
    if look.json {
        text::print_json(&Status::new(&status, client.address()))?;
    } else {
        text::print(&about(&status, client.address(), text::stdout_columns()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn agents(args: AgentsArgs) -> Result<ExitCode> {
    let AgentsArgs { agents: wanted, live, look, stale } = args;
    let status = stale.of(look.master.connect().await?).status().await?;
    if let Some(unknown) = wanted.iter().find(|word| !status.agents.iter().any(|a| is(a, word))) {
        bail!("there is no agent {unknown:?}; `weir cluster agents` lists what there is");
    }
    let mut agents: Vec<_> =
        status.agents.iter().filter(|agent| agent.life.is_live() || !live).collect();
    agents.retain(|agent| wanted.is_empty() || wanted.iter().any(|word| is(agent, word)));
    if look.json {
        text::print_json(&agents.iter().map(|agent| Agent::from(*agent)).collect::<Vec<_>>())?;
    } else if status.agents.is_empty() {
        text::note(NO_AGENTS);
    } else if agents.is_empty() {
        text::note(
            "none of them is live; without --live those that left or were lost are listed too",
        );
    } else {
        text::print_table(&agents_table(&agents))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether an agent is meant by a word: its name, which several may have, or its id.
fn is(view: &AgentView, word: &str) -> bool {
    view.agent.name == word || view.agent.id.to_string() == word
}

fn about(status: &ClusterStatus, address: &str, columns: Option<usize>) -> String {
    let mut out = format!(
        "{} at {address}, version {}, feature level {}\njobs         {} active, {} without a result\nlog          \
         index {}, term {}, {} commits since start, p50 {}, p99 {}\n\n",
        status.cluster,
        plain(&status.version),
        status.feature_level,
        grouped(status.active_jobs.into()),
        count(status.open_tasks, "task"),
        grouped(status.applied_index),
        grouped(status.term),
        grouped(status.commits),
        short_duration(status.commit_p50),
        short_duration(status.commit_p99)
    );
    if status.agents.is_empty() {
        out.push_str(&format!("{NO_AGENTS}\n"));
    } else {
        let agents: Vec<_> = status.agents.iter().collect();
        out.push_str(&agents_table(&agents).render(columns));
    }
    out
}

fn agents_table(agents: &[&AgentView]) -> Table {
    let headings =
        ["AGENT", "NAME", "STATE", ">CORES", ">MEMORY", ">CORES USED", ">MEMORY USED", ">FUEL/S"];
    let named = agents.iter().any(|view| !view.agent.resources.countables.is_empty());
    let headings = headings.into_iter().chain(named.then_some("OTHERS"));
    let mut table = Table::new(&headings.collect::<Vec<_>>());
    for view in agents {
        let has = &view.agent.resources;
        let row = [
            view.agent.id.to_string(),
            view.agent.name.clone(),
            view.life.word().to_owned(),
            cores(has.cpu_millis),
            short_bytes(has.memory_bytes),
            cores(view.used.cpu_millis),
            short_bytes(view.used.memory_bytes),
            short_count(view.agent.fuel_per_second),
        ]
        .into_iter()
        .chain(named.then(|| countables(view)));
        table.row(row);
    }
    table
}

/// What an agent has by name, and how much of that is in use: `gpu 1 of 4`.
fn countables(view: &AgentView) -> String {
    let used = &view.used.countables;
    let each = view.agent.resources.countables.iter();
    let each = each.map(|(name, count)| format!("{name} {} of {count}", used.count(name)));
    each.collect::<Vec<_>>().join(", ")
}

fn cores(cpu_millis: u32) -> String {
    (f64::from(cpu_millis) / 1000.0).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_sdk::proto::{
        agent::AgentDescription,
        id::{AgentId, ClusterId, Incarnation},
        limits::Resources,
    };
    use weir_sdk::view::AgentLife;

    use super::*;

    /// An agent that works.
    pub(super) fn agent() -> AgentView {
        let agent = AgentDescription {
            id: AgentId(1),
            incarnation: Incarnation(2),
            name: "pi\x07".to_owned(),
            architecture: "aarch64".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: None,
            resources: Resources {
                countables: [("fpga", 1), ("gpu", 4)].into_iter().collect(),
                ..Resources::new(4500, 4 << 30)
            },
            fuel_per_second: 800_000_000,
            version: "0.1.0".to_owned(),
        };
        let used = Resources {
            countables: [("gpu", 3)].into_iter().collect(),
            ..Resources::new(1000, 64 << 20)
        };
        AgentView { agent, life: AgentLife::Live, leases: 1, used }
    }

    fn status() -> ClusterStatus {
        ClusterStatus {
            cluster: ClusterId(3),
            version: "0.1.0".to_owned(),
            term: 1,
            applied_index: 12_345,
            state_hash: "x".to_owned(),
            agents: vec![agent()],
            commits: 10,
            commit_p50: Duration::from_micros(600),
            commit_p99: Duration::from_millis(2),
            members: Vec::new(),
            active_jobs: 2,
            open_tasks: 1_500,
            feature_level: 1,
        }
    }

    #[test]
    fn a_cluster_shows_its_jobs_agents_and_commits() {
        let shown = about(&status(), "127.0.0.1:7400", None);
        for word in [
            "cluster-0000000000000003",
            "feature level 1",
            "2 active, 1,500 tasks without a result",
            "12,345",
            "600 us",
            "4.5",
            "4.00 GiB",
            "800 M",
            "fpga 0 of 1, gpu 3 of 4",
        ] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        assert!(!shown.contains('\x07'));
    }

    #[test]
    fn a_cluster_without_agents_says_how_to_get_one() {
        let shown = about(&ClusterStatus { agents: vec![], ..status() }, "x:1", None);
        assert!(shown.ends_with("adds the machine it is run on\n"), "{shown}");
    }
}
