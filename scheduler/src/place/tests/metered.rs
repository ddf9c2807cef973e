//! Tasks that are metered by epochs, which not every agent runs.

use weir_proto::metering::Metering;

use super::*;

impl Leader {
    /// A job whose tasks are metered by epochs.
    fn submit_epochs(&mut self, count: u32) -> StageId {
        let request = RequestId([self.index as u8 + 1; 16]);
        let mut spec = spec(count, 10);
        spec.stages[0].metering = Metering::Epoch;
        self.apply(Change::SubmitJob { request, spec });
        stage(self.state.last_job)
    }

    /// An agent that runs both.
    fn attach_with_epochs(&mut self, id: u64, cores: u32) {
        let agent =
            AgentDescription { epoch_profile: Some("weir-1-epoch".to_owned()), ..agent(id, cores) };
        self.apply(Change::RegisterAgent(agent.clone()));
        self.table.attach(&self.state, agent, 1, Vec::new(), self.now_ms);
    }
}

#[test]
fn tasks_metered_by_epochs_go_only_where_they_are_and_under_their_profile() {
    let mut leader = Leader::new();
    leader.attach(1, 8);
    let epochs = leader.submit_epochs(100);
    assert_eq!(leader.place(), []);
    let why = explain(&leader.state, &leader.table, epochs).expect("it waits");
    assert_eq!(why, WaitReason::NotMetered { metering: Metering::Epoch });
    assert_eq!(why.to_string(), "no agent runs tasks with `metering = \"epoch\"`");

    leader.attach_with_epochs(2, 2);
    let grants = leader.place();
    let told: Vec<_> =
        grants.iter().map(|(agent, lease)| (*agent, lease.slots, &*lease.profile)).collect();
    assert_eq!(told, [(AgentId(2), 2, "weir-1-epoch")]);
    assert_eq!(explain(&leader.state, &leader.table, epochs), Some(WaitReason::Busy));
}

#[test]
fn tasks_that_no_agent_can_meter_keep_nobody_waiting() {
    let mut leader = Leader::new();
    leader.attach(1, 2);
    leader.submit_epochs(10);
    let fuel = leader.submit(1_000, 10);
    let first = leader.place();
    assert_eq!((first[0].1.stage, &*first[0].1.profile), (fuel, "weir-1"));
    // Its lease is topped up, though another stage came first.
    leader.finish(first[0].1.id, usize::MAX);
    assert!(!leader.place().is_empty());
}

#[test]
fn an_agent_runs_both_at_once_and_shares_its_cores_between_them() {
    let mut leader = Leader::new();
    leader.submit_epochs(1);
    leader.submit(100, 10);
    leader.attach_with_epochs(1, 4);
    let mut told: Vec<(String, u32)> =
        leader.place().into_iter().map(|(_, lease)| (lease.profile, lease.slots)).collect();
    told.sort();
    assert_eq!(told, [("weir-1".to_owned(), 3), ("weir-1-epoch".to_owned(), 1)]);
}

#[test]
fn tasks_are_recalled_only_for_an_agent_that_can_meter_them() {
    let mut leader = Leader::new();
    leader.attach_with_epochs(1, 1);
    let stage = leader.submit_epochs(4);
    leader.place();
    leader.place();
    // Whatever the leader has itself would go first: another agent does that.
    leader.attach_with_epochs(2, 1);
    leader.place();
    let of_second = |leader: &Leader| {
        let mut leases = leader.table.leases_of(AgentId(2));
        leases.next().map(|(id, _)| id)
    };
    while let Some(second) = of_second(&leader) {
        leader.finish(second, usize::MAX);
        leader.place();
    }
    leader.lose(AgentId(2));
    (0..50).for_each(|_| leader.table.measured(stage, 60_000_000));
    let recalled =
        |leader: &mut Leader| place(&leader.state, &mut leader.table, leader.now_ms).recalled.len();
    leader.attach(3, 1);
    assert_eq!(recalled(&mut leader), 0);
    leader.attach_with_epochs(4, 1);
    assert_eq!(recalled(&mut leader), 1);
}
