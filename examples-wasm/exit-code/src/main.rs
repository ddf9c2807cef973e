//! Exits with the code in its argument, default 1, after saying so on stderr. Tests how codes other
//! than 0 are reported, and a job's `success_codes`. WASI defines the codes from 0 to 125.

use std::env;
use std::process;

fn main() {
    let code = match env::args().nth(1).map(|argument| argument.parse::<i32>()) {
        None => 1,
        Some(Ok(code)) => code,
        Some(Err(_)) => {
            eprintln!("usage: exit-code [CODE]");
            2
        }
    };
    eprintln!("exiting with {code}");
    process::exit(code);
}
