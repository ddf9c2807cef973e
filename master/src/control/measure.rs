//! What a leader's steps are worth counting, with times as the steps saw them.
//!
//! Whoever drives the steps adds it up ([`crate::metrics`]). Only a leader measures: what a restarted
//! master applies again from its log was counted when it happened.

use std::collections::{BTreeMap, btree_map::Entry};

use weir_proto::{
    id::{AgentId, JobId, LeaseId},
    lease::Lease,
};
use weir_scheduler::{
    apply::{Effect, Used},
    state::{ClusterState, JobLife},
};

use super::Action;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    /// A job was accepted.
    JobSubmitted,
    /// A job got its first lease.
    JobLeased {
        /// After so long.
        waited_ms: u64,
    },
    /// New leases went out.
    LeasesGranted(u32),
    /// A lease is over.
    LeaseOver {
        /// After so long.
        held_ms: u64,
    },
    /// Tasks have a result.
    TasksDone {
        /// Who ran them; nobody where the scheduler gave the outcome.
        agent: Option<AgentId>,
        /// What they used, all together.
        used: Used,
    },
    /// So many tasks failed, and are run again.
    TasksRetried(u32),
    /// A job ended.
    JobEnded {
        /// How.
        ending: Ending,
        /// After so long.
        took_ms: u64,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every task succeeded.
    Succeeded,
    /// Some task did not.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// What a leader remembers to tell how long things took.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    /// Jobs that this leader accepted and that got no lease yet, and when.
    unserved: BTreeMap<JobId, u64>,
    /// Leases that this leader granted and that are not over, and when.
    granted: BTreeMap<LeaseId, u64>,
}

impl Measuring {
    /// A change of the state has this effect; `agent` is who caused it.
    pub(super) fn effect(
        &mut self,
        state: &ClusterState,
        effect: &Effect,
        agent: Option<AgentId>,
        actions: &mut Vec<Action>,
    ) {
        let measure = match effect {
            Effect::JobStarted(id) => {
                self.unserved.insert(*id, state.now_ms);
                Measure::JobSubmitted
            }
            Effect::Retried { tasks, .. } => Measure::TasksRetried(tasks.len()),
            Effect::Done { used, .. } => Measure::TasksDone { agent, used: used.clone() },
            Effect::JobEnded(id) => {
                self.unserved.remove(id);
                let Some(measure) = ended(state, *id) else { return };
                measure
            }
            Effect::Submitted { .. }
            | Effect::KeepPage { .. }
            | Effect::LeasesExtended(_)
            | Effect::JobForgotten(_)
            | Effect::AgentRegistered(_)
            | Effect::Paused(_)
            | Effect::OnceReturned { .. }
            | Effect::WeightChanged(_)
            | Effect::AgentDrained { .. }
            | Effect::AgentCalibrated { .. }
            | Effect::AgentGone(_) => return,
        };
        actions.push(Action::Measured(measure));
    }

    /// Leases go out: new ones, or more tasks for known ones.
    pub(super) fn granted(
        &mut self,
        grants: &[(AgentId, Lease)],
        now_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        let mut new = 0;
        for (_, lease) in grants {
            if let Entry::Vacant(entry) = self.granted.entry(lease.id) {
                entry.insert(now_ms);
                new += 1;
            }
            if let Some(accepted_ms) = self.unserved.remove(&lease.stage.job) {
                let waited_ms = now_ms.saturating_sub(accepted_ms);
                actions.push(Action::Measured(Measure::JobLeased { waited_ms }));
            }
        }
        if new > 0 {
            actions.push(Action::Measured(Measure::LeasesGranted(new)));
        }
    }

    /// These leases are over; of those of an earlier leader nobody knows how long they were out.
    pub(super) fn over(&mut self, leases: &[LeaseId], now_ms: u64, actions: &mut Vec<Action>) {
        for granted_ms in leases.iter().filter_map(|lease| self.granted.remove(lease)) {
            let held_ms = now_ms.saturating_sub(granted_ms);
            actions.push(Action::Measured(Measure::LeaseOver { held_ms }));
        }
    }
}

fn ended(state: &ClusterState, id: JobId) -> Option<Measure> {
    let job = state.jobs.get(&id)?;
    let JobLife::Ended { at_ms, cancelled } = job.life else { return None };
    let ending = match cancelled {
        true => Ending::Cancelled,
        false if job.stages.iter().any(|stage| !stage.failed.is_empty()) => Ending::Failed,
        false => Ending::Succeeded,
    };
    Some(Measure::JobEnded { ending, took_ms: at_ms.saturating_sub(job.submitted_ms) })
}

#[cfg(test)]
mod tests {
    use weir_proto::{
        command::{Change, Command},
        digest::Digest,
        id::{Namespace, RequestId, StageId},
        job::{JobSpec, StageSpec},
        lease::Lease,
        range::TaskRange,
    };
    use weir_scheduler::apply::apply;

    use super::*;

    fn measures(actions: Vec<Action>) -> Vec<Measure> {
        let measure = |action| match action {
            Action::Measured(measure) => measure,
            other => panic!("{other:?} is no measure"),
        };
        actions.into_iter().map(measure).collect()
    }

    fn lease(seq: u64, stage: &StageSpec) -> (AgentId, Lease) {
        let lease = Lease {
            id: LeaseId { term: 1, seq },
            stage: StageId { job: JobId(1), stage: 0 },
            range: TaskRange::single(0),
            slots: 1,
            namespace: Namespace::default_namespace(),
            spec: stage.clone(),
            profile: "weir-1".to_owned(),
            weights: Vec::new(),
        };
        (AgentId(1), lease)
    }

    #[test]
    fn a_job_is_measured_from_its_acceptance_to_its_end() {
        let mut state = ClusterState::default();
        let stage = StageSpec::new("main", Digest::of(b"module"));
        let namespace = Namespace::default_namespace();
        let stages = vec![stage.clone()];
        let spec = JobSpec { name: "job".to_owned(), namespace, stages, priority: 0 };
        let submit = Change::SubmitJob { request: RequestId([1; 16]), spec };
        let (mut measuring, mut actions) = (Measuring::default(), Vec::new());
        let mut change = |measuring: &mut Measuring, actions: &mut _, now_ms, change| {
            let index = state.applied + 1;
            let effects = apply(&mut state, Command { now_ms, change }, index).expect("effects");
            for effect in effects {
                measuring.effect(&state, &effect, None, actions);
            }
        };

        change(&mut measuring, &mut actions, 1_000, submit);
        measuring.granted(&[lease(1, &stage)], 1_005, &mut actions);
        measuring.granted(&[lease(1, &stage), lease(2, &stage)], 1_010, &mut actions);
        let earlier = LeaseId { term: 0, seq: 9 };
        measuring.over(&[lease(1, &stage).1.id, earlier], 1_100, &mut actions);
        change(&mut measuring, &mut actions, 1_200, Change::CancelJob(JobId(1)));

        let seen = measures(actions);
        assert_eq!(
            seen[..5],
            [
                Measure::JobSubmitted,
                Measure::JobLeased { waited_ms: 5 },
                Measure::LeasesGranted(1),
                Measure::LeasesGranted(1),
                Measure::LeaseOver { held_ms: 95 },
            ]
        );
        assert!(matches!(&seen[5], Measure::TasksDone { agent: None, .. }), "{seen:?}");
        let ended = Measure::JobEnded { ending: Ending::Cancelled, took_ms: 200 };
        assert_eq!(seen[6..], [ended]);
    }
}
