//! Machines that are measured again: the agent's part with a leader that a test plays, the master's
//! part with an agent that it plays.

use weir_agent::{Agent, AgentConfig, compiler::CompilerConfig, session::Recalibration};
use weir_proto::{
    agent::{AgentMessage, MasterMessage},
    countable::Countables,
};
use weir_tests::{
    cluster::{PATIENCE, Server, poll},
    scripted::{ScriptedAgent, ScriptedMaster},
};

#[test]
fn an_agent_that_has_nothing_to_do_measures_its_machine_again() {
    let data = tempfile::tempdir().expect("a directory");
    let mut master = ScriptedMaster::start();
    let config = AgentConfig {
        data_dir: data.path().to_owned(),
        master: master.url(),
        name: "idle".to_owned(),
        cores: 1,
        memory_bytes: 1 << 28,
        countables: Countables::new(),
        compiler: CompilerConfig::in_this_process(),
        module_cache_bytes: None,
        recalibration: Recalibration { idle_ms: 20, every_ms: 50 },
    };
    let agent = master.runtime().block_on(Agent::start(config)).expect("an agent");
    let runtime = master.runtime().handle().clone();

    let mut leader = master.session();
    leader.welcome(1);
    for _ in 0..3 {
        let measured = leader.hear(|message| match message {
            AgentMessage::Calibrated { fuel_per_second } => Some(fuel_per_second),
            _ => None,
        });
        assert!(measured > Some(1_000_000), "{measured:?}");
    }

    drop(leader);
    runtime.block_on(agent.stop());
}

#[test]
fn what_an_agent_measured_again_is_what_the_cluster_shows() {
    let data = tempfile::tempdir().expect("a directory");
    let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
    let shown = || {
        let agents = master.weir(["cluster", "agents", "--json"]).run().exited_with(0).json();
        agents[0]["fuel_per_second"].as_u64()
    };
    let index = || {
        let status = master.weir(["status", "--json"]).run().exited_with(0).json();
        status["applied_index"].as_u64()
    };
    let url = format!("http://{}", master.address());
    let mut agent = ScriptedAgent::start(&url, ScriptedAgent::description("measured"));
    let welcome = |message| matches!(message, MasterMessage::Welcome { .. }).then_some(());
    agent.hear(welcome).expect("a welcome");
    assert_eq!(shown(), Some(1_000_000_000));

    // Too little to be worth an entry of the log; what follows in the session tells that it was heard.
    let before = index();
    agent.say(AgentMessage::Calibrated { fuel_per_second: 1_040_000_000 });
    agent.say(AgentMessage::Calibrated { fuel_per_second: 700_000_000 });
    assert!(poll(PATIENCE, || shown() == Some(700_000_000)), "{:?}", shown());
    assert_eq!(index(), before.map(|index| index + 1), "one of two was committed");

    // In a new session of the same life, too.
    let faster = weir_proto::agent::AgentDescription {
        fuel_per_second: 900_000_000,
        ..ScriptedAgent::description("measured")
    };
    let mut agent = ScriptedAgent::start(&url, faster);
    agent.hear(welcome).expect("a welcome");
    assert!(poll(PATIENCE, || shown() == Some(900_000_000)), "{:?}", shown());
    let events = master.weir(["events", "--json"]).run().exited_with(0).stdout_text();
    assert_eq!(events.matches("agent_joined").count(), 1, "{events}");
}
