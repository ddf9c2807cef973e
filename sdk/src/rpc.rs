//! What can go wrong with any call to a master, and when to call again.

use std::{future::Future, time::Duration};

use tonic::{Code, Status};
use weir_proto::{malformed::Malformed, version};

/// How often a call that may be repeated is tried before its error is told.
pub const CALL_ATTEMPTS: u32 = 5;
/// The pause before the second try of a call; each later one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a call failed, for reasons that no call can rule out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The master is gone, or not ready.
    #[error("the master at {address} does not answer: {why}; look whether it runs, then try again")]
    Unavailable {
        /// Where it should be.
        address: String,
        /// What the transport or the master says.
        why: String,
    },
    /// The master refuses.
    #[error("the master at {address} refuses: {why}")]
    Refused {
        /// Where it is.
        address: String,
        /// Its sentence.
        why: String,
    },
    /// The master does not know what it is asked for.
    #[error(
        "the master at {address} does not know this request: it is {theirs} of Weir, and \
         this is {ours}; use a client of the master's version", ours = version::OURS
    )]
    OtherVersion {
        /// Where it is.
        address: String,
        /// Its version, in words.
        theirs: String,
    },
    /// The master's answer says something that cannot be.
    #[error(
        "the master at {address} sent an answer that this version of Weir, {ours}, does not \
         understand; use a client of the master's version", ours = version::OURS
    )]
    Answer {
        /// Where it is.
        address: String,
        /// What is wrong with the answer.
        source: Malformed,
    },
}

impl RpcError {
    pub(crate) fn from_status(address: &str, status: &Status) -> RpcError {
        let (address, why) = (address.to_owned(), sentence(status));
        if status.code() == Code::Unimplemented {
            let theirs = version_of(status)
                .map_or_else(|| "another version".to_owned(), |theirs| format!("version {theirs}"));
            RpcError::OtherVersion { address, theirs }
        } else if may_pass(status) {
            RpcError::Unavailable { address, why }
        } else {
            RpcError::Refused { address, why }
        }
    }

    pub(crate) fn answer(address: &str, source: Malformed) -> RpcError {
        RpcError::Answer { address: address.to_owned(), source }
    }
}

/// Which version of Weir the sender of a status is; none if it is no master of ours.
pub(crate) fn version_of(status: &Status) -> Option<&str> {
    status.metadata().get(version::HEADER)?.to_str().ok()
}

/// What a status says, without gRPC's words around it.
pub(crate) fn sentence(status: &Status) -> String {
    let mut sentence = match status.message() {
        "" => format!("{}", status.code()).to_lowercase(),
        message => message.to_owned(),
    };
    // A transport error's message is only "transport error"; its sources say which.
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !sentence.contains(&cause_text) {
            sentence.push_str(": ");
            sentence.push_str(&cause_text);
        }
        source = cause.source();
    }
    sentence
}

/// Whether the same call may succeed later.
pub(crate) fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded => true,
        // A connection that breaks in the middle of a call shows as one of these, with a source.
        Code::Unknown | Code::Cancelled | Code::Internal => {
            std::error::Error::source(status).is_some()
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// The pause after so many failures in a row, the first being 1.
pub(crate) fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// Makes a call that may be repeated, again while its failure may pass.
pub(crate) async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => {
                failures += 1;
                if failures >= CALL_ATTEMPTS || !may_pass(&status) {
                    return Err(status);
                }
                tokio::time::sleep(pause_after(failures)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!(pause_after(1), FIRST_PAUSE);
        assert_eq!(pause_after(3), FIRST_PAUSE * 4);
        assert_eq!(pause_after(60), LONGEST_PAUSE);
    }

    #[test]
    fn a_refusal_is_not_tried_again() {
        assert!(!may_pass(&Status::invalid_argument("count is 0")));
        assert!(!may_pass(&Status::resource_exhausted("too many jobs")));
        assert!(may_pass(&Status::unavailable("no leader")));
    }

    #[test]
    fn a_master_that_does_not_know_a_request_is_of_another_version() {
        let mut status = Status::unimplemented("");
        status.metadata_mut().insert(version::HEADER, "9.9.9".parse().expect("a version"));
        let error = RpcError::from_status("127.0.0.1:7400", &status).to_string();
        assert!(error.contains("is version 9.9.9 of Weir, and this is"), "{error}");
    }

    #[test]
    fn an_error_tells_the_masters_sentence_and_not_grpcs() {
        let status = Status::permission_denied("namespace a is not yours");
        let error = RpcError::from_status("127.0.0.1:7400", &status);
        let told = "the master at 127.0.0.1:7400 refuses: namespace a is not yours";
        assert_eq!(error.to_string(), told);
    }
}
