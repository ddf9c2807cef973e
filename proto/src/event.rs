//! What happened to a cluster as a whole: jobs that came and went, agents, names.

use std::fmt;

use crate::{
    id::{AgentId, ClusterId, JobId, Namespace},
    job::InputSource,
    malformed::{Malformed, required},
    name::Name,
    units::grouped,
    weight::{Weight, weight_from_wire, weight_to_wire},
    wire,
};

/// A place in the history of committed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Of the log entry.
    pub index: u64,
    /// Within what the entry brought.
    pub sub: u32,
}

/// Something that happened, committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEvent {
    /// Its place in history.
    pub position: Position,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// The cluster got its name.
    ClusterCreated(ClusterId),
    /// A job was accepted.
    JobSubmitted {
        /// Which.
        job: JobId,
        /// What it is called.
        name: String,
        /// Whose it is.
        namespace: Namespace,
        /// How many tasks it has.
        tasks: u32,
        /// The job of which it runs again what did not succeed.
        retry_of: Option<JobId>,
    },
    /// Every task of a job has a result.
    JobEnded {
        /// Which.
        job: JobId,
        /// What it is called.
        name: String,
        /// Whose it is.
        namespace: Namespace,
        /// Tasks that succeeded.
        succeeded: u32,
        /// Tasks that did not.
        unsuccessful: u32,
        /// Whether somebody cancelled it.
        cancelled: bool,
    },
    /// Somebody lets tasks of a job stand still, or go on.
    JobPaused {
        /// Which.
        job: JobId,
        /// What it is called.
        name: String,
        /// Whose it is.
        namespace: Namespace,
        /// How many tasks.
        tasks: u32,
        /// Whether they stand still.
        paused: bool,
    },
    /// A job was removed.
    JobRemoved(JobId),
    /// An agent registered.
    AgentJoined {
        /// Which.
        agent: AgentId,
        /// What it is called.
        name: String,
    },
    /// An agent was given up.
    AgentLost {
        /// Which.
        agent: AgentId,
        /// What it is called.
        name: String,
    },
    /// An agent stopped, and gave back what it had.
    AgentLeft {
        /// Which.
        agent: AgentId,
        /// What it is called.
        name: String,
    },
    /// Somebody lets an agent finish what it has and leave, or go on after all.
    AgentDrained {
        /// Which.
        agent: AgentId,
        /// What it is called.
        name: String,
        /// Whether it is to leave.
        draining: bool,
    },
    /// A namespace has another share of the cluster.
    WeightChanged {
        /// Which.
        namespace: Namespace,
        /// Its weight from now on.
        weight: Weight,
    },
    /// A name points elsewhere.
    NameChanged {
        /// Whose name it is.
        namespace: Namespace,
        /// The name.
        name: Name,
        /// Where it points now; absent: it was removed.
        target: Option<InputSource>,
    },
}

