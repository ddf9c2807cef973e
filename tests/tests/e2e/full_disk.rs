//! A disk that is full: a file system of a few MiB, where the test may mount one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use weir_tests::{
    cluster::{PATIENCE, Server, Weir, poll},
    guests::guest,
};

use crate::skipped;

/// Room for a cluster's own files and little more.
const DISK_BYTES: usize = 24 << 20;

#[test]
fn a_full_disk_refuses_a_put_loses_nothing_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return skipped("a full disk", "this user may not mount a tmpfs here");
    };
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::dev(&disk.path().join("data"));
    let put = |file: &Path| server.weir(["put"]).arg(file).run();
    let echo = |word: &str| {
        server
            .weir(["run"])
            .arg(guest("echo"))
            .args(["--", word])
            .run()
            .exited_with(0)
            .stdout_text()
    };
    let small = file(dir.path(), "small", 1 << 20);
    let kept = put(&small).exited_with(0).stdout_text();
    assert_eq!(echo("before"), "before\n");

    // Larger than the disk; then any file at all on a disk that somebody else filled.
    let huge = put(&file(dir.path(), "huge", DISK_BYTES + 1));
    let filler = disk.fill();
    let large = put(&file(dir.path(), "large", 2 << 20));
    let tiny = put(&file(dir.path(), "tiny", 3000));
    let during = server.weir(["get", kept.trim()]).run();
    let listed = server.weir(["job", "logs", "1"]).run();
    fs::remove_file(filler).expect("the filler");
    let again = put(&dir.path().join("large"));

    for (ran, name) in [(huge, "huge"), (large, "large"), (tiny, "tiny")] {
        ran.exited_with(125).says(&[name, "the disk is full", "free some space"]);
    }
    assert!(during.exited_with(0).stdout == fs::read(&small).expect("a file"));
    assert_eq!(listed.exited_with(0).stdout_text(), "before\n");
    let digest = again.exited_with(0).stdout_text();
    let got = server.weir(["get", digest.trim()]).run().exited_with(0);
    assert!(got.stdout == fs::read(dir.path().join("large")).expect("a file"));
    assert_eq!(echo("after"), "after\n");
}

#[test]
fn a_master_without_room_for_its_log_stops_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return skipped("a log on a full disk", "this user may not mount a tmpfs here");
    };
    let data = disk.path().join("data");
    let server = Server::dev(&data);
    let address = server.address().to_owned();
    let module = server.weir(["put"]).arg(guest("checksum")).run().exited_with(0).stdout_text();
    let array = |server: &Server, count: &str| {
        server.weir(["run", "--array", count, module.trim()]).args(["--", "10"])
    };
    let before = array(&server, "500").run().exited_with(0).stdout_text();

    // Its results need more than what the log's file has left inside.
    let filler = disk.fill();
    let during = array(&server, "20000").start();
    let stopped = server.wait();
    fs::remove_file(filler).expect("the filler");
    let server = Server::dev_at(&data, &address);

    stopped.exited_with(125).says(&["no space is left", "free some", "start the master again"]);
    // Who waited for the array notices nothing.
    let during = during.wait().exited_with(0).stdout_text();
    assert_eq!(sorted(&during).len(), 20_000);
    let logs = server.weir(["job", "logs", "1"]).run().exited_with(0).stdout_text();
    assert!(sorted(&logs) == sorted(&before), "results were lost");
}

#[test]
fn an_agent_without_room_for_code_runs_what_it_has_and_compiles_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return skipped("an agent on a full disk", "this user may not mount a tmpfs here");
    };
    let dir = tempfile::tempdir().expect("a directory");
    let master = Server::master(&dir.path().join("master"), "127.0.0.1:0");
    let _agent = master.start_agent("small", &disk.path().join("data"), 1);
    master.wait_for_agents(1);
    let hello = |weir: Weir| weir.arg(guest("echo")).args(["--", "hello"]);
    hello(master.weir(["run"])).run().exited_with(0);

    let filler = disk.fill();
    let known = hello(master.weir(["run"])).run();
    // Nothing is wrong with the module: its tasks wait.
    let new =
        master.weir(["run", "--array", "3"]).arg(guest("checksum")).args(["--", "10"]).start();
    let tried = poll(PATIENCE, || {
        let shown = master.weir(["job", "show", "3"]).run();
        shown.code() == Some(0) && shown.stdout_text().contains("waits ")
    });
    let left: Vec<_> = fs::read_dir(disk.path().join("data/modules")).expect("modules").collect();
    fs::remove_file(filler).expect("the filler");

    known.exited_with(0);
    assert!(tried, "the job does not wait: {new}");
    assert_eq!(left.len(), 1, "only what was compiled is there: {left:?}");
    assert_eq!(sorted(&new.wait().exited_with(0).stdout_text()).len(), 3);
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// A mounted tmpfs, unmounted when it is dropped.
struct SmallDisk {
    mount_point: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let mount_point = tempfile::tempdir().expect("a directory");
        let size = format!("size={DISK_BYTES}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "weir-test"])
            .arg(mount_point.path())
            .output();
        let mounted = mount.is_ok_and(|mount| mount.status.success());
        mounted.then_some(SmallDisk { mount_point })
    }

    fn path(&self) -> &Path {
        self.mount_point.path()
    }

    /// Leaves not one byte; returns the file that takes them.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let full = fs::write(&path, vec![1; DISK_BYTES]).expect_err("it is larger than the disk");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed may hold it for a moment longer.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "cannot unmount the disk");
    }
}

/// A file of bytes that do not compress and are its own.
fn file(directory: &Path, name: &str, size: usize) -> PathBuf {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    let path = directory.join(name);
    fs::write(&path, bytes).expect("a file");
    path
}
