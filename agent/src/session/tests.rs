//! The session against scripts of what a master and an executor say.

mod once;
mod profile;

use weir_proto::{
    digest::Digest,
    id::{AgentId, ClusterId, Incarnation, JobId, Namespace},
    job::{StageSpec, TaskKind},
    lease::PrepareStep,
    limits::Resources,
    metering::Metering,
    outcome::{Outcome, Usage},
    page::{MAX_PAGE_BYTES, Page},
};

use super::{stay::LEAVE_MS, *};

const LEASE: LeaseId = LeaseId { term: 1, seq: 1 };
const STAGE: StageId = StageId { job: JobId(1), stage: 0 };

fn agent() -> AgentDescription {
    AgentDescription {
        id: AgentId(1),
        incarnation: Incarnation(0),
        name: "a".to_owned(),
        architecture: "x86_64".to_owned(),
        profile: "weir-1".to_owned(),
        epoch_profile: None,
        resources: Resources::new(2000, 1 << 30),
        fuel_per_second: 1,
        version: "0".to_owned(),
    }
}

fn lease(start: u32, end: u32) -> Lease {
    let spec = StageSpec {
        count: 10_000,
        kind: TaskKind::Array,
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    Lease {
        id: LEASE,
        stage: STAGE,
        range: TaskRange::new(start, end),
        slots: 2,
        namespace: Namespace::default_namespace(),
        spec,
        profile: "weir-1".to_owned(),
        weights: Vec::new(),
    }
}

fn finished(index: u32) -> Finished {
    let usage = Usage { fuel: 1, peak_memory_bytes: 1, wall_us: 10, ..Usage::default() };
    let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
    Finished { lease: LEASE, task: STAGE.task(index), end: End::Result(result) }
}

fn precompile(namespace: &Namespace, module: ModuleKey) -> MasterMessage {
    MasterMessage::Precompile {
        namespace: namespace.clone(),
        module: module.digest,
        metering: module.metering,
    }
}

#[test]
fn what_came_of_a_module_is_told_while_there_is_a_leader() {
    let mut session = welcomed();
    let namespace = Namespace::default_namespace();
    let module = ModuleKey { digest: Digest::of(b"module"), metering: Metering::Epoch };
    let asked = precompile(&namespace, module);
    let actions = session.step(Event::Received(asked), Vec::new(), 10);
    let [Action::Precompile(of, what)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((of, *what), (&namespace, module));
    let came = || Event::Precompiled(module, Precompiled::Ready);
    let actions = session.step(came(), Vec::new(), 20);
    let [Action::Send(AgentMessage::Precompiled { metering: Metering::Epoch, .. })] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    session.step(Event::Disconnected, Vec::new(), 30);
    let actions = session.step(came(), Vec::new(), 40);
    assert!(actions.is_empty(), "{actions:?}");
}

#[test]
fn a_heartbeat_tells_what_is_prepared() {
    let mut session = welcomed();
    let granted = MasterMessage::Grants(vec![lease(0, 10)]);
    session.step(Event::Received(granted), Vec::new(), 10);
    let preparing = Preparing { step: PrepareStep::Compile, for_ms: 700 };
    session.prepares([(LEASE, preparing)]);
    let told = |actions: Vec<Action>| match &actions[..] {
        [Action::Send(AgentMessage::Heartbeat(marks))] => marks[0].preparing,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(session.step(Event::Tick, Vec::new(), 2_000)), Some(preparing));
    session.prepares([]);
    assert_eq!(told(session.step(Event::Tick, Vec::new(), 4_000)), None);
}

/// A session that was welcomed at time 0.
fn welcomed() -> Session {
    welcomed_as(agent())
}

fn welcomed_as(agent: AgentDescription) -> Session {
    let mut session = Session::new(agent, Recalibration::default(), Vec::new());
    let actions = session.step(Event::Tick, Vec::new(), 0);
    assert!(matches!(actions[..], [Action::Connect]));
    connect(&mut session, 0);
    session
}

/// Of the leader of a term.
fn welcome(term: u64) -> MasterMessage {
    MasterMessage::Welcome { cluster: ClusterId(1), heartbeat_ms: 1000, term }
}

/// The hello's marks.
fn connect(session: &mut Session, now_ms: u64) -> (Vec<LeaseMarks>, Vec<Action>) {
    session.step(Event::Tick, Vec::new(), now_ms);
    let hello = session.step(Event::Connected, Vec::new(), now_ms);
    let [Action::Send(AgentMessage::Hello { held, .. })] = &hello[..] else {
        panic!("a session begins with a hello, not with {hello:?}");
    };
    let welcome = welcome(1);
    (held.clone(), session.step(Event::Received(welcome), Vec::new(), now_ms))
}

fn grant(session: &mut Session, lease: Lease) -> Vec<Action> {
    session.step(Event::Received(MasterMessage::Grants(vec![lease])), Vec::new(), 0)
}

/// The ranges of the pages that these actions send, with their numbers.
fn pages(actions: &[Action]) -> Vec<(u64, TaskRange)> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(AgentMessage::Pages { pages, .. }) => Some(pages),
        _ => None,
    });
    sent.flatten()
        .map(|page| (page.seq, Page::decode(&page.page).expect("our own page").range()))
        .collect()
}

