//! A cluster is backed up while it works, lost, and made anew of the file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    cluster::{PATIENCE, Process, Server, Weir, poll},
    guests::guest,
};

/// Tasks of the array that runs, and rounds that take each some milliseconds.
const TASKS: usize = 400;
const ROUNDS: &str = "3000000";
/// Tasks of the array that has ended: the first ones of the other.
const ENDED: usize = 20;
/// What a task that an agent had which was lost ends with.
const AGENT_LOST: i32 = 158;

/// Everything there is of a cluster, and a place for its backup.
struct Parts {
    master: Server,
    agents: Vec<Process>,
    data: TempDir,
}

impl Parts {
    fn start() -> Parts {
        let data = tempfile::tempdir().expect("a directory");
        let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
        let mut parts = Parts { master, agents: Vec::new(), data };
        parts.start_agents();
        parts
    }

    fn start_agents(&mut self) {
        for name in ["agent-0", "agent-1"] {
            let agent = self.master.start_agent(name, &self.data.path().join(name), 1);
            self.agents.push(agent);
        }
        self.master.wait_for_agents(2);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    fn run(&self, args: &[&str]) -> String {
        self.master.weir(args).run().exited_with(0).stdout_text()
    }

    fn array(&self, tasks: usize) -> String {
        let submit = self.master.weir(["submit", "--array", &tasks.to_string()]);
        let submitted = submit.arg(guest("checksum")).args(["--", ROUNDS]).run().exited_with(0);
        submitted.stdout_text().trim().to_owned()
    }

    fn backup(&self, flags: &[&str], name: &str) -> Weir {
        self.master.weir(["cluster", "backup"]).args(flags).arg(self.file(name))
    }

    /// All of it ends as in a power cut, and a master of a backup takes its place.
    fn lose_and_restore(mut self, backup: &str) -> (Parts, Value) {
        let address = self.master.address().to_owned();
        self.master.kill();
        self.agents.iter_mut().for_each(Process::kill);
        self.agents.clear();
        let (file, dir) = (self.data.path().join(backup), self.data.path().join("restored"));
        let restored = restore(&file, &dir).arg("--json").run().exited_with(0).json();
        let master = Server::master(&dir, &address);
        let mut parts = Parts { master, ..self };
        parts.start_agents();
        (parts, restored)
    }

    /// What each task of an array wrote; the lines of a task begin with its index.
    fn results(&self, job: &str) -> BTreeMap<usize, String> {
        let logs = self.run(&["job", "logs", job]);
        let mut results = BTreeMap::new();
        for line in logs.lines() {
            let text = line.split_once("task ").expect("a line of `checksum`").1;
            let index = text.split(' ').next().and_then(|index| index.parse().ok());
            let before = results.insert(index.expect("an index"), text.to_owned());
            assert_eq!(before, None, "two results of one task of {job}");
        }
        results
    }

    fn job(&self, job: &str) -> Value {
        self.master.weir(["job", "show", "--json", job]).run().exited_with(0).json()
    }
}

fn restore(file: &Path, dir: &Path) -> Weir {
    Weir::new(["cluster", "restore"]).arg(file).arg(dir)
}

fn check(file: &Path) -> Weir {
    Weir::new(["cluster", "check-backup"]).arg(file)
}

#[test]
fn a_cluster_goes_on_from_its_backup_with_all_that_was_acknowledged() {
    let parts = Parts::start();
    let big = parts.file("big");
    fs::write(&big, vec![7; 300_000]).expect("a file");
    parts.master.weir(["name", "set", "data/big"]).arg(&big).run().exited_with(0);
    let small = parts.file("small");
    fs::write(&small, "small").expect("a file");
    let small = parts.master.weir(["--namespace", "blue", "put"]).arg(&small).run();
    let small = small.exited_with(0).stdout_text();
    parts.run(&["namespace", "set", "blue", "--weight", "3"]);
    let ended = parts.array(ENDED);
    parts.master.weir(["job", "wait", &ended]).run().exited_with(0);
    let results = parts.results(&ended);
    let once = parts.master.weir(["submit", "--once", "--allow", "clock"]);
    let once = once.arg(guest("sleeper")).args(["--", "60000"]).run().exited_with(0).stdout_text();
    let once = once.trim();
    let running = parts.array(TASKS);
    let under_way = || {
        let done = parts.job(&running)["succeeded"].as_u64().expect("a count");
        done > 20 && parts.job(once)["running"] == 1
    };
    assert!(poll(PATIENCE, under_way), "{running} and {once} do not get on");

    let taken = parts.backup(&["--json"], "weir.backup").run().exited_with(0).json();
    let before = parts.job(&running)["succeeded"].as_u64().expect("a count");
    assert!(before < TASKS as u64, "{running} ended before its backup");
    let file = parts.file("weir.backup");
    assert_eq!(check(&file).arg("--json").run().exited_with(0).json(), taken);
    assert_eq!((&taken["jobs"], &taken["active_jobs"]), (&3.into(), &2.into()), "{taken:#}");
    let (parts, restored) = parts.lose_and_restore("weir.backup");

    assert_ne!(restored["cluster"], taken["cluster"]);
    assert_eq!((&restored["lost_once"], &restored["backup"]), (&1.into(), &taken));
    assert_eq!(parts.results(&ended), results, "results of a job that had ended");
    let weights = parts.run(&["namespace", "ls"]);
    let blue = weights.lines().find(|line| line.starts_with("blue")).expect("its line");
    assert_eq!(blue.split_whitespace().nth(1), Some("3"), "{weights}");
    let got = parts.master.weir(["get", "name:data/big"]).run().exited_with(0);
    assert_eq!(got.stdout, fs::read(&big).expect("a file"));
    assert_eq!(parts.run(&["--namespace", "blue", "get", small.trim()]), "small");

    parts.master.weir(["job", "wait", &running]).run().exited_with(0);
    let all = parts.results(&running);
    assert_eq!(all.len(), TASKS, "a result of each task");
    assert_eq!(all.range(..ENDED).collect::<Vec<_>>(), results.iter().collect::<Vec<_>>());
    parts.master.weir(["job", "wait", once]).run().exited_with(AGENT_LOST);
    let next = parts.array(1);
    let number: u64 = next.trim_start_matches("job-").parse().expect("a number");
    assert!(number > 1_000_000, "{next} may be a number that the old cluster gave");

    let joined = parts.file("joined");
    let _second = Server::one_of(&joined, "127.0.0.1:0", &["--join", parts.master.address()]);
    let votes = || {
        let members = parts.master.weir(["cluster", "members", "--json"]).run().json();
        members.as_array().is_some_and(|all| all.len() == 2 && all[1]["role"] == "follower")
    };
    assert!(poll(PATIENCE, votes), "another master cannot join");
}

#[test]
fn a_backup_that_is_damaged_or_cut_off_is_refused_with_the_place() {
    let parts = Parts::start();
    let data = parts.file("data");
    fs::write(&data, vec![7; 100_000]).expect("a file");
    parts.master.weir(["put"]).arg(&data).run().exited_with(0);
    parts.backup(&[], "whole").run().exited_with(0);
    let (whole, file) = (parts.file("whole"), parts.file("damaged"));
    let bytes = fs::read(&whole).expect("a backup");
    let dir = parts.file("new");
    for at in [20, 60, bytes.len() / 2, bytes.len() - 5] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&file, damaged).expect("written");
        check(&file).run().exited_with(125).says(&["damaged", " is damaged at bytes "]);
        restore(&file, &dir).run().exited_with(125).says(&[" is damaged at bytes "]);
        assert!(!dir.exists(), "a directory is made of a damaged backup");
    }
    for length in [bytes.len() - 1, bytes.len() / 2, 70] {
        fs::write(&file, &bytes[..length]).expect("written");
        check(&file).run().exited_with(125).says(&["is cut off, or damaged at byte "]);
        restore(&file, &dir).run().exited_with(125).says(&["more bytes than the file has"]);
    }
    check(&data).run().exited_with(125).says(&["is no backup"]);
    restore(&whole, parts.data.path()).run().exited_with(125).says(&["is not empty"]);
}

