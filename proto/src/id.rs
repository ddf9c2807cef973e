//! Names of things. Each prints its kind, so that no two can be mistaken in a log line.

use std::{fmt, str::FromStr};

use crate::malformed::Malformed;

/// A job, numbered by the order in which the cluster accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = Malformed;

    /// Reads `job-7` or `7`.
    fn from_str(text: &str) -> Result<JobId, Malformed> {
        let digits = text.strip_prefix("job-").unwrap_or(text);
        digits.parse().map(JobId).map_err(|_| {
            Malformed::invalid("job id", format!("{text:?} is not like `job-7` or `7`"))
        })
    }
}

/// A stage of a job, by its place in the job's list of stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId {
    /// The job it belongs to.
    pub job: JobId,
    /// Its place, from 0.
    pub stage: u32,
}

impl StageId {
    /// The task of this stage with an index.
    pub fn task(self, index: u32) -> TaskId {
        TaskId { stage: self, index }
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.stage)
    }
}

/// A task of a stage's array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The stage it belongs to.
    pub stage: StageId,
    /// Its index, from 0.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stage, self.index)
    }
}

/// An agent; drawn at random when its data directory is made, and kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u64);

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent-{:016x}", self.0)
    }
}

/// One life of an agent's process; drawn at random when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A cluster; drawn at random when its first master starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster-{:016x}", self.0)
    }
}

/// A participant of the Raft group; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node-{}", self.0)
    }
}

/// A lease: the leader's term, and a number that counts up within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The Raft term of the leader that granted it.
    pub term: u64,
    /// Its number within the term.
    pub seq: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease-{}.{}", self.term, self.seq)
    }
}

/// What a client drew to name its request, so that sending it twice does it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl TryFrom<&[u8]> for RequestId {
    type Error = Malformed;

    fn try_from(bytes: &[u8]) -> Result<RequestId, Malformed> {
        let bytes = bytes.try_into().map_err(|_| {
            Malformed::invalid("request id", format!("it has {} bytes, not 16", bytes.len()))
        })?;
        Ok(RequestId(bytes))
    }
}

/// A tenant: 1 to 64 of `a-z`, `0-9`, `-` and `_`, the first a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace of those who name none.
    pub fn default_namespace() -> Namespace {
        Namespace("default".to_owned())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Namespace, Malformed> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = (1..=64).contains(&text.len())
            && text.starts_with(plain)
            && text.chars().all(|c| plain(c) || c == '-' || c == '_');
        if !valid {
            return Err(Malformed::invalid(
                "namespace",
                format!(
                    "{text:?} is not 1 to 64 of a-z, 0-9, - and _, starting with a letter or digit"
                ),
            ));
        }
        Ok(Namespace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_their_kind() {
        let task = StageId { job: JobId(7), stage: 0 }.task(42);
        assert_eq!(task.to_string(), "job-7/0/42");
        assert_eq!(LeaseId { term: 3, seq: 9 }.to_string(), "lease-3.9");
    }

    #[test]
    fn a_job_id_reads_with_and_without_its_kind() {
        assert_eq!("job-7".parse(), Ok(JobId(7)));
        assert_eq!("7".parse(), Ok(JobId(7)));
        assert!("job-".parse::<JobId>().is_err());
    }

    #[test]
    fn a_namespace_cannot_be_a_path() {
        assert!("../etc".parse::<Namespace>().is_err());
        assert!("".parse::<Namespace>().is_err());
        assert!("team-a".parse::<Namespace>().is_ok());
    }
}