impl Happened {
    /// A stable word for programs: `job_submitted`.
    pub fn word(&self) -> &'static str {
        match self {
            Happened::ClusterCreated(_) => "cluster_created",
            Happened::JobSubmitted { .. } => "job_submitted",
            Happened::JobEnded { .. } => "job_ended",
            Happened::JobPaused { paused: true, .. } => "job_paused",
            Happened::JobPaused { paused: false, .. } => "job_resumed",
            Happened::JobRemoved(_) => "job_removed",
            Happened::AgentJoined { .. } => "agent_joined",
            Happened::AgentLost { .. } => "agent_lost",
            Happened::AgentLeft { .. } => "agent_left",
            Happened::AgentDrained { draining: true, .. } => "agent_draining",
            Happened::AgentDrained { draining: false, .. } => "agent_drain_cancelled",
            Happened::WeightChanged { .. } => "weight_changed",
            Happened::NameChanged { .. } => "name_changed",
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happened::ClusterCreated(cluster) => write!(f, "{cluster} was created"),
            Happened::JobSubmitted { job, name, tasks, retry_of, .. } => {
                let plural = if *tasks == 1 { "" } else { "s" };
                write!(f, "{job} {name:?} was submitted: {} task{plural}", grouped(*tasks as u64))?;
                match retry_of {
                    Some(earlier) => write!(f, ", again what did not succeed in {earlier}"),
                    None => Ok(()),
                }
            }
            Happened::JobEnded { job, name, succeeded, unsuccessful, cancelled, .. } => {
                let how = match (cancelled, unsuccessful) {
                    (true, _) => "was cancelled",
                    (false, 0) => "succeeded",
                    (false, _) => "failed",
                };
                let all = u64::from(*succeeded) + u64::from(*unsuccessful);
                let (succeeded, all) = (grouped(u64::from(*succeeded)), grouped(all));
                write!(f, "{job} {name:?} {how}: {succeeded} of {all} succeeded")
            }
            Happened::JobPaused { job, name, tasks, paused, .. } => {
                let how = if *paused { "was paused" } else { "goes on" };
                let plural = if *tasks == 1 { "" } else { "s" };
                write!(f, "{job} {name:?} {how}: {} task{plural}", grouped(u64::from(*tasks)))
            }
            Happened::JobRemoved(job) => write!(f, "{job} was removed"),
            Happened::AgentJoined { agent, name } => write!(f, "{agent} {name:?} joined"),
            Happened::AgentLost { agent, name } => write!(f, "{agent} {name:?} was lost"),
            Happened::AgentLeft { agent, name } => write!(f, "{agent} {name:?} left"),
            Happened::AgentDrained { agent, name, draining: true } => {
                write!(f, "{agent} {name:?} is to leave when its tasks have ended")
            }
            Happened::AgentDrained { agent, name, draining: false } => {
                write!(f, "{agent} {name:?} is to stay after all")
            }
            Happened::WeightChanged { namespace, weight } => {
                write!(f, "namespace {namespace} has weight {weight}")
            }
            Happened::NameChanged { name, target: None, .. } => {
                write!(f, "name {name} was removed")
            }
            Happened::NameChanged { name, target: Some(target), .. } => {
                write!(f, "name {name} points at {target}")
            }
        }
    }
}

impl From<Position> for wire::Position {
    fn from(position: Position) -> wire::Position {
        wire::Position { index: position.index, sub: position.sub }
    }
}

impl From<wire::Position> for Position {
    fn from(wire: wire::Position) -> Position {
        Position { index: wire.index, sub: wire.sub }
    }
}

impl From<ClusterEvent> for wire::ClusterEvent {
    fn from(event: ClusterEvent) -> wire::ClusterEvent {
        use wire::cluster_event::Body;
        let text = |namespace: Namespace| namespace.as_str().to_owned();
        let body = match event.happened {
            Happened::ClusterCreated(cluster) => Body::ClusterCreated(cluster.0),
            Happened::JobSubmitted { job, name, namespace, tasks, retry_of } => {
                Body::JobSubmitted(wire::JobSubmitted {
                    job: job.0,
                    name,
                    namespace: text(namespace),
                    tasks,
                    retry_of: retry_of.map(|job| job.0),
                })
            }
            Happened::JobEnded { job, name, namespace, succeeded, unsuccessful, cancelled } => {
                Body::JobEnded(wire::JobEnded {
                    job: job.0,
                    name,
                    namespace: text(namespace),
                    succeeded,
                    unsuccessful,
                    cancelled,
                })
            }
            Happened::JobPaused { job, name, namespace, tasks, paused } => {
                let event =
                    wire::PauseEvent { job: job.0, name, namespace: text(namespace), tasks };
                if paused { Body::JobPaused(event) } else { Body::JobResumed(event) }
            }
            Happened::JobRemoved(job) => Body::JobRemoved(job.0),
            Happened::AgentJoined { agent, name } => {
                Body::AgentJoined(wire::AgentEvent { agent: agent.0, name })
            }
            Happened::AgentLost { agent, name } => {
                Body::AgentLost(wire::AgentEvent { agent: agent.0, name })
            }
            Happened::AgentLeft { agent, name } => {
                Body::AgentLeft(wire::AgentEvent { agent: agent.0, name })
            }
            Happened::AgentDrained { agent, name, draining } => {
                let agent = wire::AgentEvent { agent: agent.0, name };
                if draining { Body::AgentDraining(agent) } else { Body::AgentDrainCancelled(agent) }
            }
            Happened::WeightChanged { namespace, weight } => {
                Body::WeightChanged(weight_to_wire(&namespace, weight))
            }
            Happened::NameChanged { namespace, name, target } => {
                Body::NameChanged(wire::NameChanged {
                    namespace: text(namespace),
                    name: name.as_str().to_owned(),
                    target: target.map(wire::Source::from),
                })
            }
        };
        let position = Some(event.position.into());
        wire::ClusterEvent { position, at_ms: event.at_ms, body: Some(body) }
    }
}

