//! `weir` on a terminal, which `script` gives it: a progress line, and what Ctrl-C asks.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use weir_tests::{
    cluster::{PATIENCE, Server, Weir, binary, poll},
    guests::guest,
};

use crate::skipped;

/// What Ctrl-C types.
const CTRL_C: &str = "\x03";

/// A command on a terminal of 80 columns.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts it; none where there is no `script`.
    fn start(server: &Server, args: &str) -> Option<Terminal> {
        let line = format!("stty cols 80; exec {} {args}", binary().display());
        let mut child = Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .env("WEIR_MASTER", server.address())
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let shown = Arc::<Mutex<String>>::default();
        let (mut output, seen) = (child.stdout.take().expect("stdout is piped"), shown.clone());
        // Ends with the child.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                seen.lock().expect("nobody panics with it").push_str(&text);
            }
        });
        Some(Terminal { child, shown })
    }

    fn shown(&self) -> String {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    fn wait_for(&self, text: &str) {
        let found = poll(PATIENCE, || self.shown().contains(text));
        assert!(found, "no {text:?} in {:?}", self.shown());
    }

    fn types(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(keys.as_bytes()).expect("the terminal reads");
        stdin.flush().expect("the terminal reads");
    }

    fn exits_with(mut self, code: i32) -> String {
        let mut status = None;
        poll(PATIENCE, || {
            status = self.child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        let shown = self.shown();
        let status = status.unwrap_or_else(|| panic!("it did not end: {shown:?}"));
        assert_eq!(status.code(), Some(code), "{shown:?}");
        shown
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn long_array(server: &Server) -> Option<Terminal> {
    let args = format!("run --array 2000 {} -- 300", guest("spin").display());
    let terminal = Terminal::start(server, &args);
    if terminal.is_none() {
        skipped("weir on a terminal", "there is no `script` here");
    }
    terminal
}

fn status_of(server: &Server) -> String {
    let jobs = server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
    jobs[0]["status"].as_str().expect("a status").to_owned()
}

#[test]
fn an_array_tells_how_far_it_is_and_ctrl_c_asks_whether_to_detach() {
    let server = Server::fresh();
    let Some(mut terminal) = long_array(&server) else { return };
    terminal.wait_for("1/2,000");
    terminal.types(CTRL_C);
    terminal.wait_for("write `d` to detach");
    terminal.types("d\n");
    let shown = terminal.exits_with(0);
    assert!(shown.contains("job-1 goes on; `weir job watch 1` watches it"), "{shown:?}");
    assert_eq!(status_of(&server), "active");
    server.weir(["job", "cancel", "1"]).run().exited_with(0);
}

#[test]
fn ctrl_c_twice_cancels() {
    let server = Server::fresh();
    let Some(mut terminal) = long_array(&server) else { return };
    terminal.wait_for("/2,000");
    terminal.types(CTRL_C);
    terminal.wait_for("write `d` to detach");
    // Signals that come together are one.
    thread::sleep(std::time::Duration::from_millis(400));
    terminal.types(CTRL_C);
    let shown = terminal.exits_with(130);
    assert!(shown.contains("job-1 cancelled"), "{shown:?}");
    assert_eq!(status_of(&server), "cancelled");
}

#[test]
fn where_stderr_is_no_terminal_there_is_no_progress() {
    let server = Server::fresh();
    let echo = guest("echo");
    let ran = Weir::new(["run", "--array", "3"]).arg(echo).args(["--", "x"]);
    let ran = ran.env("WEIR_MASTER", server.address()).run().exited_with(0);
    assert!(!ran.stderr_text().contains("/3"), "{}", ran.stderr_text());
    assert!(!ran.stderr_text().contains('\r'), "{}", ran.stderr_text());
}
