//! `weir cluster members` and what changes them.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use weir_sdk::{
    proto::{
        id::NodeId,
        units::{grouped, short_duration},
    },
    view::{MemberRole, MemberView},
};

use crate::{
    config,
    connect::{LookArgs, MasterFlag},
    json::cluster::{Member, lags},
    serve::parse_member_address,
    text::{self, Table},
};

/// How long a master may take to lead after it was asked to, and how often that is looked at.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// Clocks that differ by less show the same time.
const SAME_TIME: Duration = Duration::from_secs(1);

/// Arguments of `members`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster members
  weir cluster members --json | jq -r '.[] | select(.leads).address'

LAG is how many log entries a master has not applied that the leader has committed, LEVEL the highest feature
level that its binary knows (`weir cluster upgrade`), CLOCK how far its clock is from that of the master that
was asked, where that is more than a second.")]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// Arguments of `add-member`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster add-member 10.0.0.4:7400

`weir master --join` does the same by itself. A new master votes once it has caught up.")]
pub(crate) struct AddArgs {
    /// Where the new master will be reached
    #[arg(value_name = "HOST:PORT", value_parser = parse_member_address)]
    address: String,
    #[command(flatten)]
    master: MasterFlag,
}

/// Arguments of what is done to one master.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster transfer-leader node-2
  weir cluster remove-member node-1

A master that was removed, or has lost its data, comes back as a new one: with `weir master --join` and an
empty data directory.")]
pub(crate) struct NodeArgs {
    /// The master, as `weir cluster members` calls it
    #[arg(value_name = "MEMBER", value_parser = parse_node)]
    node: NodeId,
    #[command(flatten)]
    master: MasterFlag,
}

fn parse_node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix("node-").unwrap_or(text).parse::<u64>();
    let number = number.ok().filter(|number| *number > 0);
    number.map(NodeId).ok_or_else(|| "write a master as `node-2`".to_owned())
}

/// Lists the masters.
///
/// # Errors
/// When no master answers.
pub(super) async fn list(MembersArgs { look }: MembersArgs) -> Result<ExitCode> {
    // Each master tells of itself, whoever asks it, and whether anybody leads or not.
    let status = look.master.connect().await?.stale().status().await?;
    if look.json {
        text::print_json(&Member::all(&status.members))?;
    } else {
        text::print_table(&table(&status.members))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds a master.
///
/// # Errors
/// When the cluster does not take it, or no master answers.
pub(super) async fn add(args: AddArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let node = client.add_member(&args.address).await?;
    say(&format!(
        "{node} is a master now; start it with `weir master --listen {} --join http://{} \
         --data-dir DIR`\n",
        args.address,
        client.address()
    ))
}

/// Removes a master.
///
/// # Errors
/// When the cluster keeps it, or no master answers.
pub(super) async fn remove(args: NodeArgs) -> Result<ExitCode> {
    args.master.connect().await?.remove_member(args.node).await?;
    say(&format!("{} is a master no longer; stop it now\n", args.node))
}

/// Lets a master lead, and waits until it does.
///
/// # Errors
/// When it cannot, or does not in `TRANSFER_TIMEOUT`.
pub(super) async fn transfer(args: NodeArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    client.transfer_leader(args.node).await?;
    let deadline = Instant::now() + TRANSFER_TIMEOUT;
    let leads = |view: &MemberView| view.node == args.node && view.role == MemberRole::Leader;
    while !client.status().await?.members.iter().any(leads) {
        ensure!(
            Instant::now() < deadline,
            "{} does not lead after {} s; `weir cluster members` shows how the masters are",
            args.node,
            TRANSFER_TIMEOUT.as_secs()
        );
        tokio::time::sleep(POLL).await;
    }
    say(&format!("{} leads\n", args.node))
}

fn say(line: &str) -> Result<ExitCode> {
    if !config::current().quiet.value {
        text::print(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(members: &[MemberView]) -> Table {
    let mut table = Table::new(&[
        "MEMBER",
        "ADDRESS",
        "ROLE",
        ">TERM",
        ">COMMITTED",
        ">APPLIED",
        ">LAG",
        "VERSION",
        ">LEVEL",
        "CLOCK",
    ]);
    for (member, lag) in members.iter().zip(lags(members)) {
        table.row([
            member.node.to_string(),
            member.address.clone(),
            member.role.word().to_owned(),
            grouped(member.term),
            grouped(member.committed_index),
            grouped(member.applied_index),
            lag.map(grouped).unwrap_or_default(),
            member.version.clone(),
            level(member),
            clock(member.clock_ahead_ms),
        ]);
    }
    table
}

/// How far a clock is ahead, where that matters to people.
fn clock(ahead_ms: i64) -> String {
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let sign = if ahead_ms < 0 { '-' } else { '+' };
    if apart < SAME_TIME { String::new() } else { format!("{sign}{}", short_duration(apart)) }
}

/// The highest feature level that a master's binary knows; of one that is away nobody knows.
fn level(member: &MemberView) -> String {
    match member.role {
        MemberRole::Away => String::new(),
        _ => member.feature_level.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, role: MemberRole, applied_index: u64) -> MemberView {
        MemberView {
            node: NodeId(node),
            address: format!("127.0.0.1:740{node}"),
            role,
            term: 3,
            committed_index: applied_index,
            applied_index,
            version: "0.1.0".to_owned(),
            feature_level: 1,
            clock_ahead_ms: 0,
        }
    }

    #[test]
    fn a_member_shows_its_role_and_how_far_it_is() {
        let mut members = [
            member(1, MemberRole::Leader, 12_346),
            member(2, MemberRole::Follower, 12_340),
            member(3, MemberRole::Away, 0),
        ];
        members[1].clock_ahead_ms = -86_400_000;
        let shown = table(&members).render(None);
        let row = |at| -> Vec<String> {
            let line = shown.lines().nth(at).expect("a row");
            line.split_whitespace().map(str::to_owned).collect()
        };
        let first =
            ["node-1", "127.0.0.1:7401", "leader", "3", "12,346", "12,346", "0", "0.1.0", "1"];
        assert_eq!(row(1), first);
        assert_eq!((row(2)[6].as_str(), row(2)[9].as_str()), ("6", "-24h00m"));
        assert_eq!(row(3)[2], "away");
    }

    #[test]
    fn a_member_is_named_as_it_is_listed() {
        assert_eq!(parse_node("node-2"), Ok(NodeId(2)));
        assert_eq!(parse_node("2"), Ok(NodeId(2)));
        assert!(parse_node("node-0").is_err() && parse_node("two").is_err());
    }
}