#[test]
fn the_result_of_a_lone_task_is_sent_at_once() {
    let mut session = welcomed();
    let actions = grant(&mut session, lease(5, 6));
    assert!(matches!(&actions[..], [Action::Run(lease)] if lease.range == TaskRange::single(5)));
    let actions = session.step(Event::Finished(vec![finished(5)]), Vec::new(), 3);
    assert_eq!(pages(&actions), [(1, TaskRange::single(5))]);
}

#[test]
fn results_of_a_running_lease_wait_for_each_other() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 100));
    let ended = vec![finished(0), finished(1), finished(3)];
    assert_eq!(pages(&session.step(Event::Finished(ended), Vec::new(), 10)), []);
    assert_eq!(session.next_wakeup_ms(), Some(10 + PAGE_DELAY_MS));
    let actions = session.step(Event::Tick, Vec::new(), 10 + PAGE_DELAY_MS);
    assert_eq!(pages(&actions), [(1, TaskRange::new(0, 2)), (2, TaskRange::single(3))]);
}

#[test]
fn pages_that_are_not_stored_are_sent_again_in_a_new_session() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 1);
    session.step(Event::Disconnected, Vec::new(), 2);
    let (held, actions) = connect(&mut session, 500);
    assert_eq!(held[0].open.ranges(), [TaskRange::new(0, 2)]);
    assert_eq!(pages(&actions), [(1, TaskRange::new(0, 2))]);
    let stored = MasterMessage::PagesStored(vec![1]);
    let actions = session.step(Event::Received(stored), Vec::new(), 501);
    assert!(matches!(actions[..], [Action::Stop(LEASE)]));
    assert_eq!(session.leases(), 0);
}

#[test]
fn results_that_end_without_a_connection_are_kept() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    session.step(Event::Disconnected, Vec::new(), 1);
    let actions = session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 2);
    assert_eq!(pages(&actions), []);
    let (_, actions) = connect(&mut session, 500);
    assert_eq!(pages(&actions), [(1, TaskRange::new(0, 2))]);
}

#[test]
fn a_repeated_grant_runs_nothing_twice() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 4));
    session.step(Event::Finished(vec![finished(0)]), Vec::new(), 1);
    assert!(grant(&mut session, lease(0, 4)).is_empty());
    let actions = grant(&mut session, lease(2, 6));
    assert!(matches!(&actions[..], [Action::Run(more)] if more.range == TaskRange::new(4, 6)));
}

#[test]
fn a_lease_cannot_become_one_of_another_stage_or_of_more_slots() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 4));
    let other = StageId { job: JobId(2), stage: 0 };
    let actions = grant(&mut session, Lease { stage: other, ..lease(4, 6) });
    let why = "the lease is for job-2/0, and one of the same name is here for job-1/0";
    assert_eq!(returned(&actions), [(TaskRange::new(4, 6), Some(why))]);
    // Two were admitted; a hundred would not fit.
    let actions = grant(&mut session, Lease { slots: 100, ..lease(4, 6) });
    assert!(matches!(&actions[..], [Action::Run(more)] if more.slots == 2), "{actions:?}");
}

