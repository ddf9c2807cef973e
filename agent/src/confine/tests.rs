//! Confined threads: a thread can be given up where a process cannot, and what it starts is as it is.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use super::*;

/// Runs something on a thread that is confined to a directory.
fn confined<T: Send>(data: &Path, listens: bool, act: impl FnOnce(Confinement) -> T + Send) -> T {
    let needs = Needs { data: vec![data.to_owned()], removes_in: Vec::new(), listens };
    thread::scope(|scope| {
        let act = || act(confine(&needs).expect("a directory"));
        scope.spawn(act).join().expect("nobody panics there")
    })
}

/// Whether the kernel has both; without them there is nothing to test but that it is said.
fn has_all(confinement: &Confinement) -> bool {
    if confinement.is_lacking() {
        eprintln!("SKIPPED: {confinement}");
        assert!(confinement.to_string().contains("no "), "{confinement}");
    }
    !confinement.is_lacking()
}

/// Landlock's version; 0 without it.
fn version(confinement: &Confinement) -> u32 {
    match confinement.landlock {
        Wall::Holds { version } => version.unwrap_or(0),
        Wall::Missing { .. } | Wall::Off => 0,
    }
}

fn is_denied<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn what_was_got_is_told_with_what_is_missing() {
    let holds = |version| Wall::Holds { version };
    let missing = || Wall::missing("this kernel has none");
    for (landlock, seccomp, said) in [
        (holds(Some(7)), holds(None), "confined by Landlock 7 and seccomp"),
        (missing(), holds(None), "confined by seccomp; no Landlock: this kernel has none"),
        (
            missing(),
            missing(),
            "not confined; no Landlock: this kernel has none; no seccomp: this kernel has none",
        ),
        (Wall::Off, Wall::Off, "not confined"),
    ] {
        assert_eq!(Confinement { landlock, seccomp }.to_string(), said);
    }
}

#[test]
fn files_outside_are_out_of_reach_and_those_inside_are_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (dir.path().join("made/inside"), dir.path().join("outside"));
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("secret"), "secret").expect("written");
    assert_eq!(fs::read(outside.join("secret")).expect("nobody is confined yet"), b"secret");
    confined(&inside, false, |confinement| {
        if !has_all(&confinement) {
            return;
        }
        assert!(is_denied(fs::read(outside.join("secret"))));
        assert!(is_denied(fs::write(outside.join("new"), "")));
        assert!(is_denied(fs::remove_file(outside.join("secret"))));
        assert!(is_denied(fs::read_dir(&outside)));
        assert!(is_denied(fs::read_dir("/")));
        assert!(is_denied(fs::write("/etc/weir-was-here", "")));
        assert!(is_denied(fs::write("/proc/sys/kernel/hostname", "weir")));

        fs::create_dir_all(inside.join("a/b")).expect("made");
        fs::write(inside.join("a/file"), "file").expect("written");
        fs::rename(inside.join("a/file"), inside.join("a/b/moved")).expect("moved");
        assert_eq!(fs::read(inside.join("a/b/moved")).expect("read"), b"file");
        assert!(is_denied(fs::rename(inside.join("a/b/moved"), outside.join("moved"))));
        fs::remove_dir_all(inside.join("a")).expect("removed");
        // What libraries and the agent look at.
        for path in ["/etc/passwd", "/proc/self/status", "/proc/meminfo", "/dev/null"] {
            assert!(fs::read(path).is_ok(), "{path}");
        }
        fs::write("/dev/null", "nothing").expect("written");
    });
}

#[test]
fn other_programs_processes_and_ports_are_out_of_reach() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    confined(dir.path(), false, |confinement| {
        if !has_all(&confinement) {
            return;
        }
        TcpStream::connect(address).expect("it may connect");
        assert!(version(&confinement) < 4 || is_denied(TcpListener::bind("127.0.0.1:0")));
        let started = |program: &str| {
            let mut command = Command::new(program);
            let command = command.arg("--list").stdout(Stdio::null()).stderr(Stdio::null());
            command.status()
        };
        assert!(is_denied(started("/bin/sh")));
        assert!(started("/proc/self/exe").expect("it starts itself").success());

        // SAFETY: neither call reads or writes memory of ours; both are refused, or do no harm.
        let parent = unsafe { libc::kill(libc::getppid(), 0) };
        assert!(version(&confinement) < 6 || parent == -1);
    });
}

#[test]
fn system_calls_that_no_agent_needs_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    confined(dir.path(), true, |confinement| {
        if !has_all(&confinement) {
            return;
        }
        TcpListener::bind("127.0.0.1:0").expect("who listens may");
        let none = 0 as libc::c_long;
        for call in [
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_init_module,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_perf_event_open,
            libc::SYS_process_vm_readv,
            libc::SYS_io_uring_setup,
        ] {
            assert_eq!(refused(call, [none; 4]), Some(libc::EPERM), "call {call}");
        }
        assert_eq!(refused(libc::SYS_clone3, [none; 4]), Some(libc::ENOSYS));
        let user = libc::c_long::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
        assert_eq!(refused(libc::SYS_clone, [user, 0, 0, 0]), Some(libc::EPERM));
        thread::spawn(|| ()).join().expect("threads are started as ever");
    });
}

#[test]
fn who_only_computes_opens_nothing_and_starts_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut open = tempfile::tempfile().expect("a file");
    thread::scope(|scope| {
        let act = || {
            let confinement = confine_to_computing();
            if !has_all(&confinement) {
                return;
            }
            assert!(is_denied(fs::read("/dev/null")));
            assert!(is_denied(fs::read("/proc/self/exe")));
            assert!(is_denied(TcpStream::connect(address)));
            assert!(Command::new("/proc/self/exe").arg("--list").status().is_err());
            io::Write::write_all(&mut open, b"what is open stays so").expect("written");
            let computed = thread::spawn(|| vec![7; 1 << 20].iter().sum::<u64>());
            assert_eq!(computed.join().expect("a sum"), 7 << 20);
        };
        scope.spawn(act).join().expect("nobody panics there");
    });
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let data = vec![file.path().join("beneath")];
    let needs = Needs { data, removes_in: Vec::new(), listens: false };
    let refused = thread::spawn(move || confine(&needs)).join().expect("nobody panics there");
    let message = refused.expect_err("a file is no directory").to_string();
    assert!(message.contains("beneath"), "{message}");
}

/// The error of a system call that is refused.
fn refused(call: libc::c_long, [a, b, c, d]: [libc::c_long; 4]) -> Option<i32> {
    // SAFETY: no argument is an address, so nothing of ours is read or written, and a call that came
    // through would fail on its arguments.
    let result = unsafe { libc::syscall(call, a, b, c, d) };
    (result == -1).then(io::Error::last_os_error)?.raw_os_error()
}
