//! The system end to end: real masters, agents and commands in processes of their own, on port 0.
//! Every guest in `examples-wasm/` is run by a test here or in `durability.rs`.

#[path = "e2e/guests.rs"]
mod guests;

#[path = "e2e/components.rs"]
mod components;

#[path = "e2e/network.rs"]
mod network;

#[path = "e2e/prices.rs"]
mod prices;

#[path = "e2e/limits.rs"]
mod limits;

#[path = "e2e/metering.rs"]
mod metering;

#[path = "e2e/live.rs"]
mod live;

#[path = "e2e/commands.rs"]
mod commands;

#[path = "e2e/store.rs"]
mod store;

#[path = "e2e/embedded.rs"]
mod embedded;

#[path = "e2e/agents.rs"]
mod agents;

#[path = "e2e/pause.rs"]
mod pause;

#[path = "e2e/resources.rs"]
mod resources;

#[path = "e2e/bad_input.rs"]
mod bad_input;

#[path = "e2e/bad_servers.rs"]
mod bad_servers;

#[path = "e2e/full_disk.rs"]
mod full_disk;

#[path = "e2e/foreign.rs"]
mod foreign;

#[path = "e2e/completion.rs"]
mod completion;

#[path = "e2e/settings.rs"]
mod settings;

#[path = "e2e/new.rs"]
mod new;

#[path = "e2e/terminal.rs"]
mod terminal;

#[path = "e2e/web.rs"]
mod web;

#[path = "e2e/looks.rs"]
mod looks;

#[path = "e2e/retry.rs"]
mod retry;

#[path = "e2e/names.rs"]
mod names;

#[path = "e2e/backup.rs"]
mod backup;

#[path = "e2e/upgrade.rs"]
mod upgrade;

#[path = "e2e/once.rs"]
mod once;

#[path = "e2e/bad_leases.rs"]
mod bad_leases;

#[cfg(target_os = "linux")]
#[path = "e2e/confine.rs"]
mod confine;

#[path = "e2e/speed.rs"]
mod speed;

#[path = "e2e/precompile.rs"]
mod precompile;

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

/// Says why a test does nothing on this machine, to stderr itself: the harness holds back what
/// `eprintln!` prints of a test that passes.
fn skipped(test: &str, reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}").expect("stderr is open");
}

/// Every file beneath a directory: its path from there, and its bytes.
fn files_in(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).expect("it is beneath").display().to_string();
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}