#[test]
fn leases_of_earlier_terms_go_on_and_later_ones_than_the_leaders_are_given_back() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 4));
    session.step(Event::Disconnected, Vec::new(), 1);
    session.step(Event::Tick, Vec::new(), 500);
    session.step(Event::Connected, Vec::new(), 500);
    receive(&mut session, welcome(7), 501);
    assert!(matches!(grant(&mut session, lease(4, 6))[..], [Action::Run(_)]), "it took it over");
    let late = Lease { id: LeaseId { term: 8, seq: 1 }, ..lease(10, 12) };
    let why = "the lease is of term 8, and its leader leads in term 7";
    assert_eq!(returned(&grant(&mut session, late)), [(TaskRange::new(10, 12), Some(why))]);
}

#[test]
fn a_leader_that_was_deposed_is_left_with_all_leases_as_they_were() {
    let mut session = welcomed();
    let connects = |session: &mut Session, now_ms| {
        session.step(Event::Disconnected, Vec::new(), now_ms);
        session.step(Event::Tick, Vec::new(), now_ms + MAX_RECONNECT_MS);
        session.step(Event::Connected, Vec::new(), now_ms + MAX_RECONNECT_MS);
    };
    connects(&mut session, 1);
    receive(&mut session, welcome(7), 4_000);
    grant(&mut session, Lease { id: LeaseId { term: 7, seq: 1 }, ..lease(0, 4) });
    connects(&mut session, 5_000);
    let actions = receive(&mut session, welcome(6), 9_000);
    assert!(matches!(actions[..], [Action::Disconnect]), "{actions:?}");
    assert_eq!(session.leases(), 1);
    let next_ms = session.next_wakeup_ms().expect("another attempt");
    let again = session.step(Event::Tick, Vec::new(), next_ms);
    assert!(matches!(again[..], [Action::Connect]), "{again:?}");
    session.step(Event::Connected, Vec::new(), next_ms);
    receive(&mut session, welcome(7), next_ms);
    assert!(session.is_up(), "its successor, or itself, is followed");
    // A cluster that was made anew begins to count anew.
    connects(&mut session, 20_000);
    let other = MasterMessage::Welcome { cluster: ClusterId(2), heartbeat_ms: 1000, term: 1 };
    receive(&mut session, other, 24_000);
    assert!(session.is_up());
}

#[test]
fn a_revoked_lease_is_stopped_and_its_results_forgotten() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 4));
    let revoke = MasterMessage::Revoke(vec![LEASE]);
    let actions = session.step(Event::Received(revoke), Vec::new(), 1);
    assert!(matches!(actions[..], [Action::Stop(LEASE)]));
    let actions = session.step(Event::Finished(vec![finished(0)]), Vec::new(), 2);
    assert!(actions.is_empty());
}

#[test]
fn a_task_that_cannot_run_is_given_back() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    let end = End::CannotRun { reason: "disk full".to_owned() };
    let ended = Finished { lease: LEASE, task: STAGE.task(1), end };
    let actions = session.step(Event::Finished(vec![ended]), Vec::new(), 1);
    let [Action::Send(AgentMessage::Returned { range, reason, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!((*range, reason.as_deref()), (TaskRange::single(1), Some("disk full")));
}

#[test]
fn a_lease_that_cannot_run_is_given_back_as_one_range() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 100));
    let actions = session.step(Event::Finished((0..100).map(cannot_run).collect()), Vec::new(), 1);
    let [Action::Stop(LEASE), Action::Send(AgentMessage::Returned { range, .. })] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(*range, TaskRange::new(0, 100));
}

#[test]
fn a_lease_that_does_not_fit_is_given_back_with_the_reason() {
    let mut session = welcomed();
    // Both cores.
    grant(&mut session, lease(0, 10));
    let mut other = lease(0, 3);
    other.id = LeaseId { term: 1, seq: 2 };
    let actions = grant(&mut session, other.clone());
    let [Action::Send(AgentMessage::Returned { lease: refused, range, reason })] = &actions[..]
    else {
        panic!("{actions:?}");
    };
    assert_eq!((*refused, *range), (other.id, TaskRange::new(0, 3)));
    assert!(
        reason.as_deref().is_some_and(|why| why.ends_with("does not fit: 0 of 2 cores are free")),
        "{reason:?}"
    );
    assert_eq!(session.leases(), 1);

    // More tasks for the same slots fit, and so does another lease once a core is free.
    assert!(matches!(grant(&mut session, lease(10, 20))[..], [Action::Run(_)]));
    session.step(Event::Finished((0..19).map(finished).collect()), Vec::new(), 1);
    other.slots = 1;
    assert!(matches!(grant(&mut session, other)[..], [Action::Run(_)]));
}

