//! Jobs that stand still and go on.

use std::time::{Duration, Instant};

use weir_tests::{
    cluster::{PATIENCE, Server, poll},
    guests::guest,
};

/// How long a task stands still.
const PAUSE: Duration = Duration::from_secs(3);

#[test]
fn a_paused_job_makes_room_for_others_and_goes_on_where_it_was() {
    let server = Server::with_flags(&["--cores", "1"]);
    let began = Instant::now();
    let weir = |args: &str| server.weir(args.split(' ')).run();
    let spin = server.weir(["run", "--json", "--timeout", "60s"]).arg(guest("spin"));
    let spin = spin.args(["--", "1500"]).start();
    let runs = poll(PATIENCE, || weir("job ls --json").json()[0]["running"] == 1);
    assert!(runs, "{spin}");
    std::thread::sleep(Duration::from_millis(700));

    let paused = weir("job pause 1 --json").exited_with(0).json();
    assert_eq!((&paused["change"], &paused["status"]), (&"paused".into(), &"active".into()));
    let listed = weir("job ls").exited_with(0).stdout_text();
    assert!(listed.contains("paused"), "{listed}");
    let shown = weir("job show 1").exited_with(0).stdout_text();
    assert!(shown.contains("0 running") && shown.contains("1 paused"), "{shown}");

    // The only core is free.
    let echo = server.weir(["run"]).arg(guest("echo")).args(["--", "meanwhile"]).run();
    assert_eq!(echo.exited_with(0).stdout_text(), "meanwhile\n");
    std::thread::sleep(PAUSE);
    assert_eq!(weir("job show 1 --json").json()["succeeded"], 0);

    let resumed = Instant::now();
    weir("job resume 1").exited_with(0);
    let lines = spin.wait().exited_with(0).json_lines();
    let wall = Duration::from_micros(lines[0]["wall_us"].as_u64().expect("a wall time"));
    // It was not begun anew, and its pause is not counted: it ran before and after.
    assert!(wall > resumed.elapsed(), "it ran for {wall:?}, {:?} of it after", resumed.elapsed());
    assert!(wall < began.elapsed() - PAUSE, "it ran for {wall:?} of {:?}", began.elapsed());
    let events = weir("events").stdout_text();
    assert!(
        events.contains("was paused: 1 task") && events.contains("goes on: 1 task"),
        "{events}"
    );
}

#[test]
fn tasks_of_a_job_are_paused_one_by_one_and_outlive_their_master() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::dev(data.path());
    let job = server.weir(["submit", "--array", "4", "--allow", "clock"]).arg(guest("sleeper"));
    job.args(["--", "1500"]).run().exited_with(0);
    server.weir(["job", "pause", "1", "--task", "3", "--task", "2"]).run().exited_with(0);
    let address = server.address().to_owned();
    server.kill();

    let server = Server::dev_at(data.path(), &address);
    let shown = || server.weir(["job", "show", "1", "--json"]).run().exited_with(0).json();
    let others = poll(PATIENCE, || shown()["succeeded"] == 2);
    assert!(others, "{:#}", shown());
    assert_eq!(shown()["paused"], 2);
    let why = shown()["waiting"][0].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("weir job resume"), "{why}");
    server.weir(["job", "resume", "1"]).run().exited_with(0);
    server.weir(["job", "wait", "1"]).run().exited_with(0);
}

#[test]
fn what_cannot_be_paused_is_told() {
    let server = Server::fresh();
    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
    for (args, words) in [
        ("job pause 9", ["job-9", "job ls"]),
        ("job pause 1", ["job-1", "has ended"]),
        ("job resume 1", ["job-1", "has ended"]),
        ("job pause 1 --task 7", ["job-1", "none is numbered 7"]),
        ("job pause 1 --task x", ["--task", "number from 0"]),
    ] {
        let ran = server.weir(args.split(' ')).run().says(&words);
        assert_ne!(ran.code(), Some(0), "{args}");
    }
}
