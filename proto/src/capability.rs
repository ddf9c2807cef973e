//! What a task may do beyond computing: see the real time, draw real random numbers.
//!
//! A task with a capability is not pure: what it does may differ from one run to the next.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Something that a task may do beyond computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// The machine's own clocks, and real sleep.
    Clock,
    /// Random numbers of the machine, which nobody can foresee.
    Random,
}

/// Each capability once, in order; none makes a task pure.
pub type Capabilities = BTreeSet<Capability>;

/// All that there are, by their words.
const WORDS: [(Capability, &str); 2] =
    [(Capability::Clock, "clock"), (Capability::Random, "random")];

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(capability, _)| capability == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

/// What is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no capability; there are clock and random")]
pub struct UnknownCapability {
    word: String,
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(word: &str) -> Result<Capability, UnknownCapability> {
        let known = WORDS.iter().find(|(_, known)| *known == word);
        let unknown = || UnknownCapability { word: word.chars().take(64).collect() };
        known.map(|(capability, _)| *capability).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_read_as_it_is_printed() {
        for (capability, word) in WORDS {
            assert_eq!(capability.to_string(), word);
            assert_eq!(word.parse(), Ok(capability));
        }
        let unknown = "Clock".parse::<Capability>().expect_err("words are small");
        assert!(unknown.to_string().contains("\"Clock\""), "{unknown}");
    }
}