#[test]
fn a_task_given_back_after_the_hello_is_told_after_the_welcome() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    session.step(Event::Disconnected, Vec::new(), 1);
    session.step(Event::Tick, Vec::new(), 200);
    session.step(Event::Connected, Vec::new(), 200);
    let actions = session.step(Event::Finished(vec![cannot_run(0)]), Vec::new(), 201);
    assert!(actions.is_empty(), "{actions:?}");
    let welcome = welcome(1);
    let actions = session.step(Event::Received(welcome), Vec::new(), 202);
    let [Action::Send(AgentMessage::Returned { range, .. })] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(*range, TaskRange::single(0));
}

fn returned(actions: &[Action]) -> Vec<(TaskRange, Option<&str>)> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(AgentMessage::Returned { range, reason, .. }) => {
            Some((*range, reason.as_deref()))
        }
        _ => None,
    });
    sent.collect()
}

fn says_goodbye(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Send(AgentMessage::Leaving { .. })))
}

fn ends(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::End))
}

fn receive(session: &mut Session, message: MasterMessage, now_ms: u64) -> Vec<Action> {
    session.step(Event::Received(message), Vec::new(), now_ms)
}

#[test]
fn who_leaves_gives_back_what_has_not_ended_and_waits_for_what_has() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10));
    session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 5);
    let actions = session.step(Event::Leave, vec![(LEASE, 2)], 6);
    assert!(actions.iter().any(|action| matches!(action, Action::Stop(LEASE))));
    assert_eq!(returned(&actions), [(TaskRange::new(2, 10), None)]);
    assert_eq!(pages(&actions), [(1, TaskRange::new(0, 2))]);
    assert!(!says_goodbye(&actions), "its results are not stored yet");
    let actions = receive(&mut session, MasterMessage::PagesStored(vec![1]), 7);
    assert!(says_goodbye(&actions) && !ends(&actions));
    assert!(ends(&session.step(Event::Disconnected, Vec::new(), 8)), "the master has heard it");
}

#[test]
fn who_leaves_does_not_wait_for_ever() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 5);
    assert!(!ends(&session.step(Event::Leave, Vec::new(), 6)));
    assert_eq!(session.next_wakeup_ms(), Some(1000), "a heartbeat");
    assert!(ends(&session.step(Event::Tick, Vec::new(), 6 + LEAVE_MS)));
}

#[test]
fn who_leaves_without_a_master_and_without_results_ends_at_once() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    session.step(Event::Disconnected, Vec::new(), 5);
    assert!(ends(&session.step(Event::Leave, Vec::new(), 6)));
}

#[test]
fn who_drains_finishes_what_has_begun_and_leaves() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10));
    let actions = receive(&mut session, MasterMessage::Drain(true), 1);
    assert!(matches!(actions[..], [Action::Withdraw(LEASE, _)]), "{actions:?}");
    let queued = RangeSet::from_iter([TaskRange::new(2, 10)]);
    let actions = session.step(Event::Withdrawn(vec![(LEASE, queued)]), Vec::new(), 1);
    assert_eq!(returned(&actions), [(TaskRange::new(2, 10), None)]);

    let late = Lease { id: LeaseId { term: 1, seq: 2 }, ..lease(20, 22) };
    assert_eq!(returned(&grant(&mut session, late)), [(TaskRange::new(20, 22), None)]);

    let actions = session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 9);
    assert_eq!(pages(&actions), [(1, TaskRange::new(0, 2))]);
    let actions = receive(&mut session, MasterMessage::PagesStored(vec![1]), 10);
    assert!(says_goodbye(&actions));
}

#[test]
fn recalled_tasks_go_back_as_far_as_they_have_not_begun() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10));
    let tasks = RangeSet::from_iter([TaskRange::new(5, 10)]);
    let unknown = LeaseId { term: 1, seq: 99 };
    let message = MasterMessage::Recall(vec![(LEASE, tasks.clone()), (unknown, tasks.clone())]);
    let actions = receive(&mut session, message, 1);
    assert!(matches!(&actions[..], [Action::Withdraw(LEASE, recalled)] if *recalled == tasks));
    let queued = RangeSet::from_iter([TaskRange::new(6, 10)]);
    let actions = session.step(Event::Withdrawn(vec![(LEASE, queued)]), Vec::new(), 1);
    assert_eq!(returned(&actions), [(TaskRange::new(6, 10), None)]);
}

