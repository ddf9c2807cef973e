//! Which faults there are, and in which order a seed wants them.

use std::{fmt, time::Duration};

use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};

/// Shortest and longest time before a fault is mended, in milliseconds: there are elections in the
/// longer ones, and none in the shortest.
const LASTS_MS: (u64, u64) = (300, 1_800);

/// Something that is done to a cluster for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// To whom.
    pub target: Target,
    /// What.
    pub harm: Harm,
    /// For how long.
    pub lasts: Duration,
}

/// Whom a fault is done to; who that is shows when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The master that leads then.
    Leader,
    /// A master that does not: the first or the second of those.
    Follower(usize),
    /// An agent.
    Agent(usize),
    /// The master that leads and an agent, at the same instant.
    LeaderAndAgent(usize),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// `kill -9`, and a new start on the same data.
    Kill,
    /// `SIGSTOP`, and `SIGCONT`.
    Freeze,
    /// No packet comes through, to anybody and from anybody.
    Part,
    /// What others send comes through, what it sends does not.
    Mute,
    /// What it sends comes through, what others send does not.
    Deafen,
    /// Its disk has no room; if it stops of that, it is started again when there is some.
    FillDisk,
}

const HARMS: [Harm; 6] =
    [Harm::Kill, Harm::Freeze, Harm::Part, Harm::Mute, Harm::Deafen, Harm::FillDisk];

/// Who is meant of each five: mostly those whose loss interrupts work.
const TARGETS: [fn(usize) -> Target; 5] = [
    |_| Target::Leader,
    |_| Target::Leader,
    |drawn| Target::LeaderAndAgent(drawn),
    |drawn| Target::Agent(drawn),
    |drawn| Target::Follower(drawn % 2),
];

/// So many faults. Each harm comes once before any comes again, and so do the targets.
pub fn plan(random: &mut ChaCha8Rng, faults: usize, agents: usize) -> Vec<Fault> {
    let (mut harms, mut targets) = (Vec::new(), Vec::new());
    let fault = |_| {
        let harm = draw(random, &mut harms, &HARMS);
        let target = draw(random, &mut targets, &TARGETS);
        let (shortest, longest) = LASTS_MS;
        let lasts = shortest + below(random, (longest - shortest) as usize) as u64;
        let target = target(below(random, agents));
        Fault { target, harm, lasts: Duration::from_millis(lasts) }
    };
    (0..faults).map(fault).collect()
}

/// One of what is left of a deck, which is a full one again when nothing was.
fn draw<T: Copy>(random: &mut ChaCha8Rng, left: &mut Vec<T>, deck: &[T]) -> T {
    if left.is_empty() {
        left.extend(deck);
    }
    left.swap_remove(below(random, left.len()))
}

fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let harm = match self.harm {
            Harm::Kill => "kill",
            Harm::Freeze => "freeze",
            Harm::Part => "part",
            Harm::Mute => "mute",
            Harm::Deafen => "deafen",
            Harm::FillDisk => "fill the disk of",
        };
        let target = match self.target {
            Target::Leader => "the leader".to_owned(),
            Target::Follower(which) => format!("follower {which}"),
            Target::Agent(which) => format!("agent {which}"),
            Target::LeaderAndAgent(which) => format!("the leader and agent {which}"),
        };
        write!(f, "{harm} {target} for {:.1?}", self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn a_seed_replays_its_faults_and_another_has_others() {
        let drawn = |seed| plan(&mut ChaCha8Rng::seed_from_u64(seed), 100, 4);
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn ten_faults_are_of_every_kind_and_a_hundred_are_done_to_everybody() {
        for seed in 0..100 {
            let faults = plan(&mut ChaCha8Rng::seed_from_u64(seed), 100, 4);
            for harm in HARMS {
                assert!(faults[..10].iter().any(|fault| fault.harm == harm), "{seed}: {harm:?}");
            }
            let meets = |meant: fn(&Target) -> bool| faults.iter().any(|f| meant(&f.target));
            assert!(meets(|target| *target == Target::Leader));
            assert!(meets(|target| matches!(target, Target::Follower(_))));
            assert!(meets(|target| matches!(target, Target::Agent(_))));
            assert!(meets(|target| matches!(target, Target::LeaderAndAgent(_))));
        }
    }
}
