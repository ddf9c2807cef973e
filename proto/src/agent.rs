//! What an agent says of itself, and the messages of a session between agent and leader.

use crate::{
    countable::Countables,
    digest::Digest,
    id::{AgentId, ClusterId, Incarnation, JobId, LeaseId, Namespace, StageId, TaskId},
    job::StageSpec,
    lease::{Lease, LeaseMarks},
    limits::Resources,
    malformed::{Malformed, required},
    metering::Metering,
    range::{RangeSet, TaskRange},
    wire,
};

/// Longest name, architecture, profile or version of an agent, in bytes.
const MAX_WORD_BYTES: usize = 256;

/// What an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDescription {
    /// Its lasting name.
    pub id: AgentId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// For people; the host's name by default.
    pub name: String,
    /// Of its processor: `x86_64`.
    pub architecture: String,
    /// The sandbox profile of its tasks that are metered by fuel: `weir-1`.
    pub profile: String,
    /// That of its tasks that are metered by epochs: `weir-1-epoch`. None where it runs no such tasks.
    pub epoch_profile: Option<String>,
    /// What it has for tasks.
    pub resources: Resources,
    /// Fuel that one core burns in a second, as last measured.
    pub fuel_per_second: u64,
    /// Of its binary.
    pub version: String,
}

/// What an agent tells the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// The first message of a session.
    Hello {
        /// Who speaks.
        agent: AgentDescription,
        /// What still runs there after a reconnect.
        held: Vec<LeaseMarks>,
        /// Counts the connections of this life, from 1: what one tells says nothing of later ones.
        connection: u64,
    },
    /// Signs of life, and how far each lease is.
    Heartbeat(Vec<LeaseMarks>),
    /// Results, until the leader says that they are stored.
    Pages {
        /// The pages, ascending by `seq`.
        pages: Vec<SequencedPage>,
        /// How far their leases are.
        leases: Vec<LeaseMarks>,
    },
    /// Tasks that this agent does not run.
    Returned {
        /// The lease they came with.
        lease: LeaseId,
        /// The tasks.
        range: TaskRange,
        /// Why it cannot; none where the leader asked for them.
        reason: Option<String>,
    },
    /// Output of running tasks, advisory.
    Live(Vec<LiveChunk>),
    /// Before the hello: results of an earlier life of the agent, which nobody has said are stored.
    Kept {
        /// Who speaks.
        agent: AgentId,
        /// Where their tasks came from.
        cluster: ClusterId,
        /// The pages, ascending by `seq`.
        pages: Vec<KeptPage>,
    },
    /// It takes no more tasks, and leaves when what may not begin again has ended.
    Stopping,
    /// Its last message: nothing runs there any more, and what it still holds is free.
    Leaving {
        /// But for these: they run at most once, and have begun.
        abandoned: Vec<(LeaseId, RangeSet)>,
    },
    /// What came of a module that it was to compile.
    Precompiled {
        /// The module.
        module: Digest,
        /// For tasks that are metered so.
        metering: Metering,
        /// What came of it.
        came: Precompiled,
    },
    /// What one core burns in a second, measured again while there was nothing to do; never 0.
    Calibrated {
        /// The fuel.
        fuel_per_second: u64,
    },
}

/// What came of a module that an agent was to compile before tasks need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precompiled {
    /// Tasks can run it at once.
    Ready,
    /// Tasks can never run it there.
    Refused {
        /// Why.
        reason: String,
    },
    /// It could not be compiled now, whatever it is.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A page on its way to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencedPage {
    /// Counts up from 1 within an incarnation.
    pub seq: u64,
    /// The lease that its tasks came with.
    pub lease: LeaseId,
    /// The encoded page.
    pub page: Vec<u8>,
}

/// A page of an earlier life of the agent, on its way to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPage {
    /// As in [`SequencedPage`].
    pub seq: u64,
    /// The encoded page.
    pub page: Vec<u8>,
}

