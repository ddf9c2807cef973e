//! `weir namespace`: tenants and their shares of the cluster.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use weir_sdk::proto::{
    id::Namespace,
    units::grouped,
    weight::{NamespaceView, Weight},
};

use crate::{
    completions::candidates,
    connect::{LookArgs, StaleFlag},
    json::cluster::NamespaceLine,
    text::{self, Table},
};

/// Look at namespaces, and give them shares of the cluster
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir namespace ls
  weir namespace set team-a --weight 3")]
pub(crate) enum NamespaceCommand {
    /// List those that have active jobs, or a weight that is not 1
    Ls(LsArgs),
    /// Give one another weight
    Set(SetArgs),
}

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir namespace ls
  weir namespace ls --json | jq '.[] | select(.slots == 0).namespace'")]
pub(crate) struct LsArgs {
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    stale: StaleFlag,
}

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir namespace set team-a --weight 3
  weir namespace set team-a --weight 1             as every namespace that nobody gave one

While they all have work, namespaces share the agents' cores, and the fuel on each core, in
proportion to their weights. What one does not use, the others do. It holds for leases from now
on; tasks that agents have already run to their end as they were.")]
pub(crate) struct SetArgs {
    /// The namespace; it need not have jobs yet
    #[arg(value_name = "NAME", add = candidates::namespaces())]
    name: Namespace,
    /// Its share beside the others, 1 to 1000
    #[arg(long, value_name = "NUMBER")]
    weight: Weight,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the command.
///
/// # Errors
/// When no master answers, or too many namespaces have a weight.
pub(crate) async fn run(command: NamespaceCommand) -> Result<ExitCode> {
    match command {
        NamespaceCommand::Ls(args) => ls(args).await?,
        NamespaceCommand::Set(args) => set(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(args: LsArgs) -> Result<()> {
    let client = args.stale.of(args.look.master.connect().await?);
    let namespaces = client.namespaces().await?;
    if args.look.json {
        return text::print_json(&namespaces.iter().map(NamespaceLine::from).collect::<Vec<_>>());
    }
    if namespaces.is_empty() {
        text::note("no namespace has active jobs, and all have weight 1");
        return Ok(());
    }
    Ok(text::print_table(&table(&namespaces))?)
}

async fn set(args: SetArgs) -> Result<()> {
    let client = args.look.master.connect().await?;
    let set = client.set_weight(&args.name, args.weight).await;
    set.with_context(|| format!("cannot change the weight of namespace {}", args.name))?;
    if args.look.json {
        let namespaces = client.namespaces().await?;
        let one = namespaces.into_iter().find(|view| view.namespace == args.name);
        // One without jobs and of weight 1 is in no list.
        let (namespace, weight) = (args.name, args.weight);
        let idle = NamespaceView { namespace, weight, active_jobs: 0, open_tasks: 0, slots: 0 };
        return text::print_json(&NamespaceLine::from(&one.unwrap_or(idle)));
    }
    Ok(text::print(&format!("namespace {} has weight {}\n", args.name, args.weight))?)
}

fn table(namespaces: &[NamespaceView]) -> Table {
    let mut table = Table::new(&["NAMESPACE", ">WEIGHT", ">JOBS", ">OPEN TASKS", ">SLOTS"]);
    for view in namespaces {
        table.row([
            view.namespace.to_string(),
            view.weight.to_string(),
            grouped(view.active_jobs.into()),
            grouped(view.open_tasks),
            grouped(view.slots.into()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_line() {
        let view = NamespaceView {
            namespace: "team-a".parse().expect("a name"),
            weight: "3".parse().expect("a weight"),
            active_jobs: 2,
            open_tasks: 1_234_567,
            slots: 6,
        };
        let lines = table(&[view]).render(None);
        let fields: Vec<&str> = lines.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(fields, ["team-a", "3", "2", "1,234,567", "6"]);
    }
}
