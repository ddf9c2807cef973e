//! `weir new`: what its README says, word by word, with the compilers that this machine has.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use weir_tests::{
    cluster::{Server, Weir},
    guests::rust_compiler,
};

use crate::skipped;

/// A project has a name that is no other word in it, with what a name may have.
const NAME: &str = "my-Task_2";

#[test]
fn a_new_rust_project_does_what_its_readme_says_without_a_network() {
    let Some(compiler) = rust_compiler() else {
        return skipped("a new Rust project", "no rustc here has wasm32-wasip1; run `make guests`");
    };
    let dir = tempfile::tempdir().expect("a directory");
    Weir::new(["new", "rust"]).arg(dir.path().join(NAME)).run().exited_with(0);

    let output = follow_readme(&dir.path().join(NAME), |shell| {
        shell.env("RUSTC", compiler).env("CARGO_NET_OFFLINE", "true");
        // Flags and wrappers meant for this machine's own programs would not fit a guest.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            shell.env_remove(name);
        }
    });

    tells(&output, &["hello from my-Task_2\n", "good morning\n", "readme: ", "task 3 of 4\n"]);
    tells(&output, &["test result: ok. 2 passed"]);
}

#[test]
fn a_new_c_project_does_what_its_readme_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let project = dir.path().join(NAME);
    Weir::new(["new", "c"]).arg(&project).run().exited_with(0);
    let built = shell(&project, "make").output().expect("a shell");
    if String::from_utf8_lossy(&built.stderr).contains("no C compiler here") {
        return skipped("a new C project", "its Makefile finds no C compiler for WebAssembly");
    }
    assert!(built.status.success(), "{built:?}");

    let output = follow_readme(&project, |_| {});

    tells(&output, &["hello from my-Task_2\n", "good morning\n", "readme: ", "task 3 of 4\n"]);
}

#[test]
fn a_new_project_writes_over_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let project = dir.path().join("mine");
    for language in ["rust", "c"] {
        Weir::new(["new", language]).arg(&project).run();
    }
    let again = Weir::new(["new", "c"]).arg(&project).run().exited_with(125);
    again.says(&["mine: it is not empty; choose another name"]);
    assert!(project.join("Cargo.toml").exists() && !project.join("main.c").exists());
    let refused = Weir::new(["new", "rust"]).arg(dir.path().join("match")).run().exited_with(125);
    refused.says(&["\"match\" cannot be the project's name"]);
    assert!(!dir.path().join("match").exists());
}

/// Runs every line of the README that begins with `$ `, in one shell that stops at a failure.
fn follow_readme(project: &Path, prepare: impl FnOnce(&mut Command)) -> Output {
    let readme = fs::read_to_string(project.join("README.md")).expect("a README");
    let lines: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(lines.len() >= 4, "{readme}");
    // A cluster of its own: a user's may listen where `weir run` looks.
    let server = Server::fresh();
    let mut shell = shell(project, &lines.join("\n"));
    prepare(shell.env("WEIR_MASTER", server.address()));
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{lines:#?}\n{}", text_of(&output));
    output
}

/// A shell in the project that finds this build's `weir`, and no cluster or settings of a user.
fn shell(project: &Path, script: &str) -> Command {
    let mut shell = Weir::shell(script);
    shell.current_dir(project);
    shell
}

#[track_caller]
fn tells(output: &Output, words: &[&str]) {
    let text = text_of(output);
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

fn text_of(output: &Output) -> String {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|out| String::from_utf8_lossy(out));
    format!("{stdout}\n--- stderr\n{stderr}")
}