/// Some output of a running task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveChunk {
    /// Who wrote it.
    pub task: TaskId,
    /// Whether it is of stderr, not stdout.
    pub stderr: bool,
    /// Where in that stream it begins.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What the leader tells an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterMessage {
    /// The answer to `Hello`.
    Welcome {
        /// The cluster the agent is now part of.
        cluster: ClusterId,
        /// How often the leader wants to hear from it, in milliseconds.
        heartbeat_ms: u64,
        /// In which it leads: the session's leases are of this term or, where it has taken them over,
        /// of earlier ones.
        term: u64,
    },
    /// New leases, or more tasks for known ones.
    Grants(Vec<Lease>),
    /// Pages that the agent may forget.
    PagesStored(Vec<u64>),
    /// Leases whose tasks are no longer wanted.
    Revoke(Vec<LeaseId>),
    /// Which tasks of leases stand still; each replaces what was said before of its lease. Those that
    /// run keep their memory, and their timeouts stand still; those that do not are given back.
    Pause(Vec<(LeaseId, RangeSet)>),
    /// Tasks to be given back, as far as they have not begun: another agent has nothing to do.
    Recall(Vec<(LeaseId, RangeSet)>),
    /// Whether to give back what has not begun, and to leave when the rest has ended.
    Drain(bool),
    /// A module to compile when nobody who has tasks wants to compile.
    Precompile {
        /// Whose it is.
        namespace: Namespace,
        /// The module.
        module: Digest,
        /// For tasks that are metered so.
        metering: Metering,
    },
}

impl AgentDescription {
    /// The profile that its tasks have which are metered so, if it runs any.
    pub fn profile_for(&self, metering: Metering) -> Option<&str> {
        match metering {
            Metering::Fuel => Some(&self.profile),
            Metering::Epoch => self.epoch_profile.as_deref(),
        }
    }

    /// How many tasks of a stage fit into a part of what it has: none where it cannot run them at all.
    pub fn slots_in(&self, part: &Resources, stage: &StageSpec) -> u32 {
        self.profile_for(stage.metering).map_or(0, |_| part.slots(&stage.resources))
    }

    /// How many tasks of a stage it can run at once when it runs nothing else.
    pub fn slots(&self, stage: &StageSpec) -> u32 {
        self.slots_in(&self.resources, stage)
    }
}

impl From<AgentDescription> for wire::AgentDescription {
    fn from(agent: AgentDescription) -> wire::AgentDescription {
        wire::AgentDescription {
            id: agent.id.0,
            incarnation: agent.incarnation.0,
            name: agent.name,
            architecture: agent.architecture,
            profile: agent.profile,
            epoch_profile: agent.epoch_profile,
            cpu_millis: agent.resources.cpu_millis,
            memory_bytes: agent.resources.memory_bytes,
            fuel_per_second: agent.fuel_per_second,
            version: agent.version,
            countables: agent.resources.countables.to_wire(),
        }
    }
}

impl TryFrom<wire::AgentDescription> for AgentDescription {
    type Error = Malformed;

    fn try_from(wire: wire::AgentDescription) -> Result<AgentDescription, Malformed> {
        let words = [&wire.name, &wire.architecture, &wire.profile, &wire.version];
        for word in words.into_iter().chain(&wire.epoch_profile) {
            if word.len() > MAX_WORD_BYTES || word.chars().any(char::is_control) {
                let why = format!("{word:?} is long or has control characters");
                return Err(Malformed::invalid("an agent's description", why));
            }
        }
        if wire.cpu_millis == 0 {
            return Err(Malformed::invalid("an agent's description", "it has no cpu"));
        }
        Ok(AgentDescription {
            id: AgentId(wire.id),
            incarnation: Incarnation(wire.incarnation),
            name: wire.name,
            architecture: wire.architecture,
            profile: wire.profile,
            epoch_profile: wire.epoch_profile,
            resources: Resources {
                cpu_millis: wire.cpu_millis,
                memory_bytes: wire.memory_bytes,
                countables: Countables::try_from(wire.countables)?,
            },
            fuel_per_second: wire.fuel_per_second,
            version: wire.version,
        })
    }
}

pub(crate) fn tasks_to_wire(leases: Vec<(LeaseId, RangeSet)>) -> Vec<wire::LeasedTasks> {
    let leases = leases.into_iter().map(|(lease, tasks)| wire::LeasedTasks {
        lease: Some(lease.into()),
        tasks: tasks.to_wire(),
    });
    leases.collect()
}

pub(crate) fn tasks_from_wire(
    leases: Vec<wire::LeasedTasks>,
) -> Result<Vec<(LeaseId, RangeSet)>, Malformed> {
    let leases = leases.into_iter().map(|leased| {
        let lease = required(leased.lease, "a lease's id")?.into();
        Ok((lease, RangeSet::from_wire(&leased.tasks)?))
    });
    leases.collect()
}

