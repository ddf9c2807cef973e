//! Components: every guest that is a module of preview 1 does the same as a component of preview 2.
//!
//! The adapter of the WebAssembly project stands between the two, as in what `wasm-tools component
//! new` makes; it and the guests' own standard library call nearly all of preview 2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use weir_tests::{
    cluster::{Ran, Server},
    guests::guest,
};
use wit_component::ComponentEncoder;

use crate::files_in;

/// A guest as a component.
fn component(dir: &TempDir, name: &str) -> PathBuf {
    component_of(dir, &guest(name))
}

/// A module of preview 1 as a component.
pub(crate) fn component_of(dir: &TempDir, module: &Path) -> PathBuf {
    let name = module.file_stem().expect("a file's name").to_string_lossy();
    let module = fs::read(module).expect("a guest");
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
    let bytes = ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .expect("a guest of preview 1");
    let path = dir.path().join(format!("{name}.component.wasm"));
    fs::write(&path, bytes).expect("a file");
    path
}

/// Runs a guest as a module and as a component, and expects the same of both.
fn both(server: &Server, name: &str, flags: &[&str], args: &[&str], stdin: &[u8]) -> Ran {
    let dir = tempfile::tempdir().expect("a directory");
    let outs = ["module", "component"].map(|out| dir.path().join(out));
    let [module, component] = [guest(name), component(&dir, name)];
    let ran = [(&module, &outs[0]), (&component, &outs[1])].map(|(path, out)| {
        let weir = server.weir(["run", "--stdin", "-", "--out"]).arg(out).args(flags);
        weir.arg(path).arg("--").args(args).stdin(stdin.to_vec()).run()
    });
    let [of_module, of_component] = ran;
    assert_eq!(of_module.stdout_text(), of_component.stdout_text(), "{of_component}");
    assert_eq!(files_of(&outs[0]), files_of(&outs[1]), "{of_component}");
    of_component
}

fn files_of(out: &Path) -> Vec<(String, Vec<u8>)> {
    if !out.exists() {
        return Vec::new();
    }
    files_in(out).into_iter().collect()
}

#[test]
fn a_component_reads_and_writes_what_the_module_does() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    for number in 0..300 {
        let text = format!("the cat {number} and the hat\n").repeat(number);
        fs::write(dir.path().join(format!("{number:03}.txt")), text).expect("a file");
    }
    let inputs = format!("all={}", dir.path().display());

    let long = b"from a pipe \xff".repeat(30_000);
    both(&server, "echo", &[], &["two  spaces", "ü"], &long).exited_with(0);
    both(&server, "word-count", &["--in", &inputs], &["--top", "5"], b"").exited_with(0);
    both(&server, "checksum", &["--env", "WEIR_TASK_INDEX=4"], &["1000"], b"").exited_with(0);
    both(&server, "sleeper", &[], &["3600000"], b"").exited_with(0);
    let wrote = both(&server, "writer", &[], &["3", "200000", "--stdout"], b"");
    wrote.exited_with(0);
    // Whichever preview it is: what went in and out.
    let modules = tempfile::tempdir().expect("a directory");
    let size: usize = files_of(dir.path()).iter().map(|(_, bytes)| bytes.len()).sum();
    for path in [guest("word-count"), component(&modules, "word-count")] {
        let ran = server.weir(["run", "--json", "--in", &inputs]).arg(path).run();
        let task = &ran.exited_with(0).json_lines()[0];
        assert_eq!(task["read_bytes"].as_u64(), Some(size as u64));
        assert_eq!(task["written_bytes"], task["stdout"]["bytes"]);
    }
}

#[test]
fn a_component_fails_as_the_module_does() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");

    let trapped = both(&server, "trap", &[], &["divide-by-zero"], b"");
    trapped.exited_with(134).says(&["integer divide by zero", "    at "]);
    let spun = both(&server, "spin", &["--fuel", "5M"], &[], b"");
    spun.exited_with(152).says(&["out of fuel: used 5,000,000 of 5,000,000"]);
    let hogged = both(&server, "hog", &["--memory", "16MiB"], &[], b"");
    hogged.exited_with(137).says(&["out of memory: asked for 1", "of 16,777,216 bytes"]);
    let exit = |code: &str| {
        let weir = server.weir(["run"]).arg(component(&dir, "exit-code"));
        weir.args(["--", code]).run()
    };
    exit("0").exited_with(0);
    exit("3").exited_with(1).says(&["exiting with 3"]);
}

#[test]
fn a_component_that_no_agent_can_run_is_refused_before_it_is_submitted() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let text = r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#;
    let path = dir.path().join("web.wasm");
    fs::write(&path, wat::parse_str(text).expect("text that parses")).expect("a file");

    let ran = server.weir(["run"]).arg(&path).run();

    ran.exited_with(125).says(&["wasi:keyvalue/store@0.2.0", "does not export wasi:cli/run"]);
}
