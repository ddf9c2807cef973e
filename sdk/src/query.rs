//! Which jobs to list, and in which order.

use weir_proto::{id::Namespace, wire};

use crate::view::{JobStatus, JobSummary};

/// Which jobs to list, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only of this namespace.
    pub namespace: Option<Namespace>,
    /// Only of these statuses; of all when empty.
    pub statuses: Vec<JobStatus>,
    /// Only those whose name contains this.
    pub name_contains: String,
    /// Only those submitted then or later, in Unix milliseconds.
    pub since_ms: u64,
    /// What they are sorted by.
    pub order: JobOrder,
    /// The other way round.
    pub reverse: bool,
    /// At most so many; 0: as many as the master tells at once, which is 1,000.
    pub limit: u32,
}

/// What jobs are sorted by; of equals the newest comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JobOrder {
    /// When they were submitted, the newest first.
    #[default]
    Newest,
    /// Their names.
    Name,
    /// Active, succeeded, failed, cancelled.
    Status,
    /// How many tasks they have, most first.
    Tasks,
    /// How many of those did not succeed, most first.
    Failed,
    /// Their fuel, most first.
    Fuel,
    /// How long they ran, longest first.
    Time,
}

/// The jobs that a query found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobList {
    /// The first of them, as many as were asked for.
    pub jobs: Vec<JobSummary>,
    /// How many there are.
    pub matched: u32,
}

impl JobQuery {
    pub(crate) fn to_wire(&self) -> wire::ListJobsRequest {
        let statuses = self.statuses.iter().map(|status| match status {
            JobStatus::Active => wire::JobStatus::Active,
            JobStatus::Succeeded => wire::JobStatus::Succeeded,
            JobStatus::Failed => wire::JobStatus::Failed,
            JobStatus::Cancelled => wire::JobStatus::Cancelled,
        });
        let order = match self.order {
            JobOrder::Newest => wire::JobOrder::Newest,
            JobOrder::Name => wire::JobOrder::Name,
            JobOrder::Status => wire::JobOrder::Status,
            JobOrder::Tasks => wire::JobOrder::Tasks,
            JobOrder::Failed => wire::JobOrder::Failed,
            JobOrder::Fuel => wire::JobOrder::Fuel,
            JobOrder::Time => wire::JobOrder::Time,
        };
        wire::ListJobsRequest {
            namespace: self.namespace.as_ref().map_or(String::new(), |n| n.as_str().to_owned()),
            statuses: statuses.map(i32::from).collect(),
            name_contains: self.name_contains.clone(),
            since_ms: self.since_ms,
            order: order.into(),
            reverse: self.reverse,
            limit: self.limit,
        }
    }
}