#[test]
fn paused_tasks_stand_still_and_those_that_have_not_begun_go_back() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10));
    let paused = RangeSet::from_iter([TaskRange::new(1, 4)]);
    let message = MasterMessage::Pause(vec![(LEASE, paused.clone())]);
    let actions = receive(&mut session, message, 1);
    assert!(matches!(&actions[..], [Action::Pause(LEASE, tasks)] if *tasks == paused));
    let queued = RangeSet::from_iter([TaskRange::new(2, 4)]);
    let actions = session.step(Event::Withdrawn(vec![(LEASE, queued)]), Vec::new(), 1);
    assert_eq!(returned(&actions), [(TaskRange::new(2, 4), None)]);
    session.step(Event::Disconnected, Vec::new(), 2);
    let (held, _) = connect(&mut session, 500);
    assert_eq!(held[0].paused.ranges(), [TaskRange::single(1)], "the next leader is told");
}

#[test]
fn who_is_drained_may_be_told_to_go_on() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 2));
    receive(&mut session, MasterMessage::Drain(true), 1);
    session.step(Event::Withdrawn(vec![(LEASE, RangeSet::new())]), Vec::new(), 1);
    receive(&mut session, MasterMessage::Drain(false), 2);
    session.step(Event::Finished(vec![finished(0), finished(1)]), Vec::new(), 9);
    let more = Lease { id: LeaseId { term: 1, seq: 2 }, ..lease(20, 22) };
    assert!(matches!(grant(&mut session, more)[..], [Action::Run(_)]));
    let actions = receive(&mut session, MasterMessage::PagesStored(vec![1]), 10);
    assert!(!says_goodbye(&actions));
}

fn cannot_run(index: u32) -> Finished {
    let end = End::CannotRun { reason: "disk full".to_owned() };
    Finished { lease: LEASE, task: STAGE.task(index), end }
}

#[test]
fn heartbeats_carry_what_runs() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10));
    let actions = session.step(Event::Tick, vec![(LEASE, 3), (LEASE, 4)], 1000);
    let [Action::Send(AgentMessage::Heartbeat(marks))] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(marks[0].started, [3, 4]);
    assert_eq!(marks[0].open.len(), 10);
}

/// What of the actions is about measuring.
fn calibrates(actions: &[Action]) -> Vec<&Action> {
    let measures = |action: &&Action| {
        matches!(action, Action::Calibrate | Action::StopCalibrating)
            || matches!(action, Action::Send(AgentMessage::Calibrated { .. }))
    };
    actions.iter().filter(measures).collect()
}

#[test]
fn who_has_nothing_to_do_measures_itself_again_seldom() {
    let mut session = welcomed();
    let Recalibration { idle_ms, every_ms } = Recalibration::default();
    assert!(idle_ms < every_ms);
    let tick = |session: &mut Session, now_ms| session.step(Event::Tick, Vec::new(), now_ms);
    assert!(calibrates(&tick(&mut session, every_ms - 1)).is_empty());
    let begun = tick(&mut session, every_ms);
    assert!(matches!(calibrates(&begun)[..], [Action::Calibrate]), "{begun:?}");
    let later_ms = every_ms + 90;
    assert!(calibrates(&tick(&mut session, later_ms)).is_empty(), "it measures already");
    let told = session.step(Event::Calibrated(Some(77)), Vec::new(), later_ms);
    let told = calibrates(&told);
    let [Action::Send(AgentMessage::Calibrated { fuel_per_second: 77 })] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(calibrates(&tick(&mut session, later_ms + every_ms - 1)).is_empty());
    let again = tick(&mut session, later_ms + every_ms);
    assert!(matches!(calibrates(&again)[..], [Action::Calibrate]), "{again:?}");
    let nothing = session.step(Event::Calibrated(None), Vec::new(), later_ms + every_ms + 1);
    assert!(calibrates(&nothing).is_empty(), "{nothing:?}");
    assert!(calibrates(&tick(&mut session, later_ms + every_ms + 2)).is_empty(), "not at once");
}