#[test]
fn a_backup_replaces_no_file_unless_told_and_can_leave_blobs_out() {
    let parts = Parts::start();
    let ended = parts.array(ENDED);
    parts.master.weir(["job", "wait", &ended]).run().exited_with(0);
    let results = parts.results(&ended);
    fs::write(parts.file("mine"), "mine").expect("a file");
    let flags = ["--without-blobs", "--json"];
    parts.backup(&flags, "mine").run().exited_with(125).says(&["is there already", "--force"]);
    assert_eq!(fs::read(parts.file("mine")).expect("a file"), b"mine");
    let small = parts.backup(&["--force", "--without-blobs", "--json"], "mine").run();
    let small = small.exited_with(0).json();
    let all = parts.backup(&["--json"], "all").run().exited_with(0).json();
    assert_eq!((&small["blobs"], &small["with_blobs"]), (&0.into(), &false.into()));
    assert_eq!(small["pages"], all["pages"]);
    assert!(all["blobs"].as_u64() > Some(0), "{all:#}");
    let nowhere = parts.backup(&[], "no/such/directory").run();
    nowhere.exited_with(125).says(&["cannot write into"]);

    let (parts, _) = parts.lose_and_restore("mine");
    assert_eq!(parts.results(&ended), results, "results need no blobs");
    let leftovers = fs::read_dir(parts.data.path()).expect("a directory").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(leftovers.count(), 0, "unfinished files are left");
}
