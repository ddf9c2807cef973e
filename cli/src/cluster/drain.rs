//! `weir cluster drain`: lets agents finish what they run, and leave.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use weir_sdk::view::{AgentLife, AgentView};

use super::is;
use crate::{
    completions::candidates,
    config,
    connect::MasterFlag,
    json::cluster::Agent,
    tally::count,
    text::{self, plain},
};

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster drain pi
  weir cluster drain pi --wait && ssh pi poweroff
  weir cluster drain pi --cancel

An agent that drains gets no more tasks, gives those back that have not begun, and stops when the
others have ended. Started again, it works as before.")]
pub(crate) struct DrainArgs {
    /// The agents: their names or ids
    #[arg(required = true, value_name = "AGENT", add = candidates::agents())]
    agents: Vec<String>,
    /// Let them go on after all, as far as they have not left
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,
    /// Wait until they have left
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

/// Drains agents, or lets them go on; with `--wait`, returns when the last has left.
///
/// # Errors
/// When a word names no live agent or several, and when no master answers.
pub(super) async fn run(args: DrainArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let known = client.status().await?.agents;
    // All words first: who misspelt one has drained nothing.
    let chosen = args.agents.iter().map(|word| choose(&known, word)).collect::<Result<Vec<_>>>()?;
    for view in &chosen {
        let (id, name) = (view.agent.id, plain(&view.agent.name));
        client
            .drain(id, !args.cancel)
            .await
            .with_context(|| format!("cannot change whether {name} stays"))?;
        if !args.json && !config::current().quiet.value {
            text::print(&told(view, args.cancel))?;
        }
    }
    let wait = args.wait;
    let left = loop {
        let now = client.status().await?.agents;
        let is_chosen = |view: &&AgentView| chosen.iter().any(|c| c.agent.id == view.agent.id);
        let chosen: Vec<AgentView> = now.iter().filter(is_chosen).cloned().collect();
        if !wait || chosen.iter().all(|view| !view.life.is_live()) {
            break chosen;
        }
        tokio::time::sleep(POLL).await;
    };
    if args.json {
        left.iter().try_for_each(|view| text::print_json_line(&Agent::from(view)))?;
    }
    match left.iter().find(|view| wait && view.life == AgentLife::Lost) {
        None => Ok(ExitCode::SUCCESS),
        Some(lost) => bail!("{} was lost before it had left", plain(&lost.agent.name)),
    }
}

/// The one live agent that a word names.
fn choose<'a>(known: &'a [AgentView], word: &str) -> Result<&'a AgentView> {
    let named: Vec<_> = known.iter().filter(|view| is(view, word)).collect();
    let live: Vec<_> = named.iter().filter(|view| view.life.is_live()).collect();
    match (&live[..], &named[..]) {
        ([one], _) => Ok(one),
        ([], []) => {
            bail!("there is no agent {word:?}; `weir cluster agents` lists what there is")
        }
        ([], [gone, ..]) => bail!("agent {word:?} is gone: {}", gone.life.word()),
        ([..], _) => bail!(
            "{} are called {word:?}; name one by its id, which `weir cluster agents` shows",
            count(live.len() as u64, "live agent")
        ),
    }
}

fn told(view: &AgentView, cancelled: bool) -> String {
    let (id, name) = (view.agent.id, plain(&view.agent.name));
    match (cancelled, view.leases) {
        (true, _) => format!("{id} {name} stays\n"),
        (false, 0) => format!("{id} {name} leaves: it has nothing to do\n"),
        (false, _) => format!("{id} {name} leaves when what it runs has ended\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: u64, name: &str, life: AgentLife) -> AgentView {
        let mut view = crate::cluster::tests::agent();
        (view.agent.id.0, view.agent.name, view.life) = (id, name.to_owned(), life);
        view
    }

    #[test]
    fn a_word_names_one_live_agent_or_says_why_not() {
        let known = [
            agent(1, "pi", AgentLife::Live),
            agent(2, "pi", AgentLife::Lost),
            agent(3, "twin", AgentLife::Live),
            agent(4, "twin", AgentLife::Draining),
            agent(5, "old", AgentLife::Left),
        ];
        assert_eq!(choose(&known, "pi").expect("one is live").agent.id.0, 1);
        assert_eq!(choose(&known, "agent-0000000000000004").expect("by id").agent.id.0, 4);
        for (word, why) in [("twin", "2 live agents"), ("old", "left"), ("none", "no agent")] {
            let error = choose(&known, word).expect_err(word).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
