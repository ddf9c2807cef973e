//! Whether a lease fits beside those that an agent holds already: the arithmetic, and the reason why not.
//!
//! The leader counts the same way and grants nothing that does not fit; this is for the day when it
//! does, through a fault or because it remembers another offer. What an agent took on regardless
//! would take memory that other tasks were promised. The caller is the `session`.

use weir_proto::{
    agent::AgentDescription, id::StageId, lease::Lease, limits::Resources, metering::Metering,
    units::short_bytes,
};

use crate::pool::MAX_SANDBOXES;

/// What a lease takes at most: never more slots than it has tasks that can still run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What each of its tasks takes.
    pub each: Resources,
    /// How many of them run at once.
    pub slots: u32,
    /// How many of them have not ended.
    pub tasks: u32,
    /// How many of those stand still: they take no core.
    pub paused: u32,
}

impl Taken {
    fn at_once(&self) -> u32 {
        self.slots.min(self.tasks)
    }

    fn takes(&self) -> Resources {
        let moving = self.slots.min(self.tasks.saturating_sub(self.paused));
        let cpu_millis = self.each.times(moving).cpu_millis;
        Resources { cpu_millis, ..self.each.times(self.at_once()) }
    }
}

/// Why a lease is not taken on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its tasks are to run as this agent runs none.
    #[error("the lease is for profile {wanted:?}, and this agent runs {has:?}")]
    Profile {
        /// What it asks for.
        wanted: String,
        /// What there is.
        has: String,
    },
    /// Its tasks are to be metered as this agent meters none.
    #[error("the lease is for tasks metered by {metering}, and this agent runs none of those")]
    Metering {
        /// How they are to be metered.
        metering: Metering,
    },
    /// It is of a term in which its leader does not lead.
    #[error("the lease is of term {wanted}, and its leader leads in term {newest}")]
    Term {
        /// Its term.
        wanted: u64,
        /// The newest term in which a leader welcomed this agent.
        newest: u64,
    },
    /// Another lease of this name is here.
    #[error("the lease is for {wanted}, and one of the same name is here for {has}")]
    Stage {
        /// What it is for.
        wanted: StageId,
        /// What the other one is for.
        has: StageId,
    },
    /// It takes more than is left of the offer.
    #[error("a lease of {slots} slots with {each} each does not fit: {left} are free")]
    DoesNotFit {
        /// How many of its tasks would run at once.
        slots: u32,
        /// What each of them takes.
        each: Resources,
        /// What there is too little of, with what is there.
        left: String,
    },
}

/// Decides whether an agent can run what a lease is for, whatever else it runs.
///
/// # Errors
/// `Metering` or `Profile`, for the leader.
pub fn check_profile(agent: &AgentDescription, lease: &Lease) -> Result<(), Refusal> {
    let metering = lease.spec.metering;
    let has = agent.profile_for(metering).ok_or(Refusal::Metering { metering })?;
    if lease.profile != has {
        return Err(Refusal::Profile { wanted: lease.profile.clone(), has: has.to_owned() });
    }
    Ok(())
}

/// Decides whether an agent that holds leases which take `held` takes on one that takes `wanted`.
///
/// # Errors
/// The reason why not, for the leader.
pub fn admit(
    agent: &AgentDescription,
    held: impl Iterator<Item = Taken>,
    wanted: Taken,
) -> Result<(), Refusal> {
    let (mut used, mut sandboxes) = (Resources::default(), 0u32);
    for taken in held {
        used = used.plus(&taken.takes());
        sandboxes = sandboxes.saturating_add(taken.at_once());
    }
    let (slots, needs) = (wanted.at_once(), wanted.takes());
    let free = MAX_SANDBOXES.saturating_sub(sandboxes);
    let left = match shortage(&agent.resources, &used, &needs) {
        Some(left) => left,
        None if slots > free => format!("{free} of {MAX_SANDBOXES} sandboxes"),
        None => return Ok(()),
    };
    Err(Refusal::DoesNotFit { slots, each: wanted.each, left })
}

