//! Leases that make no sense to a real agent, from a leader that a test plays; and answers of an agent
//! that it plays about leases that a real master does not know.

use weir_proto::{
    agent::{AgentMessage, MasterMessage, SequencedPage},
    digest::Digest,
    id::{JobId, LeaseId, Namespace, StageId},
    job::{StageSpec, TaskKind},
    lease::Lease,
    limits::Resources,
    outcome::{Outcome, Usage},
    page::{Page, TaskResult},
    range::TaskRange,
    wire,
};
use weir_tests::{
    cluster::{Server, Weir},
    guests::guest,
    scripted::{Leader, ScriptedAgent, ScriptedMaster},
};

/// The term of the leader that the test plays.
const TERM: u64 = 5;

fn lease(seq: u64) -> Lease {
    let spec = StageSpec {
        count: 10,
        kind: TaskKind::Array,
        resources: Resources::new(100, 1 << 20),
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    Lease {
        id: LeaseId { term: TERM, seq },
        stage: StageId { job: JobId(seq), stage: 0 },
        range: TaskRange::new(0, 10),
        slots: 1,
        namespace: Namespace::default_namespace(),
        spec,
        profile: "weir-1".to_owned(),
        weights: Vec::new(),
    }
}

/// Grants a lease, and returns why it comes back.
fn refused(leader: &mut Leader<'_>, lease: Lease) -> String {
    let id = lease.id;
    leader.say(MasterMessage::Grants(vec![lease]));
    let reason = leader.hear(|message| match message {
        AgentMessage::Returned { lease, reason, .. } if lease == id => Some(reason),
        _ => None,
    });
    reason.expect("the agent stays").expect("nobody asked for it back")
}

fn is_alive(leader: &mut Leader<'_>) -> bool {
    leader.hear(|message| matches!(message, AgentMessage::Heartbeat(_)).then_some(())).is_some()
}

#[test]
fn an_agent_gives_bad_leases_back_and_leaves_leaders_that_make_no_sense() {
    let data = tempfile::tempdir().expect("a directory");
    let mut master = ScriptedMaster::start();
    let weir = Weir::new(["agent", "--cores", "1", "--memory", "1GiB", "--name", "tried"]);
    let weir = weir.args(["--master", &master.url(), "--data-dir"]).arg(data.path());
    let mut agent = weir.start();

    let mut leader = master.session();
    leader.welcome(TERM);
    let profile = refused(&mut leader, Lease { profile: "weir-9".to_owned(), ..lease(1) });
    assert!(profile.contains("weir-9"), "{profile}");
    let later = Lease { id: LeaseId { term: TERM + 1, seq: 2 }, ..lease(2) };
    let later = refused(&mut leader, later);
    assert!(later.contains("term 6"), "{later}");
    // The store of this leader gives other bytes than those that were asked for.
    let corrupt = refused(&mut leader, lease(3));
    let digest = lease(3).spec.module.to_string();
    assert!(corrupt.contains("the store sent blake3:"), "{corrupt}");
    assert!(corrupt.contains(&format!("for blob {digest}")), "{corrupt}");
    assert!(is_alive(&mut leader));

    // A range outside its stage is no lease, and who sends it no leader.
    let outside = wire::Lease { range: Some(wire::Range { start: 5, end: 11 }), ..lease(4).into() };
    leader.say(wire::MasterMessage {
        body: Some(wire::master_message::Body::Grants(wire::Grants { leases: vec![outside] })),
    });
    assert_eq!(leader.hear(|_| None::<()>), None, "it closes the session");

    let mut deposed = master.session();
    deposed.welcome(TERM - 1);
    assert_eq!(deposed.hear(|_| None::<()>), None, "it closes the session");

    let mut leader = master.session();
    leader.welcome(TERM);
    assert!(is_alive(&mut leader) && agent.is_running());
}

#[test]
fn a_master_takes_results_of_leases_that_it_does_not_know_and_ignores_the_rest() {
    let data = tempfile::tempdir().expect("a directory");
    let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
    let url = format!("http://{}", master.address());
    let mut agent = ScriptedAgent::start(&url, ScriptedAgent::description("strange"));
    let run = master.weir(["run", "--json"]).arg(guest("echo")).start();
    let granted = agent.hear(|message| match message {
        MasterMessage::Grants(leases) => leases.into_iter().next(),
        _ => None,
    });
    let granted = granted.expect("a lease");

    let unknown = LeaseId { term: granted.id.term + 7, seq: granted.id.seq };
    let range = granted.range;
    let reason = || Some("it makes no sense".to_owned());
    agent.say(AgentMessage::Returned { lease: unknown, range, reason: reason() });
    let beyond = TaskRange::new(range.end, range.end + 9);
    agent.say(AgentMessage::Returned { lease: granted.id, range: beyond, reason: reason() });
    let usage = Usage::default();
    let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
    let page = Page { stage: granted.stage, first: range.start, results: vec![result] }.encode();
    let nowhere = StageId { job: JobId(77), stage: 3 };
    let other = Page {
        stage: nowhere,
        first: 0,
        results: vec![TaskResult::without_output(
            Outcome::Succeeded { exit_code: 0 },
            Usage::default(),
        )],
    };
    let pages = vec![
        SequencedPage { seq: 1, lease: unknown, page },
        SequencedPage { seq: 2, lease: unknown, page: other.encode() },
    ];
    agent.say(AgentMessage::Pages { pages, leases: Vec::new() });

    run.wait().exited_with(0);
    let stored = agent.hear(|message| match message {
        MasterMessage::PagesStored(seqs) => Some(seqs),
        _ => None,
    });
    assert_eq!(stored, Some(vec![1, 2]), "the agent may forget both");
}