impl TryFrom<wire::ClusterEvent> for ClusterEvent {
    type Error = Malformed;

    fn try_from(wire: wire::ClusterEvent) -> Result<ClusterEvent, Malformed> {
        use wire::cluster_event::Body;
        let happened = match required(wire.body, "an event's body")? {
            Body::ClusterCreated(cluster) => Happened::ClusterCreated(ClusterId(cluster)),
            Body::JobSubmitted(submitted) => Happened::JobSubmitted {
                job: JobId(submitted.job),
                name: submitted.name,
                namespace: submitted.namespace.parse()?,
                tasks: submitted.tasks,
                retry_of: submitted.retry_of.map(JobId),
            },
            Body::JobEnded(ended) => Happened::JobEnded {
                job: JobId(ended.job),
                name: ended.name,
                namespace: ended.namespace.parse()?,
                succeeded: ended.succeeded,
                unsuccessful: ended.unsuccessful,
                cancelled: ended.cancelled,
            },
            Body::JobPaused(event) => job_paused(event, true)?,
            Body::JobResumed(event) => job_paused(event, false)?,
            Body::JobRemoved(job) => Happened::JobRemoved(JobId(job)),
            Body::AgentJoined(agent) => {
                Happened::AgentJoined { agent: AgentId(agent.agent), name: agent.name }
            }
            Body::AgentLost(agent) => {
                Happened::AgentLost { agent: AgentId(agent.agent), name: agent.name }
            }
            Body::AgentLeft(agent) => {
                Happened::AgentLeft { agent: AgentId(agent.agent), name: agent.name }
            }
            Body::AgentDraining(wire::AgentEvent { agent, name }) => {
                Happened::AgentDrained { agent: AgentId(agent), name, draining: true }
            }
            Body::AgentDrainCancelled(wire::AgentEvent { agent, name }) => {
                Happened::AgentDrained { agent: AgentId(agent), name, draining: false }
            }
            Body::WeightChanged(changed) => {
                let (namespace, weight) = weight_from_wire(changed)?;
                Happened::WeightChanged { namespace, weight }
            }
            Body::NameChanged(changed) => Happened::NameChanged {
                namespace: changed.namespace.parse()?,
                name: changed.name.parse()?,
                target: changed.target.map(InputSource::try_from).transpose()?,
            },
        };
        let position = required(wire.position, "an event's position")?.into();
        Ok(ClusterEvent { position, at_ms: wire.at_ms, happened })
    }
}

fn job_paused(event: wire::PauseEvent, paused: bool) -> Result<Happened, Malformed> {
    let wire::PauseEvent { job, name, namespace, tasks } = event;
    Ok(Happened::JobPaused { job: JobId(job), name, namespace: namespace.parse()?, tasks, paused })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let namespace = Namespace::default_namespace;
        let name = || "n".to_owned();
        let (job, agent) = (JobId(7), AgentId(8));
        let target = Some(InputSource::Blob(Digest::of(b"x")));
        let retry_of = Some(JobId(3));
        for happened in [
            Happened::ClusterCreated(ClusterId(1)),
            Happened::JobSubmitted {
                job,
                name: name(),
                namespace: namespace(),
                tasks: 2,
                retry_of,
            },
            Happened::JobEnded {
                job,
                name: name(),
                namespace: namespace(),
                succeeded: 1,
                unsuccessful: 2,
                cancelled: true,
            },
            Happened::JobPaused {
                job,
                name: name(),
                namespace: namespace(),
                tasks: 2,
                paused: true,
            },
            Happened::JobPaused {
                job,
                name: name(),
                namespace: namespace(),
                tasks: 2,
                paused: false,
            },
            Happened::JobRemoved(job),
            Happened::AgentJoined { agent, name: name() },
            Happened::AgentLost { agent, name: name() },
            Happened::AgentLeft { agent, name: name() },
            Happened::AgentDrained { agent, name: name(), draining: true },
            Happened::AgentDrained { agent, name: name(), draining: false },
            Happened::WeightChanged { namespace: namespace(), weight: Weight::default() },
            Happened::NameChanged {
                namespace: namespace(),
                name: "a/b".parse().expect("a name"),
                target,
            },
        ] {
            let event =
                ClusterEvent { position: Position { index: 5, sub: 1 }, at_ms: 6, happened };
            assert_eq!(ClusterEvent::try_from(wire::ClusterEvent::from(event.clone())), Ok(event));
        }
    }
}
