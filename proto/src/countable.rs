//! Resources that an operator names and counts, such as `gpu=1`: placement counts them, and nothing
//! else is done with them.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{malformed::Malformed, wire};

/// Most countables of a task or of an agent.
pub const MAX_COUNTABLES: usize = 16;
/// Longest name of a countable in bytes.
pub const MAX_COUNTABLE_BYTES: usize = 32;
/// Most of one countable that a task takes or an agent has.
pub const MAX_COUNT: u32 = 1_000_000;

/// What is counted otherwise, and so cannot be a countable's name.
const COUNTED_OTHERWISE: [&str; 2] = ["cpu", "memory"];

/// Counts by name. None is 0, so that equal counts are equal; sums may have more than is allowed of
/// what comes from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Countables(BTreeMap<String, u32>);

/// What is no countable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCountable {
    /// It has no count.
    #[error("{text:?} lacks a count; write NAME=COUNT, such as gpu=1")]
    NoCount {
        /// What was given.
        text: String,
    },
    /// Its name is none.
    #[error(
        "{name:?} is no name of a resource; it has 1 to {MAX_COUNTABLE_BYTES} lower-case letters, \
         digits, '-' and '_', and begins with a letter"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// Its name is that of something else.
    #[error("{name:?} is counted already, by a setting of its own")]
    CountedOtherwise {
        /// The name.
        name: String,
    },
    /// Its count is none.
    #[error("{name} is {count:?}; it must be 1 to {MAX_COUNT}")]
    Count {
        /// The name.
        name: String,
        /// What was given.
        count: String,
    },
    /// There is one of that name.
    #[error("{name} is given twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// There are too many.
    #[error("there are more than {MAX_COUNTABLES} named resources")]
    TooMany,
}

impl From<MalformedCountable> for Malformed {
    fn from(malformed: MalformedCountable) -> Malformed {
        Malformed::invalid("a named resource", malformed.to_string())
    }
}

impl Countables {
    /// None at all.
    pub const fn new() -> Countables {
        Countables(BTreeMap::new())
    }

    /// Adds one.
    ///
    /// # Errors
    /// When its name or count cannot be, it is there already, or there are too many.
    pub fn insert(&mut self, name: &str, count: u32) -> Result<(), MalformedCountable> {
        let (letters, name) = (name, name.to_owned());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if !letters.starts_with(|c: char| c.is_ascii_lowercase())
            || letters.len() > MAX_COUNTABLE_BYTES
            || !letters.chars().all(allowed)
        {
            return Err(MalformedCountable::Name { name });
        }
        if COUNTED_OTHERWISE.contains(&letters) {
            return Err(MalformedCountable::CountedOtherwise { name });
        }
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(MalformedCountable::Count { name, count: count.to_string() });
        }
        if self.0.contains_key(&name) {
            return Err(MalformedCountable::Twice { name });
        }
        if self.0.len() >= MAX_COUNTABLES {
            return Err(MalformedCountable::TooMany);
        }
        self.0.insert(name, count);
        Ok(())
    }

    /// All of these.
    ///
    /// # Errors
    /// When there are too many, or one comes twice.
    pub fn of(countables: &[Countable]) -> Result<Countables, MalformedCountable> {
        let mut all = Countables::new();
        for Countable { name, count } in countables {
            all.insert(name, *count)?;
        }
        Ok(all)
    }

    /// Name and count of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// How many there are of a name.
    pub fn count(&self, name: &str) -> u32 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often `each` fits; `u32::MAX` when it takes nothing.
    pub fn slots(&self, each: &Countables) -> u32 {
        let slots = each.iter().map(|(name, count)| self.count(name) / count.max(1));
        slots.min().unwrap_or(u32::MAX)
    }

    /// These `slots` times.
    pub fn times(&self, slots: u32) -> Countables {
        self.iter().map(|(name, count)| (name, count.saturating_mul(slots))).collect()
    }

    /// What is left without `used`.
    pub fn without(&self, used: &Countables) -> Countables {
        self.iter().map(|(name, count)| (name, count.saturating_sub(used.count(name)))).collect()
    }

    /// Both together.
    pub fn plus(&self, more: &Countables) -> Countables {
        self.with(more, u32::saturating_add)
    }

    /// The larger of each.
    pub fn most(&self, other: &Countables) -> Countables {
        self.with(other, u32::max)
    }

    /// Whether there is as much of everything that `part` has.
    pub fn covers(&self, part: &Countables) -> bool {
        part.iter().all(|(name, count)| count <= self.count(name))
    }

    fn with(&self, other: &Countables, join: impl Fn(u32, u32) -> u32) -> Countables {
        let names = self.0.keys().chain(other.0.keys());
        names.map(|name| (name.as_str(), join(self.count(name), other.count(name)))).collect()
    }

    /// As they go over the wire, by name.
    pub fn to_wire(&self) -> Vec<wire::Countable> {
        self.iter().map(|(name, count)| wire::Countable { name: name.to_owned(), count }).collect()
    }
}

