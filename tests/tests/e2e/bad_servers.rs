//! What a person may get wrong when starting a server, and what a stranger may send to one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use weir_tests::{
    cluster::{PATIENCE, Server, Weir},
    guests::guest,
};

#[test]
fn a_second_cluster_on_the_same_data_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().expect("a directory");
    let first = Server::dev(data.path());

    let second = ["dev", "--listen", "127.0.0.1:0", "--data-dir"];
    let second = Weir::new(second).arg(data.path()).run();

    second.exited_with(125).says(&[
        &data.path().display().to_string(),
        "in use by another process",
        "choose another data directory",
    ]);
    first.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}

#[test]
fn two_agents_do_not_share_their_data() {
    let master = Server::fresh();
    let data = tempfile::tempdir().expect("a directory");
    let _first = master.start_agent("first", data.path(), 1);
    master.wait_for_agents(2);

    let second = master.start_agent("second", data.path(), 1).wait();

    second.exited_with(125).says(&[&data.path().display().to_string(), "in use"]);
    master.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = Server::fresh();
    let data = tempfile::tempdir().expect("a directory");

    let second = Weir::new(["dev", "--listen", first.address(), "--data-dir"]);
    let second = second.arg(data.path()).run();

    second.exited_with(125).says(&[first.address(), "in use", "another master"]);
    first.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}

#[test]
fn listening_for_other_machines_needs_to_be_asked_for() {
    let data = tempfile::tempdir().expect("a directory");
    let listen = |command: &str, flags: &[&str]| {
        let weir = Weir::new([command, "--listen", "0.0.0.0:0", "--data-dir"]).arg(data.path());
        weir.args(flags).start()
    };

    let dev = listen("dev", &[]).wait();
    let master = listen("master", &[]).wait();
    let asked = listen("master", &["--insecure"]);
    asked.wait_for_stdout("listens on http://0.0.0.0:");

    dev.exited_with(125).says(&["0.0.0.0", "other machines", "127.0.0.1"]);
    master.exited_with(125).says(&["0.0.0.0", "other machines", "--insecure"]);
    asked.terminate();
    asked.wait().exited_with(0);
}

#[test]
fn a_web_page_cannot_talk_to_a_cluster() {
    let server = Server::fresh();
    let ask = |headers: &str| {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let request = format!("GET / HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    };
    let own = format!("Host: {}\r\n", server.address());

    let rebound = ask("Host: evil.example\r\n");
    let foreign = ask(&format!("{own}Origin: https://evil.example\r\n"));
    let ours = ask(&own);

    assert!(rebound.contains(" 403") || rebound.contains(" 421"), "{rebound}");
    assert!(foreign.contains(" 403"), "{foreign}");
    assert!(!ours.contains(" 403") && !ours.contains(" 421"), "{ours}");
}

#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let server = Server::fresh();

    for bytes in [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[0xff; 100_000]] {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        // The server may hang up before it has read everything.
        let _cut = stream.write_all(bytes);
    }

    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
}
