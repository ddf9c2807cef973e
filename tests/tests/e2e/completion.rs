//! What shells are told when somebody presses Tab: what a cluster has, quickly or not at all.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use weir_tests::{
    cluster::{Ran, Server, Weir},
    guests::guest,
};

/// Presses Tab at the end of a line, as bash does it.
const PRESS_TAB: &str = r#"
set -u
source <(weir completions bash)
COMP_POINT=${#COMP_LINE} COMP_TYPE=9
_weir_complete weir "${COMP_LINE##*[ :=]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

fn bash(master: &str, line: &str) -> Vec<String> {
    let mut shell = Weir::shell("exec bash -c \"$PRESS_TAB\"");
    shell.env("PRESS_TAB", PRESS_TAB).env("COMP_LINE", line).env("WEIR_MASTER", master);
    let told = shell.output().expect("bash runs").stdout;
    String::from_utf8(told).expect("text").lines().map(str::to_owned).collect()
}

/// As the script for fish asks: the words as arguments.
fn fish(master: &str, words: &[&str]) -> Ran {
    Weir::new(["--"]).args(words).env("_WEIR_COMPLETE", "fish").env("WEIR_MASTER", master).run()
}

/// A cluster with an agent, a job that failed, one that succeeded, one that is active, and a name.
fn cluster() -> Server {
    let server = Server::fresh();
    server.wait_for_agents(1);
    let run = |name: &str, module: &str, arg: &str| {
        let run = server.weir(["run", "--namespace", "blue", "--name", name]).arg(guest(module));
        run.args(["--", arg]).run()
    };
    run("crash", "exit-code", "3").exited_with(3);
    run("greet", "echo", "hello").exited_with(0);
    let submit = server.weir(["submit", "--namespace", "blue", "--name", "sleep"]);
    submit
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .run()
        .exited_with(0);
    let name = server.weir(["name", "set", "--namespace", "blue", "tools/echo"]);
    name.arg(guest("echo")).run().exited_with(0);
    server
}

#[test]
fn jobs_are_completed_active_ones_first_and_told_by_name_and_status() {
    let server = cluster();
    let told = |line: &str| bash(server.address(), &format!("weir --namespace blue {line}"));

    let all = told("job show ");

    assert_eq!(all, ["3  (sleep, active)", "2  (greet, succeeded)", "1  (crash, failed)"]);
    assert_eq!(told("job logs job-2"), ["job-2"]);
    assert_eq!(told("job cancel "), ["3"]);
    assert_eq!(told("job rm 1 "), ["2  (greet, succeeded)", "1  (crash, failed)"]);
    assert_eq!(bash(server.address(), "weir job watch --namespace=blue 3"), ["3"]);
    let words = ["weir", "--namespace", "blue", "job", "retry", ""];
    let fish = fish(server.address(), &words).exited_with(0);
    assert_eq!(fish.stdout_text(), "2\tgreet, succeeded\n1\tcrash, failed\n");
}

#[test]
fn names_agents_and_namespaces_are_completed() {
    let server = cluster();
    let told = |line: &str| bash(server.address(), line);
    let agents = server.weir(["cluster", "agents", "--json"]).run().exited_with(0).json();
    let agent = agents[0]["name"].as_str().expect("a name");

    assert_eq!(told("weir name get --namespace blue to"), ["tools/echo"]);
    // Bash takes `:` and `=` for ends of words, and replaces what follows them.
    assert_eq!(told("weir get --namespace blue name:to"), ["tools/echo"]);
    assert_eq!(told("weir run --namespace blue --in tool=name:"), ["tools/echo"]);
    assert_eq!(told("weir job ls --namespace b"), ["blue"]);
    assert_eq!(told("weir cluster agents "), [agent]);
    let one = server.weir(["cluster", "agents", agent, "--json"]).run().exited_with(0).json();
    assert_eq!(one, agents);
    let none = server.weir(["cluster", "agents", "nobody"]).run();
    none.exited_with(125).says(&["no agent \"nobody\"", "`weir cluster agents`"]);
}

#[test]
fn without_a_cluster_nothing_is_said_and_nobody_waits() {
    // Connections come about, but nobody reads what they say.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("an address").to_string();

    let started = Instant::now();
    let silent = fish(&address, &["weir", "job", "cancel", "7"]);
    let took = started.elapsed();
    let nobody = fish("127.0.0.1:1", &["weir", "name", "get", "x"]);
    let broken = fish("no address", &["weir", "job", "sho"]);

    for ran in [silent, nobody] {
        let ran = ran.exited_with(0);
        assert_eq!((ran.stdout_text(), ran.stderr_text()), (String::new(), String::new()));
    }
    assert!(took < Duration::from_secs(4), "{took:?}");
    let broken = broken.exited_with(0);
    assert!(broken.stdout_text().starts_with("show\t"), "{broken}");
    assert_eq!(broken.stderr_text(), "");
}
