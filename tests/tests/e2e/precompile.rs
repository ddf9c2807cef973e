//! Modules compiled before tasks need them.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    bombs::{bomb, functions},
    cluster::{PATIENCE, Process, Server, poll},
    guests::guest,
};

/// A master and two agents. Fields are dropped in their order: processes first.
struct Two {
    master: Server,
    agents: Vec<Process>,
    data: TempDir,
}

impl Two {
    fn start() -> Two {
        let data = tempfile::tempdir().expect("a directory");
        let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
        let start = |name: &str| master.start_agent(name, &data.path().join(name), 1);
        let agents = vec![start("left"), start("right")];
        master.wait_for_agents(2);
        Two { master, agents, data }
    }

    /// How many modules an agent has compiled.
    fn compiled(&self, agent: &str) -> usize {
        let files = fs::read_dir(self.data.path().join(agent).join("modules")).expect("modules");
        let names = files.map(|file| file.expect("a file").file_name());
        names.filter(|name| !name.to_string_lossy().starts_with("compiling-")).count()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.data.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    }
}

#[test]
fn a_module_that_is_put_is_compiled_by_all_agents_before_the_command_ends() {
    let mut two = Two::start();
    let put = |path: &Path| two.master.weir(["put", "--precompile", "--json"]).arg(path).run();

    let json = put(&guest("echo")).exited_with(0).json();
    assert_eq!((two.compiled("left"), two.compiled("right")), (1, 1));
    let mut agents: Vec<_> = json["compiled"].as_array().expect("agents").clone();
    agents.sort_by_key(|agent| agent["agent"].to_string());
    let ready = |name: &str| serde_json::json!({"agent": name, "result": "ready", "reason": null});
    assert_eq!(agents, [ready("left"), ready("right")]);

    // Again from memory; then with one agent less.
    let again = two.master.weir(["put", "--precompile"]).arg(guest("echo")).run().exited_with(0);
    assert_eq!(again.stdout_text().trim(), json["digest"]);
    again.says(&["2 of 2 agents can run it at once"]);
    two.agents.pop().expect("an agent").terminate();
    two.master.wait_for_agents(1);
    let put = two.master.weir(["put", "--precompile"]).arg(guest("checksum")).run().exited_with(0);
    put.says(&["1 of 1 agent can run it at once"]);
}

#[test]
fn what_cannot_be_compiled_is_told_with_its_reason() {
    let two = Two::start();
    let put = |path: &Path| two.master.weir(["put", "--precompile"]).arg(path).run();

    // Seen by the master; seen by a compiler alone; no module at all.
    let library = two.file("library.wasm", &wat::parse_str("(module)").expect("it parses"));
    put(&library).exited_with(125).says(&["library.wasm is put, but", "no function `_start`"]);
    let wrong = "(module (func (export \"_start\") i32.add))";
    let wrong = two.file("wrong.wasm", &wat::parse_str(wrong).expect("it parses"));
    let refused = put(&wrong).exited_with(125);
    assert!(refused.stdout_text().starts_with("blake3:"), "{refused}");
    refused.says(&[
        "- agent left: invalid module: ",
        "- agent right: invalid module: ",
        "type mismatch",
    ]);
    put(two.data.path()).exited_with(125).says(&["directory"]);
}

#[test]
fn a_job_submitted_with_precompile_has_all_agents_compile_its_module() {
    let two = Two::start();
    let module = two.file("functions.wasm", &functions(1_000));

    two.master.weir(["run", "--precompile"]).arg(&module).run().exited_with(0);
    let both = poll(PATIENCE, || (two.compiled("left"), two.compiled("right")) == (1, 1));
    assert!(both, "{} and {}", two.compiled("left"), two.compiled("right"));

    two.master.weir(["run"]).arg(guest("echo")).run().exited_with(0);
    assert_eq!(two.compiled("left") + two.compiled("right"), 3);
}

#[test]
fn tasks_go_on_while_a_module_is_compiled_ahead_and_the_agent_stops_in_the_middle() {
    let server = Server::with_flags(&["--cores", "2"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bomb.wasm");
    fs::write(&path, bomb(3_000)).expect("written");
    let putting = server.weir(["put", "--precompile"]).arg(&path).start();
    putting.wait_for_stdout("blake3:");

    let echo = server.weir(["run"]).arg(guest("echo")).args(["--", "quick"]).run().exited_with(0);

    assert_eq!(echo.stdout_text(), "quick\n");
    let status: Value = server.weir(["status", "--json"]).run().exited_with(0).json();
    assert_eq!(status["agents"][0]["live"], true);
    server.stop().exited_with(0);
}
