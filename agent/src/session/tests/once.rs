//! Tasks that run at most once, and pages that outlive the agent's process.

use weir_proto::capability::Capability;

use super::*;

fn once(start: u32, end: u32) -> Lease {
    let lease = lease(start, end);
    Lease { spec: StageSpec { once: true, ..lease.spec }, ..lease }
}

fn kept(actions: &[Action]) -> Vec<u64> {
    let kept = actions.iter().filter_map(|action| match action {
        Action::Keep { seq, cluster, page } => {
            assert_eq!(*cluster, ClusterId(1));
            Page::decode(page).expect("a page");
            Some(*seq)
        }
        _ => None,
    });
    kept.collect()
}

fn forgotten(actions: &[Action]) -> Vec<u64> {
    let forgotten = actions.iter().filter_map(|action| match action {
        Action::Forget(seq) => Some(*seq),
        _ => None,
    });
    forgotten.collect()
}

fn end(session: &mut Session, index: u32) -> Vec<Action> {
    session.step(Event::Finished(vec![finished(index)]), Vec::new(), 1)
}

#[test]
fn a_lease_that_comes_again_when_it_is_over_runs_nothing() {
    let mut session = welcomed();
    grant(&mut session, once(0, 1));
    end(&mut session, 0);
    session.step(Event::Received(MasterMessage::PagesStored(vec![1])), Vec::new(), 2);
    assert_eq!(session.leases(), 0);
    assert!(grant(&mut session, once(0, 1)).is_empty());
    let next = Lease { id: LeaseId { term: 1, seq: 2 }, ..once(1, 2) };
    assert!(matches!(grant(&mut session, next)[..], [Action::Run(_)]));
}

#[test]
fn a_result_is_kept_and_sent_at_once_and_forgotten_when_it_is_stored() {
    let mut session = welcomed();
    grant(&mut session, once(0, 3));
    let actions = end(&mut session, 1);
    assert_eq!(kept(&actions), [1]);
    assert_eq!(pages(&actions), [(1, TaskRange::single(1))]);
    let stored = MasterMessage::PagesStored(vec![1]);
    assert_eq!(forgotten(&session.step(Event::Received(stored), Vec::new(), 2)), [1]);
    assert_eq!(kept(&end(&mut session, 2)), [2]);
    let revoked = MasterMessage::Revoke(vec![LEASE]);
    assert_eq!(forgotten(&session.step(Event::Received(revoked), Vec::new(), 3)), [2]);
}

#[test]
fn only_what_is_wrong_or_dear_to_repeat_is_kept() {
    let pure = || lease(0, 1).spec;
    let impure = || StageSpec { capabilities: [Capability::Clock].into(), ..pure() };
    for (spec, wall_us, is_kept) in [
        (pure(), 10, false),
        (pure(), 1_000_000, true),
        (impure(), 10, true),
        (StageSpec { metering: Metering::Epoch, ..pure() }, 10, true),
    ] {
        let epoch_profile = Some("weir-1-epoch".to_owned());
        let agent = AgentDescription { epoch_profile, ..agent() };
        let profile = agent.profile_for(spec.metering).expect("it runs both").to_owned();
        let mut session = welcomed_as(agent);
        let said = format!("{:?} {:?} {wall_us}", spec.capabilities, spec.metering);
        grant(&mut session, Lease { spec, profile, ..lease(0, 1) });
        let mut ended = finished(0);
        let End::Result(result) = &mut ended.end else { panic!("a result") };
        result.usage.wall_us = wall_us;
        let actions = session.step(Event::Finished(vec![ended]), Vec::new(), 1);
        assert_eq!(!kept(&actions).is_empty(), is_kept, "{said}");
        let stored = MasterMessage::PagesStored(vec![1]);
        let actions = session.step(Event::Received(stored), Vec::new(), 2);
        assert_eq!(!forgotten(&actions).is_empty(), is_kept);
    }
}

