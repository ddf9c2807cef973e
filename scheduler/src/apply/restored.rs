//! The state of a backup as the beginning of a new cluster.
//!
//! It is no command: nobody has applied anything in that cluster before. What was promised in the old
//! one is kept as far as anybody can know: names, results and jobs stand, tasks without a result wait
//! again, and a task that runs at most once does not run again.

use weir_proto::{
    command::{Change, Command},
    event::Happened,
    id::{AgentId, StageId},
    outcome::Outcome,
    range::TaskRange,
};

use super::{apply, give_verdict, jobs::end_if_done};
use crate::{
    members::{Identity, Member, Role},
    state::ClusterState,
};

/// How far the numbers of jobs and of log entries jump. What the old cluster did after the backup is
/// not known: an agent that still runs tasks of it, or a client that watches it, must not take a
/// number of then for one of now.
const JUMP: u64 = 1_000_000;

/// Makes a cluster of one master of the state; returns how many tasks that run at most once ended
/// without a result.
pub fn restored(state: &mut ClusterState, identity: Identity) -> u64 {
    let index = state.applied + JUMP;
    state.last_job += JUMP;
    state.cluster = Some(identity.cluster);
    let (address, role) = (String::new(), Role::Voter);
    state.members = [(identity.node, Member { address, role, data: 0 })].into_iter().collect();
    state.last_node = identity.node.0;
    state.applied = index;
    let now_ms = state.now_ms;
    let lost = end_what_runs_once(state);
    let live: Vec<AgentId> = state.live_agents().map(|agent| agent.description.id).collect();
    for agent in live {
        let change = Change::AgentLost { agent, suspects: Vec::new() };
        // It is known, so it is not refused.
        let _effects = apply(state, Command { now_ms, change }, index);
    }
    state.record(Happened::ClusterCreated(identity.cluster));
    lost
}

/// Of tasks that run at most once and have no result in the backup nobody knows whether they began
/// after it: they end as if their agent was lost.
fn end_what_runs_once(state: &mut ClusterState) -> u64 {
    let mut lost = 0;
    let stages: Vec<StageId> = state.active_stages().collect();
    for id in stages {
        let Some((stage, spec)) = state.stage(id) else { continue };
        if !spec.once {
            continue;
        }
        let open: Vec<TaskRange> = stage.open(spec.count).ranges().to_vec();
        let mut effects = Vec::new();
        for range in open {
            lost += u64::from(range.len());
            let outcome = Outcome::AgentLostTooOften { losses: 1 };
            give_verdict(state, id, range, outcome, &mut effects);
        }
        end_if_done(state, id.job, false, &mut effects);
    }
    lost
}

#[cfg(test)]
mod tests {
    use weir_proto::{
        id::{ClusterId, Incarnation, JobId, LeaseId, NodeId, RequestId},
        outcome::{Outcome, Usage},
        page::{Page, TaskResult},
    };

    use super::*;
    use crate::{
        samples::{agent, spec, stage},
        snapshot,
        state::AgentLife,
    };

    const IDENTITY: Identity = Identity { cluster: ClusterId(9), node: NodeId(1) };

    fn submit(request: u8, once: bool) -> Change {
        let mut spec = spec(10, 1);
        spec.stages[0].once = once;
        Change::SubmitJob { request: RequestId([request; 16]), spec }
    }

    /// A cluster with a job of each kind, the first tasks of which have a result.
    fn before() -> ClusterState {
        let usage = Usage::default();
        let page = |job| {
            let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
            let page = Page { stage: stage(job), first: 0, results: vec![result; 3] };
            Change::CommitPages { agent: AgentId(1), pages: vec![page.encode()] }
        };
        let grant = Change::GrantOnce {
            lease: LeaseId { term: 1, seq: 1 },
            stage: stage(2),
            range: TaskRange::new(3, 6),
            agent: AgentId(1),
            incarnation: Incarnation(1),
            connection: 1,
        };
        let mut state = ClusterState::default();
        let changes = [
            Change::CreateCluster(ClusterId(1)),
            Change::RegisterAgent(agent(1, 4)),
            submit(1, false),
            submit(2, true),
            page(1),
            page(2),
            grant,
        ];
        for (index, change) in (1..).zip(changes) {
            apply(&mut state, Command { now_ms: index * 10, change }, index).expect("accepted");
        }
        state
    }

    #[test]
    fn what_was_known_stands_and_open_tasks_wait_again() {
        let mut state = before();
        let before = state.clone();
        restored(&mut state, IDENTITY);
        state.check_invariants();
        assert_eq!(state.cluster, Some(IDENTITY.cluster));
        assert_eq!(state.members.keys().copied().collect::<Vec<_>>(), [IDENTITY.node]);
        assert!(matches!(state.agents[&AgentId(1)].life, AgentLife::Lost { .. }));
        let (of_state, of_before) = (&state.jobs[&JobId(1)], &before.jobs[&JobId(1)]);
        assert_eq!(of_state, of_before, "an ordinary job is as it was");
        let read = snapshot::decode(&snapshot::encode(&state)).expect("a snapshot");
        assert_eq!(read, state);
    }

    #[test]
    fn a_task_that_runs_at_most_once_does_not_run_in_the_new_cluster() {
        let mut state = before();
        assert_eq!(restored(&mut state, IDENTITY), 7);
        let job = &state.jobs[&JobId(2)];
        assert!(!job.is_active());
        assert_eq!((job.stages[0].failed.len(), job.stages[0].succeeded()), (7, 3));
        assert!(job.stages[0].granted.is_empty());
    }

    #[test]
    fn no_number_of_the_old_cluster_is_given_again_soon() {
        let (mut state, before) = (before(), before());
        restored(&mut state, IDENTITY);
        assert!(state.applied >= before.applied + JUMP);
        let (next, change) = (state.applied + 1, submit(3, false));
        apply(&mut state, Command { now_ms: 0, change }, next).expect("a job");
        assert_eq!(state.jobs.keys().next_back(), Some(&JobId(before.last_job + JUMP + 1)));
    }
}