fn marks_to_wire(marks: Vec<LeaseMarks>) -> Vec<wire::LeaseMarks> {
    marks.into_iter().map(wire::LeaseMarks::from).collect()
}

fn marks_from_wire(marks: Vec<wire::LeaseMarks>) -> Result<Vec<LeaseMarks>, Malformed> {
    marks.into_iter().map(LeaseMarks::try_from).collect()
}

impl From<AgentMessage> for wire::AgentMessage {
    fn from(message: AgentMessage) -> wire::AgentMessage {
        use wire::agent_message::Body;
        let body = match message {
            AgentMessage::Hello { agent, held, connection } => Body::Hello(wire::Hello {
                agent: Some(agent.into()),
                held: marks_to_wire(held),
                connection,
            }),
            AgentMessage::Heartbeat(leases) => {
                Body::Heartbeat(wire::Heartbeat { leases: marks_to_wire(leases) })
            }
            AgentMessage::Pages { pages, leases } => {
                let pages = pages.into_iter().map(|page| wire::SequencedPage {
                    seq: page.seq,
                    lease: Some(page.lease.into()),
                    page: page.page,
                });
                Body::Pages(wire::PageReport {
                    pages: pages.collect(),
                    leases: marks_to_wire(leases),
                })
            }
            AgentMessage::Returned { lease, range, reason } => Body::Returned(wire::Returned {
                lease: Some(lease.into()),
                range: Some(range.into()),
                reason,
            }),
            AgentMessage::Live(chunks) => Body::Live(wire::LiveOutput {
                chunks: chunks.into_iter().map(wire::LiveChunk::from).collect(),
            }),
            AgentMessage::Kept { agent, cluster, pages } => {
                let pages = pages.into_iter();
                let pages = pages.map(|KeptPage { seq, page }| wire::KeptPage { seq, page });
                Body::Kept(wire::KeptPages {
                    agent: agent.0,
                    cluster: cluster.0,
                    pages: pages.collect(),
                })
            }
            AgentMessage::Stopping => Body::Stopping(wire::Stopping {}),
            AgentMessage::Leaving { abandoned } => {
                Body::Leaving(wire::Leaving { abandoned: tasks_to_wire(abandoned) })
            }
            AgentMessage::Precompiled { module, metering, came } => {
                Body::Precompiled(wire::ModulePrecompiled {
                    module: module.0.to_vec(),
                    came: Some(came.into()),
                    metering: metering.to_wire(),
                })
            }
            AgentMessage::Calibrated { fuel_per_second } => {
                Body::Calibrated(wire::Calibrated { fuel_per_second })
            }
        };
        wire::AgentMessage { body: Some(body) }
    }
}

impl TryFrom<wire::AgentMessage> for AgentMessage {
    type Error = Malformed;

    fn try_from(wire: wire::AgentMessage) -> Result<AgentMessage, Malformed> {
        use wire::agent_message::Body;
        Ok(match required(wire.body, "an agent's message")? {
            Body::Hello(wire::Hello { agent, held, connection }) => AgentMessage::Hello {
                agent: required(agent, "an agent's description")?.try_into()?,
                held: marks_from_wire(held)?,
                connection,
            },
            Body::Heartbeat(wire::Heartbeat { leases }) => {
                AgentMessage::Heartbeat(marks_from_wire(leases)?)
            }
            Body::Pages(wire::PageReport { pages, leases }) => {
                let pages = pages.into_iter().map(|page| {
                    let lease = required(page.lease, "a page's lease")?.into();
                    Ok(SequencedPage { seq: page.seq, lease, page: page.page })
                });
                AgentMessage::Pages {
                    pages: pages.collect::<Result<_, Malformed>>()?,
                    leases: marks_from_wire(leases)?,
                }
            }
            Body::Returned(wire::Returned { lease, range, reason }) => AgentMessage::Returned {
                lease: required(lease, "a lease's id")?.into(),
                range: required(range, "a range of tasks")?.try_into()?,
                reason,
            },
            Body::Live(wire::LiveOutput { chunks }) => {
                AgentMessage::Live(chunks.into_iter().map(LiveChunk::from).collect())
            }
            Body::Kept(wire::KeptPages { agent, cluster, pages }) => {
                let pages = pages.into_iter();
                let pages = pages.map(|wire::KeptPage { seq, page }| KeptPage { seq, page });
                AgentMessage::Kept {
                    agent: AgentId(agent),
                    cluster: ClusterId(cluster),
                    pages: pages.collect(),
                }
            }
            Body::Stopping(wire::Stopping {}) => AgentMessage::Stopping,
            Body::Leaving(wire::Leaving { abandoned }) => {
                AgentMessage::Leaving { abandoned: tasks_from_wire(abandoned)? }
            }
            Body::Precompiled(wire::ModulePrecompiled { module, came, metering }) => {
                AgentMessage::Precompiled {
                    module: Digest::try_from(&module[..])?,
                    metering: Metering::from_wire(metering)?,
                    came: required(came, "what came of a module")?.try_into()?,
                }
            }
            Body::Calibrated(wire::Calibrated { fuel_per_second }) => {
                if fuel_per_second == 0 {
                    return Err(Malformed::invalid("a machine's speed", "it burns no fuel"));
                }
                AgentMessage::Calibrated { fuel_per_second }
            }
        })
    }
}

