//! Submitting a job: stop 1 of a task's way. The master reads the spec next, in `weir-master`.

use std::{
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

use tonic::Code;
use weir_proto::{
    id::{JobId, RequestId},
    job::{JobSpec, SpecProblems},
    wire,
};

use crate::{
    Client,
    rpc::{self, RpcError},
};

/// Why a job was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The job cannot be; every problem of it is here.
    #[error("the job is refused: {}", .problems.join("; "))]
    Invalid {
        /// One sentence each.
        problems: Vec<String>,
    },
    /// Something it needs is not there: a blob, or an agent large enough.
    #[error("the job cannot run: {why}")]
    Precondition {
        /// What.
        why: String,
    },
    /// A limit of admission.
    #[error("the cluster takes no more work now: {why}")]
    Limit {
        /// Which limit.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Client {
    /// Submits a job whose module and inputs are in the store. When this returns, the job survives
    /// a crash of the cluster. The request is named once, so a call that is repeated because the
    /// answer was lost makes no second job.
    ///
    /// # Errors
    /// `Invalid` with every problem of the spec, `Precondition` when a blob is missing, `Limit` when
    /// the cluster is full, `Rpc` when the master does not answer in `rpc::CALL_ATTEMPTS` tries.
    pub async fn submit(&self, spec: JobSpec) -> Result<JobId, SubmitError> {
        self.submit_as(new_request(), spec).await
    }

    /// Submits a job under a request's name that the caller keeps: the same name makes one job,
    /// whoever sends it and however often.
    ///
    /// # Errors
    /// As `submit`.
    pub async fn submit_as(&self, request: RequestId, spec: JobSpec) -> Result<JobId, SubmitError> {
        let spec = wire::JobSpec::from(spec);
        // The same check as the master's, made here first: a spec of many megabytes stays here.
        if let Err(SpecProblems(problems)) = JobSpec::try_from(spec.clone()) {
            return Err(SubmitError::Invalid { problems });
        }
        let request = wire::SubmitRequest { request: request.0.to_vec(), spec: Some(spec) };
        let submitted = rpc::retry(|| {
            let (mut jobs, request) = (self.jobs_rpc(), request.clone());
            async move { jobs.submit(request).await }
        });
        match submitted.await {
            Ok(response) => Ok(JobId(response.job)),
            Err(status) => Err(match status.code() {
                Code::InvalidArgument => SubmitError::Invalid {
                    problems: status.message().lines().map(str::to_owned).collect(),
                },
                Code::FailedPrecondition => {
                    SubmitError::Precondition { why: status.message().to_owned() }
                }
                Code::ResourceExhausted => SubmitError::Limit { why: status.message().to_owned() },
                _ => SubmitError::Rpc(self.failed(&status)),
            }),
        }
    }
}

/// A name that no other request has.
///
/// `RandomState` is keyed by the operating system's random numbers; its hash of a value is a
/// pseudo-random function of those keys. Two of them make 128 bits without another dependency.
pub fn new_request() -> RequestId {
    let keys = RandomState::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let half = |which: u8| keys.hash_one((which, std::process::id(), now)).to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half(0));
    bytes[8..].copy_from_slice(&half(1));
    RequestId(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn requests_have_different_names() {
        let names: HashSet<[u8; 16]> = (0..10_000).map(|_| new_request().0).collect();
        assert_eq!(names.len(), 10_000);
    }
}
