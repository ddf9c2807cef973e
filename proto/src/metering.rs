//! How what a task uses of a core is counted: by fuel, or by the time that it takes.
//!
//! Agents run each in an engine of its own, under a profile of its own. Next: `job`, whose stages say
//! which.

use std::{fmt, str::FromStr};

use crate::{malformed::Malformed, wire};

/// How what a task uses of a core is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Metering {
    /// Each instruction costs: the same bill on every machine. A task can be pure.
    #[default]
    Fuel,
    /// The time that it takes counts, told as the fuel that its agent burns in that. Inner loops are
    /// faster, and a task is never pure: what it has used, and so what its clock shows, differs from run
    /// to run.
    Epoch,
}

/// What is no way to meter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no way to meter; there are fuel and epoch")]
pub struct MalformedMetering {
    /// Its beginning.
    word: String,
}

impl Metering {
    /// Both, in the order in which they are told.
    pub const ALL: [Metering; 2] = [Metering::Fuel, Metering::Epoch];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Metering::Fuel => "fuel",
            Metering::Epoch => "epoch",
        }
    }

    /// The one with this number.
    ///
    /// # Errors
    /// When it is a number of a later version's.
    pub fn from_wire(number: i32) -> Result<Metering, Malformed> {
        match wire::Metering::try_from(number) {
            Ok(wire::Metering::Fuel) => Ok(Metering::Fuel),
            Ok(wire::Metering::Epoch) => Ok(Metering::Epoch),
            Err(_) => Err(Malformed::invalid("metering", format!("{number} is not known here"))),
        }
    }

    /// Its number.
    pub fn to_wire(self) -> i32 {
        match self {
            Metering::Fuel => wire::Metering::Fuel.into(),
            Metering::Epoch => wire::Metering::Epoch.into(),
        }
    }
}

impl fmt::Display for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Metering {
    type Err = MalformedMetering;

    fn from_str(word: &str) -> Result<Metering, MalformedMetering> {
        let known = Metering::ALL.into_iter().find(|known| known.word() == word);
        known.ok_or_else(|| MalformedMetering { word: word.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_reads_back_from_its_word_and_its_number() {
        for metering in Metering::ALL {
            assert_eq!(metering.word().parse(), Ok(metering));
            assert_eq!(Metering::from_wire(metering.to_wire()), Ok(metering));
        }
        assert!("Fuel".parse::<Metering>().is_err());
        assert!(Metering::from_wire(2).is_err());
    }
}