impl From<Precompiled> for wire::Precompiled {
    fn from(came: Precompiled) -> wire::Precompiled {
        use wire::precompiled::Result;
        let result = match came {
            Precompiled::Ready => Result::Ready(wire::Ready {}),
            Precompiled::Refused { reason } => Result::Refused(reason),
            Precompiled::Failed { reason } => Result::Failed(reason),
        };
        wire::Precompiled { result: Some(result) }
    }
}

impl TryFrom<wire::Precompiled> for Precompiled {
    type Error = Malformed;

    fn try_from(wire: wire::Precompiled) -> Result<Precompiled, Malformed> {
        use wire::precompiled::Result;
        Ok(match required(wire.result, "what came of a module")? {
            Result::Ready(wire::Ready {}) => Precompiled::Ready,
            Result::Refused(reason) => Precompiled::Refused { reason },
            Result::Failed(reason) => Precompiled::Failed { reason },
        })
    }
}

impl From<LiveChunk> for wire::LiveChunk {
    fn from(chunk: LiveChunk) -> wire::LiveChunk {
        wire::LiveChunk {
            job: chunk.task.stage.job.0,
            stage: chunk.task.stage.stage,
            index: chunk.task.index,
            stderr: chunk.stderr,
            offset: chunk.offset,
            data: chunk.data,
        }
    }
}

impl From<wire::LiveChunk> for LiveChunk {
    fn from(wire: wire::LiveChunk) -> LiveChunk {
        let stage = StageId { job: JobId(wire.job), stage: wire.stage };
        LiveChunk {
            task: stage.task(wire.index),
            stderr: wire.stderr,
            offset: wire.offset,
            data: wire.data,
        }
    }
}

impl From<MasterMessage> for wire::MasterMessage {
    fn from(message: MasterMessage) -> wire::MasterMessage {
        use wire::master_message::Body;
        let body = match message {
            MasterMessage::Welcome { cluster, heartbeat_ms, term } => {
                Body::Welcome(wire::Welcome { cluster: cluster.0, heartbeat_ms, term })
            }
            MasterMessage::Grants(leases) => Body::Grants(wire::Grants {
                leases: leases.into_iter().map(wire::Lease::from).collect(),
            }),
            MasterMessage::PagesStored(seqs) => Body::PagesStored(wire::PagesStored { seqs }),
            MasterMessage::Revoke(leases) => Body::Revoke(wire::Revoke {
                leases: leases.into_iter().map(wire::LeaseId::from).collect(),
            }),
            MasterMessage::Drain(draining) => Body::Drain(wire::Drain { draining }),
            MasterMessage::Pause(leases) => {
                Body::Pause(wire::Pause { leases: tasks_to_wire(leases) })
            }
            MasterMessage::Recall(leases) => {
                Body::Recall(wire::Recall { leases: tasks_to_wire(leases) })
            }
            MasterMessage::Precompile { namespace, module, metering } => {
                Body::Precompile(wire::Precompile {
                    namespace: namespace.as_str().to_owned(),
                    module: module.0.to_vec(),
                    metering: metering.to_wire(),
                })
            }
        };
        wire::MasterMessage { body: Some(body) }
    }
}

