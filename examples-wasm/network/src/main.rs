//! Speaks to others over TCP, UDP or HTTP, looks names up, and says what it is refused: the first word
//! says what to do. It calls WASI preview 2 itself, so it runs as a component only.

mod http;
mod rounds;
mod sockets;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["tcp", address, text] => parsed(address).and_then(|to| sockets::tcp(to, text)),
        ["udp", address, text] => parsed(address).and_then(|to| sockets::udp(to, text)),
        ["silent", address] => parsed(address).and_then(sockets::read_for_ever),
        ["at-once", count] => parsed(count).and_then(sockets::open_at_once),
        ["in-turn", count] => parsed(count).and_then(sockets::open_in_turn),
        ["lookup", name] => sockets::lookup(name),
        ["by-name", name, port, text] => {
            parsed(port).and_then(|port| sockets::tcp_by_name(name, port, text))
        }
        ["listen"] => sockets::listen(),
        ["get", url] => http::get(url),
        ["post", url, text] => http::post(url, text),
        ["rounds", what, count, to] => {
            parsed(count).and_then(|count| rounds::run(what, count, parsed(to)?))
        }
        _ => {
            eprintln!(
                "network: needs tcp ADDRESS TEXT, udp ADDRESS TEXT, silent ADDRESS, at-once COUNT, \
                 in-turn COUNT, lookup NAME, by-name NAME PORT TEXT, listen, get URL, post URL TEXT or \
                 rounds WHAT COUNT ADDRESS"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(refused) => {
            eprintln!("network: {refused}");
            ExitCode::FAILURE
        }
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("cannot read {text:?}"))
}
