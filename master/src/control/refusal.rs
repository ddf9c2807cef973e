//! Why a master does not do what a client asked for; `crate::rpc` makes a status of it.

use weir_scheduler::apply::Rejection;

use super::{Leader, MAX_PROPOSALS, MemberProblem};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// State forbids it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Another master leads, or none; the same request may be sent again.
    #[error("this master does not lead now{}; try again", at(.0.as_ref()))]
    NotLeader(Option<Leader>),
    /// Nobody confirmed in time that a read sees everything.
    #[error("no majority of the masters answers{}; try again", at(.leader.as_ref()))]
    NoMajority {
        /// Who led last, if another did.
        leader: Option<Leader>,
    },
    /// The masters stay who they are.
    #[error(transparent)]
    Member(#[from] MemberProblem),
    /// Too much is under way; the same request may be sent again.
    #[error("the master has {MAX_PROPOSALS} writes under way; try again in a moment")]
    Busy,
}

fn at(leader: Option<&Leader>) -> String {
    let leader = leader.map(|Leader { node, address }| format!(", {node} at {address} does"));
    leader.unwrap_or_default()
}
