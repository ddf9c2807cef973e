//! Tasks that are metered by epochs: compiled in a child of the agent's, run, limited, cancelled.

use std::{fs, path::Path};

use weir_tests::{
    cluster::{PATIENCE, Server, poll},
    guests::guest,
};

const BY_EPOCHS: [&str; 2] = ["--metering", "epoch"];

#[test]
fn a_guest_metered_by_epochs_says_what_it_says_by_fuel_and_is_not_pure() {
    let server = Server::fresh();
    let run = |flags: &[&str]| {
        let ran = server.weir(["run", "--stdin", "-"]).args(flags).arg(guest("word-count"));
        ran.stdin(*b"to be or not to be\n").run().exited_with(0)
    };
    assert_eq!(run(&[]).stdout_text(), run(&BY_EPOCHS).stdout_text());

    let told = |job: &str| {
        let job = server.weir(["job", "show", job, "--json"]).run().exited_with(0).json();
        let stage = &job["stages"][0];
        (stage["metering"].clone(), stage["pure"].clone())
    };
    assert_eq!(told("job-1"), ("fuel".into(), true.into()));
    assert_eq!(told("job-2"), ("epoch".into(), false.into()));
    let agents = server.weir(["cluster", "agents", "--json"]).run().exited_with(0).json();
    assert_eq!(agents[0]["profile"], "weir-1");
    assert_eq!(agents[0]["epoch_profile"], "weir-1-epoch");
}

#[test]
fn a_guest_that_never_ends_is_ended_by_its_fuel_its_time_and_whoever_cancels_it() {
    let server = Server::fresh();
    let run =
        |flags: &[&str]| server.weir(["run"]).args(BY_EPOCHS).args(flags).arg(guest("spin")).run();
    run(&["--fuel", "50M"]).exited_with(152).says(&["out of fuel: used", "of 50,000,000"]);
    run(&["--timeout", "300ms"]).exited_with(124).says(&["timed out: ran", "of 300 ms"]);

    let endless = ["--fuel", "1000000G", "--timeout", "1h", "--json"];
    let submit = server.weir(["submit"]).args(BY_EPOCHS).args(endless).arg(guest("spin"));
    let job = submit.run().exited_with(0).json()["job"].as_str().expect("a job").to_owned();
    let show = || server.weir(["job", "show", &job, "--json"]).run().exited_with(0).json();
    assert!(poll(PATIENCE, || show()["running"] == 1), "{}", show());
    server.weir(["job", "cancel", &job]).run().exited_with(0);
    assert_eq!(show()["status"], "cancelled");
    // Its core is free.
    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}

#[test]
fn a_module_is_compiled_ahead_for_what_is_asked_for() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::dev(data.path());
    let put = |flags: &[&str]| {
        let put = server.weir(["put", "--precompile"]).args(flags).arg(guest("echo")).run();
        put.exited_with(0).says(&["1 of 1 agent can run it at once"]);
    };
    put(&[]);
    put(&BY_EPOCHS);
    let mut kinds = compiled(&data.path().join("agent/modules"));
    kinds.sort();
    assert_eq!(kinds, ["weir-1", "weir-1-epoch"]);
}

/// For which profiles there are files.
fn compiled(modules: &Path) -> Vec<String> {
    let files = fs::read_dir(modules).expect("modules").map(|file| {
        let name = file.expect("a file").file_name().to_string_lossy().into_owned();
        let (_, of) = name.split_once('-').expect("a digest, then a fingerprint");
        of.rsplit_once('-').expect("a profile, then a hash").0.to_owned()
    });
    files.collect()
}