impl TryFrom<Vec<wire::Countable>> for Countables {
    type Error = MalformedCountable;

    fn try_from(wire: Vec<wire::Countable>) -> Result<Countables, MalformedCountable> {
        let mut countables = Countables::new();
        for wire::Countable { name, count } in wire {
            countables.insert(&name, count)?;
        }
        Ok(countables)
    }
}

/// Leaves out what is 0.
impl<'a> FromIterator<(&'a str, u32)> for Countables {
    fn from_iter<I: IntoIterator<Item = (&'a str, u32)>>(counts: I) -> Countables {
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        Countables(counts.map(|(name, count)| (name.to_owned(), count)).collect())
    }
}

/// One of them, as `NAME=COUNT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Countable {
    /// Its name.
    pub name: String,
    /// How many.
    pub count: u32,
}

impl FromStr for Countable {
    type Err = MalformedCountable;

    fn from_str(text: &str) -> Result<Countable, MalformedCountable> {
        let (name, count) = text
            .split_once('=')
            .ok_or_else(|| MalformedCountable::NoCount { text: text.to_owned() })?;
        let number = count.parse().map_err(|_| MalformedCountable::Count {
            name: name.to_owned(),
            count: count.to_owned(),
        })?;
        Countables::new().insert(name, number)?;
        Ok(Countable { name: name.to_owned(), count: number })
    }
}

impl fmt::Display for Countables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{name}={count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[(&str, u32)]) -> Countables {
        counts.iter().copied().collect()
    }

    #[test]
    fn what_is_written_as_name_and_count_is_read() {
        let gpu = "gpu=2".parse::<Countable>();
        assert_eq!(gpu, Ok(Countable { name: "gpu".to_owned(), count: 2 }));
        for (text, why) in [
            ("gpu", "lacks a count"),
            ("=1", "no name"),
            ("GPU=1", "no name"),
            ("9=1", "no name"),
            ("a b=1", "no name"),
            ("cpu=1", "counted already"),
            ("gpu=0", "1 to 1000000"),
            ("gpu=-1", "1 to 1000000"),
            ("gpu=1.5", "1 to 1000000"),
            ("gpu=1000001", "1 to 1000000"),
            ("gpu=99999999999", "1 to 1000000"),
        ] {
            let error = text.parse::<Countable>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(format!("{}=1", "a".repeat(33)).parse::<Countable>().is_err());
    }

    #[test]
    fn a_name_comes_once_and_names_are_few() {
        let mut countables = Countables::new();
        for number in 0..MAX_COUNTABLES {
            countables.insert(&format!("a{number}"), 1).expect("room");
        }
        assert_eq!(countables.insert("b", 1), Err(MalformedCountable::TooMany));
        let twice = MalformedCountable::Twice { name: "a0".to_owned() };
        assert_eq!(countables.insert("a0", 1), Err(twice));
    }

    #[test]
    fn arithmetic_goes_name_by_name_and_keeps_no_zeros() {
        let (has, part) = (of(&[("fpga", 1), ("gpu", 4)]), of(&[("gpu", 3)]));
        assert_eq!(has.without(&part), of(&[("fpga", 1), ("gpu", 1)]));
        assert_eq!(part.without(&has), Countables::new());
        assert_eq!(part.plus(&has), of(&[("fpga", 1), ("gpu", 7)]));
        assert_eq!(part.most(&has), has);
        assert_eq!(part.times(2), of(&[("gpu", 6)]));
        assert!(has.covers(&part) && !part.covers(&has));
        assert!(!has.covers(&of(&[("tpu", 1)])));
        assert_eq!(has.slots(&part), 1);
        assert_eq!(has.slots(&of(&[("tpu", 1)])), 0);
        assert_eq!(has.slots(&Countables::new()), u32::MAX);
    }
}