impl TryFrom<wire::MasterMessage> for MasterMessage {
    type Error = Malformed;

    fn try_from(wire: wire::MasterMessage) -> Result<MasterMessage, Malformed> {
        use wire::master_message::Body;
        Ok(match required(wire.body, "a master's message")? {
            Body::Welcome(wire::Welcome { cluster, heartbeat_ms, term }) => {
                MasterMessage::Welcome { cluster: ClusterId(cluster), heartbeat_ms, term }
            }
            Body::Grants(wire::Grants { leases }) => {
                let leases = leases.into_iter().map(Lease::try_from);
                MasterMessage::Grants(leases.collect::<Result<_, _>>()?)
            }
            Body::PagesStored(wire::PagesStored { seqs }) => MasterMessage::PagesStored(seqs),
            Body::Revoke(wire::Revoke { leases }) => {
                MasterMessage::Revoke(leases.into_iter().map(LeaseId::from).collect())
            }
            Body::Drain(wire::Drain { draining }) => MasterMessage::Drain(draining),
            Body::Pause(wire::Pause { leases }) => MasterMessage::Pause(tasks_from_wire(leases)?),
            Body::Recall(wire::Recall { leases }) => {
                MasterMessage::Recall(tasks_from_wire(leases)?)
            }
            Body::Precompile(wire::Precompile { namespace, module, metering }) => {
                MasterMessage::Precompile {
                    namespace: namespace.parse()?,
                    module: Digest::try_from(&module[..])?,
                    metering: Metering::from_wire(metering)?,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> AgentDescription {
        AgentDescription {
            id: AgentId(1),
            incarnation: Incarnation(2),
            name: "rack-1".to_owned(),
            architecture: "x86_64".to_owned(),
            profile: "weir-1".to_owned(),
            epoch_profile: Some("weir-1-epoch".to_owned()),
            resources: Resources {
                countables: [("gpu", 4)].into_iter().collect(),
                ..Resources::new(8_000, 1 << 34)
            },
            fuel_per_second: 5,
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn an_agent_reads_back_as_it_was_written() {
        let wire = wire::AgentDescription::from(description());
        assert_eq!(AgentDescription::try_from(wire), Ok(description()));
    }

    #[test]
    fn an_agent_of_before_there_were_countables_has_none() {
        let mut wire = wire::AgentDescription::from(description());
        wire.countables.clear();
        let read = AgentDescription::try_from(wire).expect("an agent");
        assert_eq!(read.resources, Resources::new(8_000, 1 << 34));
    }

    #[test]
    fn an_agent_of_before_there_was_a_choice_meters_by_fuel_alone() {
        let stage = |metering| StageSpec { metering, ..StageSpec::new("main", Digest::of(b"m")) };
        let slots = |agent: &AgentDescription| Metering::ALL.map(|how| agent.slots(&stage(how)));
        assert_eq!(slots(&description()), [8, 8]);
        let mut wire = wire::AgentDescription::from(description());
        wire.epoch_profile = None;
        let read = AgentDescription::try_from(wire).expect("an agent");
        assert_eq!(Metering::ALL.map(|how| read.profile_for(how)), [Some("weir-1"), None]);
        assert_eq!(slots(&read), [8, 0]);
    }

    #[test]
    fn a_profile_that_is_no_word_is_refused() {
        let mut wire = wire::AgentDescription::from(description());
        wire.epoch_profile = Some("a\u{1b}[m".to_owned());
        assert!(AgentDescription::try_from(wire).is_err());
    }

    #[test]
    fn a_machine_without_any_speed_is_refused() {
        let read = |fuel_per_second| {
            let message = AgentMessage::Calibrated { fuel_per_second };
            AgentMessage::try_from(wire::AgentMessage::from(message))
        };
        assert_eq!(read(7), Ok(AgentMessage::Calibrated { fuel_per_second: 7 }));
        assert!(read(0).is_err());
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for (name, count) in [("gpu", 0), ("", 1), ("cpu", 1), ("a\u{1b}[m", 1)] {
            let mut wire = wire::AgentDescription::from(description());
            wire.countables = vec![wire::Countable { name: name.to_owned(), count }];
            assert!(AgentDescription::try_from(wire).is_err(), "{name:?}={count}");
        }
    }
}
