//! Settings as a user has them: in a file, in the environment, in flags.

use std::fs;

use weir_tests::{
    cluster::{Server, Weir},
    guests::guest,
};

#[test]
fn a_master_and_a_namespace_in_the_file_are_those_of_every_command() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("new/config.toml");
    let weir = |args: &[&str]| Weir::new(args).env("WEIR_CONFIG", &file);

    weir(&["config", "set", "master", server.address()]).run().exited_with(0);
    weir(&["config", "set", "namespace", "team-a"]).run().exited_with(0);
    let echo = guest("echo");
    let ran = weir(&["run"]).arg(&echo).args(["--", "hi"]).run().exited_with(0);
    let other = weir(&["run", "--namespace", "team-b"]).arg(&echo).run().exited_with(0);

    assert_eq!(ran.stdout_text(), "hi\n");
    other.says(&["job-2 succeeded"]);
    let jobs = server.weir(["job", "ls", "--all-namespaces", "--json"]).run().exited_with(0).json();
    let namespaces: Vec<_> =
        jobs.as_array().expect("jobs").iter().map(|job| &job["namespace"]).collect();
    assert_eq!(namespaces, ["team-b", "team-a"]);
}

#[test]
fn each_setting_tells_where_it_comes_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    fs::write(&file, "# mine\nlog = 'info'\nmaster = 'in-file:1'\n").expect("a file");

    let show = Weir::new(["--namespace", "ours", "config", "show", "--json"]);
    let show = show.env("WEIR_CONFIG", &file).env("WEIR_MASTER", "in-variable:1");
    let json = show.run().exited_with(0).json();

    let of = |key: &str| {
        let settings = json["settings"].as_array().expect("settings");
        settings.iter().find(|setting| setting["key"] == key).expect(key).clone()
    };
    assert_eq!(of("log")["from"]["line"], 2);
    assert_eq!(of("master")["value"], "in-variable:1");
    assert_eq!(of("master")["from"]["name"], "WEIR_MASTER");
    assert_eq!(of("namespace")["from"]["name"], "--namespace");
    assert_eq!(of("quiet")["value"], false);
    assert_eq!(of("quiet")["from"]["kind"], "default");
}

#[test]
fn a_broken_file_stops_commands_by_name_but_not_those_that_mend_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config.toml");
    fs::write(&file, "mastr = 'a:1'\nlog = 'info'\n").expect("a file");
    let weir = |args: &[&str]| Weir::new(args).env("WEIR_CONFIG", &file).run();
    let place = format!("{}:1:1: there is no key \"mastr\"", file.display());

    let ls = weir(&["job", "ls"]).exited_with(125);
    let show = weir(&["config", "show"]).exited_with(125);
    let path = weir(&["config", "path"]).exited_with(0);
    weir(&["completions", "bash"]).exited_with(0);
    weir(&["config", "set", "log", "debug"]).exited_with(0);

    ls.says(&[&place, "did you mean `master`?", "weir config show"]);
    assert!(show.stdout_text().contains("info"), "{show}");
    show.says(&[&place]);
    assert_eq!(path.stdout_text(), format!("{}\n", file.display()));
    let text = fs::read_to_string(&file).expect("the file");
    assert_eq!(text, "mastr = 'a:1'\nlog = \"debug\"\n");
}

#[test]
fn quiet_may_stand_before_or_after_the_command_or_in_the_environment() {
    let server = Server::fresh();
    let run = |args: &[&str]| server.weir(args).arg(guest("echo"));
    let before = run(&["-q", "run"]).run().exited_with(0);
    let after = run(&["run", "--quiet"]).run().exited_with(0);
    let variable = run(&["run"]).env("WEIR_QUIET", "1").run().exited_with(0);
    for ran in [before, after, variable] {
        assert_eq!(ran.stderr_text(), "", "{ran}");
    }
}