#[test]
fn what_was_measured_without_a_leader_is_in_the_next_hello() {
    let mut session = welcomed();
    let every_ms = Recalibration::default().every_ms;
    session.step(Event::Disconnected, Vec::new(), 1);
    let begun = session.step(Event::Tick, Vec::new(), every_ms);
    assert!(matches!(calibrates(&begun)[..], [Action::Calibrate]), "{begun:?}");
    assert!(session.step(Event::Calibrated(Some(77)), Vec::new(), every_ms + 90).is_empty());
    let hello = session.step(Event::Connected, Vec::new(), every_ms + 91);
    let [Action::Send(AgentMessage::Hello { agent, .. })] = &hello[..] else { panic!("{hello:?}") };
    assert_eq!(agent.fuel_per_second, 77);
}

#[test]
fn who_has_tasks_does_not_measure_itself_and_forgets_what_it_was_about_to() {
    let mut session = welcomed();
    let Recalibration { idle_ms, every_ms } = Recalibration::default();
    session.step(Event::Tick, Vec::new(), every_ms);
    let granted = receive(&mut session, MasterMessage::Grants(vec![lease(0, 1)]), every_ms + 5);
    assert!(matches!(calibrates(&granted)[..], [Action::StopCalibrating]), "{granted:?}");
    let late = session.step(Event::Calibrated(Some(77)), Vec::new(), every_ms + 6);
    assert!(calibrates(&late).is_empty(), "a task may have run meanwhile");
    let busy = session.step(Event::Tick, Vec::new(), 9 * every_ms);
    assert!(calibrates(&busy).is_empty(), "{busy:?}");

    let now_ms = 9 * every_ms + 1;
    session.step(Event::Finished(vec![finished(0)]), Vec::new(), now_ms);
    receive(&mut session, MasterMessage::PagesStored(vec![1]), now_ms);
    assert_eq!(session.leases(), 0);
    let soon = session.step(Event::Tick, Vec::new(), now_ms + idle_ms - 1);
    assert!(calibrates(&soon).is_empty(), "{soon:?}");
    let idle = session.step(Event::Tick, Vec::new(), now_ms + idle_ms);
    assert!(matches!(calibrates(&idle)[..], [Action::Calibrate]), "{idle:?}");
}

#[test]
fn who_compiles_ahead_of_tasks_does_not_measure_itself() {
    let mut session = welcomed();
    let every_ms = Recalibration::default().every_ms;
    let module = ModuleKey { digest: Digest::of(b"module"), metering: Metering::Fuel };
    receive(&mut session, precompile(&Namespace::default_namespace(), module), 1);
    let busy = session.step(Event::Tick, Vec::new(), 2 * every_ms);
    assert!(calibrates(&busy).is_empty(), "{busy:?}");
    session.step(Event::Precompiled(module, Precompiled::Ready), Vec::new(), 2 * every_ms);
    let idle = session.step(Event::Tick, Vec::new(), 3 * every_ms);
    assert!(matches!(calibrates(&idle)[..], [Action::Calibrate]), "{idle:?}");
}

#[test]
fn a_master_that_is_not_there_is_asked_again_ever_less_often() {
    let mut session = Session::new(agent(), Recalibration::default(), Vec::new());
    let mut now_ms = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let actions = session.step(Event::Tick, Vec::new(), now_ms);
        assert!(matches!(actions[..], [Action::Connect]), "{actions:?} at {now_ms}");
        session.step(Event::Disconnected, Vec::new(), now_ms);
        let next = session.next_wakeup_ms().expect("a next attempt");
        waits.push(next - now_ms);
        now_ms = next;
    }
    assert!(waits.is_sorted() && waits.last() == Some(&MAX_RECONNECT_MS), "{waits:?}");
}

#[test]
fn pages_stay_within_their_bounds() {
    let mut session = welcomed();
    grant(&mut session, lease(0, 10_000));
    let ended = (0..10_000).map(|index| {
        let mut ended = finished(index);
        if let End::Result(result) = &mut ended.end {
            result.stdout = weir_proto::page::Output::Inline(vec![7; 1000]);
        }
        ended
    });
    let actions = session.step(Event::Finished(ended.collect()), Vec::new(), 1);
    let ranges = pages(&actions);
    assert_eq!(ranges.iter().map(|(_, range)| range.len()).sum::<u32>(), 10_000);
    for action in &actions {
        if let Action::Send(AgentMessage::Pages { pages, .. }) = action {
            let bytes: usize = pages.iter().map(|page| page.page.len()).sum();
            assert!(bytes <= MAX_PAGE_BYTES, "{bytes} bytes in a message");
        }
    }
}
