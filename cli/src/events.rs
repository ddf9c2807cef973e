//! `weir events`: what happens to the cluster, a line each.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use weir_sdk::{
    Client,
    event::{ClusterEvent, Position},
    rpc::RpcError,
};

use crate::{
    clock::{Since, now_ms, parse_since, utc},
    connect::MasterFlag,
    exit,
    json::cluster::Event,
    signals::Interrupts,
    text::{self, plain},
};

/// How long a master may be away, such as for a restart.
const MAX_AWAY: Duration = Duration::from_secs(30);
/// The pause between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  weir events --since 1h
  weir events --follow
  weir events -f --json | jq -r 'select(.event == \"job_ended\").job'";

/// Show what happened to the cluster: jobs that came and ended, agents, names
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EventsArgs {
    /// Stay, and show what happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Only what happened since: so long ago (`10m`, `2h`), or a date in UTC (`2026-11-22`)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When no master answers, or stdout is closed.
pub(crate) async fn run(args: EventsArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let mut telling = Telling {
        client,
        json: args.json,
        since_ms: args.since.map_or(0, |since| since.unix_ms(now_ms())),
        position: None,
        away: None,
    };
    tokio::select! {
        biased;
        _ = interrupts.next() => Ok(exit::interrupted()),
        told = telling.run(args.follow) => told.map(|()| ExitCode::SUCCESS),
    }
}

struct Telling {
    client: Client,
    json: bool,
    since_ms: u64,
    /// Of the last event seen: where to go on when the connection has broken.
    position: Option<Position>,
    /// Since when the master does not answer.
    away: Option<Instant>,
}

impl Telling {
    async fn run(&mut self, follow: bool) -> Result<()> {
        loop {
            match self.tell_all(follow).await? {
                Ok(()) if !follow => return Ok(()),
                // A master that shuts down closes its streams without an error.
                Ok(()) => {}
                Err(error @ RpcError::Unavailable { .. }) => {
                    let since = *self.away.get_or_insert_with(Instant::now);
                    if !follow || since.elapsed() > MAX_AWAY {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells events until the stream ends. The inner error is the network's, the outer one ours.
    async fn tell_all(&mut self, follow: bool) -> Result<Result<(), RpcError>> {
        let mut events = match self.client.events(self.position, follow).await {
            Ok(events) => events,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let event = match events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            self.away = None;
            self.position = Some(event.position);
            if event.at_ms >= self.since_ms {
                self.tell(&event)?;
            }
        }
    }

    fn tell(&self, event: &ClusterEvent) -> Result<()> {
        if self.json {
            return text::print_json_line(&Event::from(event));
        }
        Ok(text::print(&line(event))?)
    }
}

fn line(event: &ClusterEvent) -> String {
    format!("{}  {}\n", utc(event.at_ms), plain(&event.happened.to_string()))
}

#[cfg(test)]
mod tests {
    use weir_sdk::{event::Happened, proto::id::AgentId};

    use super::*;

    fn event() -> ClusterEvent {
        let happened = Happened::AgentLost { agent: AgentId(1), name: "pi\x1b[2J".to_owned() };
        let position = Position { index: 5, sub: 1 };
        ClusterEvent { position, at_ms: 1_795_359_845_999, happened }
    }

    #[test]
    fn an_event_is_a_moment_and_a_sentence() {
        let line = line(&event());
        assert!(line.starts_with("2026-11-22T15:04:05Z  agent-0000000000000001 "), "{line}");
        assert!(line.ends_with("was lost\n") && !line.contains('\x1b'), "{line}");
    }

    #[test]
    fn an_event_as_json_has_only_its_own_keys() {
        let value = serde_json::to_value(Event::from(&event())).expect("JSON");
        let keys: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["agent", "at_ms", "event", "index", "message", "name", "sub"]);
        assert_eq!(value["event"], "agent_lost");
    }
}