#[test]
fn what_an_earlier_life_kept_is_told_before_the_hello_until_it_is_stored() {
    let page = |byte| (ClusterId(byte), vec![byte as u8]);
    let mut session =
        Session::new(agent(), Recalibration::default(), vec![page(1), page(1), page(2)]);
    session.step(Event::Tick, Vec::new(), 0);
    let told = |actions: Vec<Action>| -> Vec<(ClusterId, Vec<u64>)> {
        let (last, kept) = actions.split_last().expect("a hello");
        assert!(matches!(last, Action::Send(AgentMessage::Hello { .. })), "{last:?}");
        let kept = kept.iter().map(|action| match action {
            Action::Send(AgentMessage::Kept { agent: AgentId(1), cluster, pages }) => {
                (*cluster, pages.iter().map(|page| page.seq).collect())
            }
            other => panic!("{other:?}"),
        });
        kept.collect()
    };
    let actions = session.step(Event::Connected, Vec::new(), 0);
    assert_eq!(told(actions), [(ClusterId(1), vec![1, 2]), (ClusterId(2), vec![3])]);
    // The leader may say so before it says welcome.
    let stored = MasterMessage::PagesStored(vec![3, 1]);
    assert_eq!(forgotten(&session.step(Event::Received(stored), Vec::new(), 1)), [3, 1]);
    session.step(Event::Disconnected, Vec::new(), 2);
    session.step(Event::Tick, Vec::new(), 5_000);
    let actions = session.step(Event::Connected, Vec::new(), 5_000);
    assert_eq!(told(actions), [(ClusterId(1), vec![2])]);
    // New pages are not taken for old ones.
    let welcome = MasterMessage::Welcome { cluster: ClusterId(1), heartbeat_ms: 1000, term: 1 };
    session.step(Event::Received(welcome), Vec::new(), 5_000);
    grant(&mut session, once(0, 1));
    assert_eq!(kept(&end(&mut session, 0)), [4]);
}

#[test]
fn many_kept_pages_are_told_in_messages_of_bounded_size() {
    let page = || (ClusterId(1), vec![0; MAX_PAGE_BYTES / 3]);
    let mut session =
        Session::new(agent(), Recalibration::default(), (0..10).map(|_| page()).collect());
    session.step(Event::Tick, Vec::new(), 0);
    let mut seqs = Vec::new();
    for action in session.step(Event::Connected, Vec::new(), 0) {
        if let Action::Send(AgentMessage::Kept { pages, .. }) = action {
            assert!(pages.len() <= 3);
            seqs.extend(pages.into_iter().map(|page| page.seq));
        }
    }
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
}

#[test]
fn an_agent_that_leaves_lets_end_what_has_begun_and_gives_back_the_rest() {
    let mut session = welcomed();
    grant(&mut session, once(0, 3));
    let actions = session.step(Event::Leave, Vec::new(), 0);
    let [Action::Send(AgentMessage::Stopping), Action::Withdraw(LEASE, tasks)] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(tasks.len(), 3);
    let unbegun = RangeSet::from_iter([TaskRange::single(2)]);
    let actions = session.step(Event::Withdrawn(vec![(LEASE, unbegun)]), Vec::new(), 0);
    let [Action::Send(AgentMessage::Returned { range, .. })] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*range, TaskRange::single(2));
    assert_eq!(kept(&end(&mut session, 0)), [1]);
    let stored = MasterMessage::PagesStored(vec![1]);
    session.step(Event::Received(stored), Vec::new(), 2);
    // One goes on for longer than there is time.
    let actions = session.step(Event::Tick, Vec::new(), LEAVE_MS);
    let [.., Action::Stop(LEASE), Action::Send(AgentMessage::Leaving { abandoned })] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    let begun = [TaskRange::single(1)].into_iter().collect();
    assert_eq!(*abandoned, [(LEASE, begun)], "what else it has has not begun");
}
