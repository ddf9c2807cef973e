//! Leases for what an agent runs, and for what it does not.

use super::*;

#[test]
fn a_lease_for_another_profile_is_given_back_with_the_reason() {
    let refused = |agent: AgentDescription, lease: Lease| {
        let mut session = welcomed_as(agent);
        let actions = grant(&mut session, lease);
        let [Action::Send(AgentMessage::Returned { reason: Some(reason), .. })] = &actions[..]
        else {
            panic!("{actions:?}");
        };
        assert_eq!(session.leases(), 0);
        reason.clone()
    };
    let with_epochs =
        || AgentDescription { epoch_profile: Some("weir-1-epoch".to_owned()), ..agent() };
    let of = |metering, profile: &str| {
        let lease = lease(0, 3);
        let spec = StageSpec { metering, ..lease.spec };
        Lease { profile: profile.to_owned(), spec, ..lease }
    };
    assert_eq!(
        refused(agent(), of(Metering::Fuel, "weir-9")),
        "the lease is for profile \"weir-9\", and this agent runs \"weir-1\""
    );
    assert_eq!(
        refused(agent(), of(Metering::Epoch, "weir-1-epoch")),
        "the lease is for tasks metered by epoch, and this agent runs none of those"
    );
    assert_eq!(
        refused(with_epochs(), of(Metering::Fuel, "weir-1-epoch")),
        "the lease is for profile \"weir-1-epoch\", and this agent runs \"weir-1\""
    );
    let mut session = welcomed_as(with_epochs());
    let actions = grant(&mut session, of(Metering::Epoch, "weir-1-epoch"));
    assert!(matches!(actions[..], [Action::Run(_)]), "{actions:?}");
}
