//! What an agent offers, and what of it tasks take: by name too.

use serde_json::json;
use weir_tests::{
    cluster::{Server, Weir},
    guests::guest,
};

#[test]
fn a_task_that_takes_something_by_name_runs_where_that_is() {
    let server = Server::with_flags(&["--cores", "2", "--resource", "gpu=1"]);
    server.wait_for_agents(1);

    let plain = server.weir(["run"]).arg(guest("echo")).run();
    let named = server.weir(["run", "--resource", "gpu=1", "--array", "3"]).arg(guest("echo"));
    let named = named.run();
    let agents = server.weir(["cluster", "agents", "--json"]).run().exited_with(0).json();

    plain.exited_with(0);
    named.exited_with(0);
    assert_eq!(agents[0]["countables"], json!({ "gpu": 1 }), "{agents:#}");
    assert_eq!(agents[0]["used_countables"], json!({}), "{agents:#}");
    let shown = server.weir(["job", "show", "2"]).run().exited_with(0);
    assert!(shown.stdout_text().contains("and gpu=1"), "{shown}");
    let table = server.weir(["cluster", "agents"]).run().exited_with(0);
    assert!(table.stdout_text().contains("gpu 0 of 1"), "{table}");
}

#[test]
fn more_by_name_than_any_agent_has_is_refused_with_what_there_is() {
    let server = Server::with_flags(&["--cores", "2", "--memory", "1GiB", "--resource", "gpu=1"]);
    server.wait_for_agents(1);

    for (asked, needs) in [("gpu=2", "and gpu=2"), ("tpu=1", "and tpu=1")] {
        let ran = server.weir(["run", "--resource", asked]).arg(guest("echo")).run();
        ran.exited_with(125).says(&[
            needs,
            "no agent is as large",
            "the largest has 2 cores, 1.00 GiB and gpu=1",
        ]);
    }
}

#[test]
fn an_agent_that_offers_more_memory_than_there_is_does_not_start() {
    let data = tempfile::tempdir().expect("a directory");
    let dev = Weir::new(["dev", "--listen", "127.0.0.1:0", "--memory", "900TiB", "--data-dir"]);
    dev.arg(data.path()).run().exited_with(125).says(&[
        "has no room for what the agent offers",
        "900 TiB",
        "offer less with --memory",
    ]);
}

#[test]
fn namespaces_have_weights_that_outlive_their_jobs() {
    let server = Server::fresh();
    let namespace = |args: &str| {
        server.weir(["namespace"]).args(args.split(' ')).run().exited_with(0).stdout_text()
    };

    assert_eq!(namespace("set team-a --weight 3"), "namespace team-a has weight 3\n");
    let run = server.weir(["run", "--namespace", "team-a"]).arg(guest("echo")).run();
    run.exited_with(0);
    let listed = server.weir(["namespace", "ls", "--json"]).run().exited_with(0).json();
    assert_eq!(
        listed,
        json!([{ "namespace": "team-a", "weight": 3, "active_jobs": 0, "open_tasks": 0, "slots": 0 }])
    );
    assert!(namespace("ls").contains("team-a"));
    let events = server.weir(["events"]).run().exited_with(0).stdout_text();
    assert!(events.contains("namespace team-a has weight 3"), "{events}");
    assert!(namespace("set team-a --weight 1 --json").contains("\"weight\": 1"));
    assert_eq!(namespace("ls --json").trim(), "[]");
}

#[test]
fn a_weight_that_is_none_is_refused() {
    for weight in ["0", "1001", "half"] {
        let set = Weir::new(["namespace", "set", "team-a", "--weight", weight]).run();
        set.exited_with(2).says(&["1 to 1000"]);
    }
}
