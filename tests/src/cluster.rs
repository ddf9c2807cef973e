//! Real `weir` processes for tests: servers on port 0 with data of their own, and commands that a
//! test waits for with a limit. Whatever is started here has ended when its value is dropped.
//!
//! What the processes run is in [`crate::guests`].

use std::{
    ffi::OsStr,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for a command to end, or for what a server is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition that nothing announces is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A `weir` command that is about to be started, with no environment of the user's in it.
#[derive(Debug)]
pub struct Weir {
    command: Command,
    stdin: Option<Vec<u8>>,
}

impl Weir {
    /// A command with these arguments.
    pub fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Weir {
        let mut command = Command::new(binary());
        without_settings(command.args(args));
        Weir { command, stdin: None }
    }

    /// A shell that runs this script up to its first failure, where `weir` is the one under test.
    pub fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        let mut path =
            binary().parent().expect("a binary is in a directory").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        without_settings(command.args(["-euc", script]).env("PATH", path));
        command
    }

    /// On a kernel that has no Landlock, as far as the command can tell.
    ///
    /// # Panics
    /// When system calls cannot be refused here.
    #[cfg(target_os = "linux")]
    pub fn without_landlock(mut self) -> Weir {
        use std::os::unix::process::CommandExt as _;

        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

        let none = [(libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32));
        let here = std::env::consts::ARCH.try_into().expect("an architecture with filters");
        let filter = SeccompFilter::new(none, allow, refuse, here).expect("one rule");
        let program: BpfProgram = filter.try_into().expect("a short program");
        let apply = move || apply_filter(&program).map_err(std::io::Error::other);
        // SAFETY: between fork and exec it makes two system calls, and allocates only to say that
        // one of them failed.
        unsafe { self.command.pre_exec(apply) };
        self
    }

    /// In these namespaces, each an open file of `/proc/PROCESS/ns`.
    #[cfg(target_os = "linux")]
    pub fn within(mut self, namespaces: Vec<std::fs::File>) -> Weir {
        use std::os::{fd::AsRawFd as _, unix::process::CommandExt as _};

        let enter = move || {
            for namespace in &namespaces {
                // SAFETY: it takes the number of a file that is open.
                if unsafe { libc::setns(namespace.as_raw_fd(), 0) } != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls and nothing else.
        unsafe { self.command.pre_exec(enter) };
        self
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Weir {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Weir {
        self.command.args(args);
        self
    }

    /// With these bytes on stdin, which is empty otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Weir {
        self.stdin = Some(bytes.into());
        self
    }

    /// In this directory.
    pub fn current_dir(mut self, path: &Path) -> Weir {
        self.command.current_dir(path);
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Weir {
        self.command.env(name, value);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Process {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        let about = format!("{:?}", self.command);
        let spawned =
            self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {about}: {error}"));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // Ends with the child at the latest, which closes the other end of the pipe.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = Captured::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Captured::read(child.stderr.take().expect("stderr is piped"));
        Process { about, child, stdout, stderr, started: Instant::now() }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Ran {
        self.start().wait()
    }
}

/// A `weir` process that runs, or has run.
#[derive(Debug)]
pub struct Process {
    about: String,
    child: Child,
    stdout: Captured,
    stderr: Captured,
    started: Instant,
}

impl Process {
    /// Its id in the operating system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout until now.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr until now.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stdout contains a text; how long that took since the start.
    ///
    /// # Panics
    /// When it does not in `PATIENCE`, or the process ends without it.
    pub fn wait_for_stdout(&self, text: &str) -> Duration {
        let found = self.stdout.wait_until(|bytes| String::from_utf8_lossy(bytes).contains(text));
        assert!(found, "no {text:?} on stdout of {self}");
        self.started.elapsed()
    }

    /// Waits until stderr contains a text.
    ///
    /// # Panics
    /// As `wait_for_stdout`.
    pub fn wait_for_stderr(&self, text: &str) {
        let found = self.stderr.wait_until(|bytes| String::from_utf8_lossy(bytes).contains(text));
        assert!(found, "no {text:?} on stderr of {self}");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Sends it what Ctrl-C sends.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Lets it stand still, or go on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { "STOP" } else { "CONT" });
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Ends it at once, as a power cut would: nothing of it runs any more when this returns.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended in `PATIENCE`.
    pub fn wait(mut self) -> Ran {
        let status = self.wait_for_status();
        Ran {
            about: self.about.clone(),
            status,
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            took: self.started.elapsed(),
        }
    }

    fn wait_for_status(&mut self) -> ExitStatus {
        let mut status = None;
        poll(PATIENCE, || {
            status = self.child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("{self} did not end"))
    }

    /// The shell's own `kill`: it is where there is a shell, and std has no signals.
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(sent.success(), "{kill} for {self}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.about,
            shortened(&self.stdout.text()),
            shortened(&self.stderr.text())
        )
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    about: String,
    status: ExitStatus,
    /// All it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All it wrote to stderr.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub took: Duration,
}

impl Ran {
    /// What it exited with; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Itself, once it is known to have exited so.
    ///
    /// # Panics
    /// When it has not, with all it said.
    #[track_caller]
    pub fn exited_with(self, code: i32) -> Ran {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Itself, once a line of stderr is known to contain all these words.
    ///
    /// # Panics
    /// When none does.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ran {
        let stderr = self.stderr_text();
        for word in words {
            assert!(stderr.contains(word), "no {word:?} on stderr of {self}");
        }
        self
    }

    /// Stdout as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stderr as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Stdout as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// Stdout as lines of JSON.
    ///
    /// # Panics
    /// When a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}: {self}"))
        };
        self.stdout_text().lines().map(parse).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n--- {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.about,
            self.status,
            shortened(&self.stdout_text()),
            shortened(&self.stderr_text())
        )
    }
}

/// A `weir dev` or `weir master` that listens.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: String,
    /// Removed once the process has ended: fields are dropped in their order.
    _data: Option<TempDir>,
}

impl Server {
    /// Starts a whole cluster with data of its own that goes with it.
    ///
    /// # Panics
    /// When it does not listen in `PATIENCE`.
    pub fn fresh() -> Server {
        let data = tempfile::tempdir().expect("a temporary directory");
        let server = Server::dev(data.path());
        Server { _data: Some(data), ..server }
    }

    /// Starts a whole cluster with its data in this directory.
    ///
    /// # Panics
    /// When it does not listen in `PATIENCE`.
    pub fn dev(data_dir: &Path) -> Server {
        Server::dev_at(data_dir, "127.0.0.1:0")
    }

    /// Starts a whole cluster with more flags, and with data of its own that goes with it.
    ///
    /// # Panics
    /// As `dev`.
    pub fn with_flags(flags: &[&str]) -> Server {
        let data = tempfile::tempdir().expect("a temporary directory");
        let dev = Weir::new(["dev", "--listen", "127.0.0.1:0"]).args(flags);
        let server = Server::listening(dev, data.path());
        Server { _data: Some(data), ..server }
    }

    /// Starts a whole cluster that listens at this address, where one was before.
    ///
    /// # Panics
    /// As `dev`.
    pub fn dev_at(data_dir: &Path, listen: &str) -> Server {
        Server::listening(Weir::new(["dev", "--listen", listen]), data_dir)
    }

    /// Starts a master that listens at this address, such as `127.0.0.1:0`.
    ///
    /// # Panics
    /// As `dev`.
    pub fn master(data_dir: &Path, listen: &str) -> Server {
        Server::listening(Weir::new(["master", "--listen", listen]), data_dir)
    }

    /// Starts one of several masters at this address, with more flags.
    ///
    /// # Panics
    /// As `dev`.
    pub fn one_of(data_dir: &Path, listen: &str, flags: &[&str]) -> Server {
        Server::listening(Weir::new(["master", "--listen", listen]).args(flags), data_dir)
    }

    fn listening(weir: Weir, data_dir: &Path) -> Server {
        let process = weir.arg("--data-dir").arg(data_dir).start();
        process.wait_for_stdout(" listens on http://");
        let line = process.stdout();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(',').next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Server { process, address, _data: None }
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The id of its process in the operating system.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it has not in `PATIENCE`.
    pub fn stop(self) -> Ran {
        self.process.terminate();
        self.wait()
    }

    /// Waits until it has stopped by itself.
    ///
    /// # Panics
    /// When it has not in `PATIENCE`.
    pub fn wait(self) -> Ran {
        self.process.wait()
    }

    /// A `weir` command against its cluster.
    pub fn weir<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Weir {
        Weir::new(args).env("WEIR_MASTER", self.address())
    }

    /// Starts an agent of this master, with so many cores.
    pub fn start_agent(&self, name: &str, data_dir: &Path, cores: u32) -> Process {
        let agent = self.weir(["agent", "--name", name, "--cores", &cores.to_string()]);
        agent.args(["--memory", "4GiB", "--data-dir"]).arg(data_dir).start()
    }

    /// Waits until so many agents are live.
    ///
    /// # Panics
    /// When there are not in `PATIENCE`.
    pub fn wait_for_agents(&self, count: usize) {
        let mut status = Value::Null;
        let there = poll(PATIENCE, || {
            status = self.weir(["status", "--json"]).run().exited_with(0).json();
            let agents = status["agents"].as_array().expect("agents");
            agents.iter().filter(|agent| agent["live"] == true).count() == count
        });
        assert!(there, "not {count} live agents: {status:#}");
    }
}

/// Looks at a condition until it holds; false when it did not in that time.
pub fn poll(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Keeps the user's settings out of a command.
fn without_settings(command: &mut Command) {
    for name in ["MASTER", "NAMESPACE", "COLOR", "QUIET", "LOG"] {
        command.env_remove(format!("WEIR_{name}"));
    }
    // Nobody writes it: a test that changes settings names a file of its own.
    let no_settings = std::env::temp_dir().join("weir-tests-have-no-settings.toml");
    command.env("WEIR_CONFIG", no_settings).env("NO_COLOR", "1");
}

/// The binary `weir` beside the tests: they are run from `target/PROFILE/deps`.
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its own path");
    let profile = tests.ancestors().nth(2).expect("a test is in target/PROFILE/deps");
    let binary = profile.join("weir");
    assert!(binary.exists(), "{} is not there; run `make test`", binary.display());
    binary
}

fn shortened(text: &str) -> String {
    const MOST: usize = 4000;
    match text.char_indices().nth_back(MOST) {
        Some((from, _)) => format!("[...]{}", &text[from..]),
        None => text.to_owned(),
    }
}

/// What comes out of a pipe, read as it comes: a full pipe would stop the child.
#[derive(Debug, Clone)]
struct Captured(Arc<(Mutex<Bytes>, Condvar)>);

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    ended: bool,
}

impl Captured {
    fn read(mut pipe: impl Read + Send + 'static) -> Captured {
        let captured = Captured(Arc::default());
        let writer = captured.clone();
        // Ends when the last process that holds the pipe has ended.
        thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                let length = pipe.read(&mut chunk).unwrap_or(0);
                let mut inner = writer.lock();
                inner.bytes.extend_from_slice(&chunk[..length]);
                inner.ended = length == 0;
                writer.0.1.notify_all();
                if inner.ended {
                    return;
                }
            }
        });
        captured
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// All there is, once the pipe has ended.
    fn whole(&self) -> Vec<u8> {
        self.wait_until(|_| false);
        self.lock().bytes.clone()
    }

    /// Whether the bytes came to satisfy a condition before the pipe ended, in `PATIENCE`.
    fn wait_until(&self, satisfied: impl Fn(&[u8]) -> bool) -> bool {
        let waiting = |inner: &mut Bytes| !satisfied(&inner.bytes) && !inner.ended;
        let (inner, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), PATIENCE, waiting)
            .expect("nobody panics while reading");
        satisfied(&inner.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.0.lock().expect("nobody panics while reading")
    }
}
