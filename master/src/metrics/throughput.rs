//! What is done in a second: tasks and fuel, for the last five minutes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use weir_proto::id::AgentId;

/// So many seconds are remembered.
pub(crate) const SECONDS: usize = 300;
/// What is done *now* is the mean of so many seconds: results come in pages, some in a second.
const NOW_SECONDS: usize = 5;

/// Tasks and fuel, second by second.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// Since the last tick.
    current: Amount,
    by_agent: BTreeMap<AgentId, u64>,
    /// Whole seconds, oldest first.
    seconds: VecDeque<Amount>,
    /// Fuel of each agent in the newest of them.
    agents: VecDeque<BTreeMap<AgentId, f64>>,
}

/// An amount of work, or how much of it there is in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Amount {
    /// Tasks with a result.
    pub(crate) tasks: f64,
    /// Fuel they used.
    pub(crate) fuel: f64,
}

/// How much is done in a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    /// Now.
    pub(crate) now: Amount,
    /// In each of the last seconds, oldest first; at most `SECONDS`.
    pub(crate) seconds: Vec<Amount>,
    /// Fuel of each agent, now; of those that used some.
    pub(crate) agents: BTreeMap<AgentId, f64>,
}

impl Throughput {
    /// Tasks have a result.
    pub(crate) fn add(&mut self, agent: Option<AgentId>, tasks: u64, fuel: u64) {
        self.current.tasks += tasks as f64;
        self.current.fuel += fuel as f64;
        if let Some(agent) = agent {
            let sum = self.by_agent.entry(agent).or_default();
            *sum = sum.saturating_add(fuel);
        }
    }

    /// About a second has passed; exactly this long.
    pub(crate) fn tick(&mut self, passed: Duration) {
        let seconds = passed.as_secs_f64().max(0.001);
        let current = std::mem::take(&mut self.current);
        let amount = Amount { tasks: current.tasks / seconds, fuel: current.fuel / seconds };
        let agents = std::mem::take(&mut self.by_agent).into_iter();
        let agents = agents.map(|(agent, fuel)| (agent, fuel as f64 / seconds)).collect();
        push(&mut self.seconds, amount, SECONDS);
        push(&mut self.agents, agents, NOW_SECONDS);
    }

    /// How much is done.
    pub(crate) fn rates(&self) -> Rates {
        let mut rates =
            Rates { seconds: self.seconds.iter().copied().collect(), ..Rates::default() };
        let newest = self.seconds.iter().rev().take(NOW_SECONDS);
        let count = newest.len().max(1) as f64;
        for second in newest {
            rates.now.tasks += second.tasks / count;
            rates.now.fuel += second.fuel / count;
        }
        for (agent, fuel) in self.agents.iter().flatten() {
            *rates.agents.entry(*agent).or_default() += fuel / count;
        }
        rates
    }
}

/// Adds a value, and forgets the oldest beyond `most`.
fn push<T>(values: &mut VecDeque<T>, value: T, most: usize) {
    if values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_of_the_last_seconds() {
        let mut throughput = Throughput::default();
        throughput.add(Some(AgentId(1)), 30, 300);
        throughput.tick(Duration::from_secs(2));
        throughput.add(None, 5, 0);
        throughput.tick(Duration::from_secs(1));

        let rates = throughput.rates();

        assert_eq!(rates.seconds[0], Amount { tasks: 15.0, fuel: 150.0 });
        assert_eq!(rates.now, Amount { tasks: 10.0, fuel: 75.0 });
        assert_eq!(rates.agents, [(AgentId(1), 75.0)].into());
        for _ in 0..NOW_SECONDS {
            throughput.tick(Duration::from_secs(1));
        }
        assert!(throughput.rates().agents.is_empty());
        assert_eq!(throughput.rates().now, Amount::default());
    }

    #[test]
    fn only_the_last_minutes_are_remembered() {
        let mut throughput = Throughput::default();
        (0..SECONDS + 10).for_each(|_| throughput.tick(Duration::from_secs(1)));
        assert_eq!(throughput.rates().seconds.len(), SECONDS);
    }
}