/// What there is too little of, with how much of it is left; `None` when there is enough of all.
fn shortage(has: &Resources, used: &Resources, needs: &Resources) -> Option<String> {
    let free = has.without(used);
    let cores = |resources: &Resources| f64::from(resources.cpu_millis) / 1000.0;
    if needs.cpu_millis > free.cpu_millis {
        return Some(format!("{} of {} cores", cores(&free), cores(has)));
    }
    let bytes = |resources: &Resources| short_bytes(resources.memory_bytes);
    if needs.memory_bytes > free.memory_bytes {
        return Some(format!("{} of {} of memory", bytes(&free), bytes(has)));
    }
    let count = |resources: &Resources, name: &str| resources.countables.count(name);
    let mut countables = needs.countables.iter();
    let (name, _) = countables.find(|(name, needed)| *needed > count(&free, name))?;
    Some(format!("{} of {} {name}", count(&free, name), count(has, name)))
}

#[cfg(test)]
mod tests {
    use weir_proto::id::{AgentId, Incarnation};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn resources(cpu_millis: u32, gib: u64, gpus: u32) -> Resources {
        let countables = [("gpu", gpus)].into_iter().collect();
        Resources { countables, ..Resources::new(cpu_millis, gib * GIB) }
    }

    fn agent(resources: Resources) -> AgentDescription {
        AgentDescription {
            id: AgentId(1),
            incarnation: Incarnation(1),
            name: "a".to_owned(),
            architecture: "x86_64".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: None,
            resources,
            fuel_per_second: 1,
            version: "0".to_owned(),
        }
    }

    fn taken(slots: u32, tasks: u32, each: Resources) -> Taken {
        Taken { each, slots, tasks, paused: 0 }
    }

    /// What is said of a lease of 1,000 tasks beside one that is held.
    fn said(has: Resources, held: Taken, slots: u32, each: Resources) -> Option<String> {
        let wanted = taken(slots, 1_000, each);
        let admitted = admit(&agent(has), [held].into_iter(), wanted);
        admitted.err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn a_lease_is_taken_on_up_to_the_last_of_each_resource() {
        let held = taken(2, 9, resources(1_000, 1, 1));
        assert_eq!(said(resources(6_000, 6, 6), held, 4, resources(1_000, 1, 1)), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_is_free() {
        let held = || taken(1, 1, resources(500, 13, 1));
        for (has, slots, each, left) in [
            (
                resources(40_500, 16, 1),
                40,
                resources(1_000, 1, 0),
                "3.00 GiB of 16.0 GiB of memory",
            ),
            (resources(4_000, 16, 1), 4, resources(1_000, 0, 0), "3.5 of 4 cores"),
            (resources(4_000, 16, 4), 2, resources(10, 0, 2), "3 of 4 gpu"),
            (resources(4_000, 16, 0), 1, resources(10, 0, 1), "0 of 0 gpu"),
        ] {
            let said = said(has, held(), slots, each).expect("it does not fit");
            assert!(said.contains(&format!("lease of {slots} slots")), "{said}");
            assert!(said.ends_with(&format!("does not fit: {left} are free")), "{said}");
        }
    }

    #[test]
    fn slots_without_tasks_take_nothing() {
        let held = taken(4, 1, resources(1_000, 1, 0));
        assert_eq!(said(resources(4_000, 4, 0), held, 3, resources(1_000, 1, 0)), None);
        let one = admit(
            &agent(resources(1_000, 1, 0)),
            std::iter::empty(),
            taken(4, 1, resources(1_000, 1, 0)),
        );
        assert_eq!(one, Ok(()));
    }

    #[test]
    fn who_stands_still_keeps_its_memory_and_no_core() {
        let held = || Taken { paused: 2, ..taken(2, 2, resources(1_000, 1, 1)) };
        assert_eq!(said(resources(2_000, 4, 2), held(), 2, resources(1_000, 1, 0)), None);
        let said = said(resources(2_000, 3, 2), held(), 2, resources(1_000, 1, 0));
        assert!(said.expect("no memory").ends_with("1.00 GiB of 3.00 GiB of memory are free"));
    }

    #[test]
    fn no_more_sandboxes_are_promised_than_a_pool_can_have() {
        let held = taken(MAX_SANDBOXES - 1, u32::MAX, resources(10, 0, 0));
        let has = resources(u32::MAX, 1, 0);
        assert_eq!(said(has.clone(), held.clone(), 1, resources(10, 0, 0)), None);
        let said = said(has, held, 2, resources(10, 0, 0)).expect("one too many");
        assert!(said.ends_with("1 of 10000 sandboxes are free"), "{said}");
    }
}
