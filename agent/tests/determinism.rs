//! Guests that show what is the same everywhere: outcome, output and fuel of a pure task, however it
//! is compiled and wherever its memory lies.
//!
//! Each runs in every variant of the engine. What comes back is compared with what is kept in the
//! repository, so also with that of other builds, machines and days. `UPDATE=1` writes it anew. The
//! guests that are written for this are in `determinism/cases`; programs of compilers are those of
//! `examples-wasm/`, and with `WEIR_CORPUS=DIR` the ones that `scripts/corpus.sh` makes.

#[path = "determinism/agent.rs"]
mod agent;

#[path = "determinism/data_segments.rs"]
mod data_segments;

#[path = "determinism/golden.rs"]
mod golden;

#[path = "determinism/guests.rs"]
mod guests;

#[path = "determinism/programs.rs"]
mod programs;

#[path = "determinism/record.rs"]
mod record;

#[path = "determinism/variants.rs"]
mod variants;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use tokio::runtime::Builder;
use weir_agent::{
    profile::Variant,
    sandbox::{Sandbox, SandboxConfig},
};
use weir_proto::metering::Metering;

use self::{agent::Agent, golden::Golden, guests::Guest, record::Record, variants::Known};

/// Least number of guests in the short form.
const LEAST_GUESTS: usize = 60;

/// Runs guests in all variants: what each gave in the first, and each fault found.
fn compare(guests: &[Guest], faults: &mut Vec<String>) -> BTreeMap<String, Record> {
    let mut first: BTreeMap<String, Record> = BTreeMap::new();
    for Known { name, variant } in variants::ALL {
        let began = Instant::now();
        let guests: Vec<&Guest> =
            guests.iter().filter(|g| !g.is_large || variants::is_for_large(name)).collect();
        let records = run(*variant, Metering::Fuel, &guests);
        println!("{:>6} ms  {} guests, {name}", began.elapsed().as_millis(), records.len());
        for (guest, record) in guests.iter().zip(records) {
            let Some(wanted) = first.get(&guest.name) else {
                first.insert(guest.name.clone(), record);
                continue;
            };
            let sees = variants::comparable(*variant, guest);
            if variants::keeps_nans(*variant, guest)
                && wanted.text(record::ALL) == record.text(record::ALL)
            {
                faults.push(format!("{} is no exception any more, {name}", guest.name));
            }
            let (wanted, actual) = (wanted.text(sees), record.text(sees));
            if wanted != actual {
                let what = golden::difference(&wanted, &actual);
                faults.push(format!("{} is another one, {name}:\n{what}", guest.name));
            }
        }
    }
    first
}

fn run(variant: Variant, metering: Metering, guests: &[&Guest]) -> Vec<Record> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { Agent::start(variant, metering).run_all(guests).await })
}

fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn variants_run_different_code() {
    let fingerprints: BTreeSet<String> = variants::ALL
        .iter()
        .map(|known| {
            let sandbox = Sandbox::of(known.variant, SandboxConfig { max_instances: 2 });
            sandbox.expect("a sandbox").fingerprint(Metering::Fuel).expect("a pool").to_owned()
        })
        .collect();
    // Only a pool leaves no trace in the code.
    assert_eq!(fingerprints.len(), variants::ALL.len() - 1, "{fingerprints:?}");
}

#[test]
fn guests_written_for_it_give_the_same_everywhere_and_as_ever() {
    let (guests, mut faults) = (guests::written(), Vec::new());
    assert!(guests.len() >= LEAST_GUESTS, "{} guests", guests.len());
    let records = compare(&guests, &mut faults);
    let path = Path::new("tests/determinism/golden.txt");
    let now = records.iter().map(|(name, record)| (name.clone(), record.text(record::ALL)));
    faults.extend(Golden::read(path).check(now.collect(), golden::Missing::IsAFault));
    no_faults(&faults);
}

#[test]
fn programs_of_compilers_give_the_same_everywhere_and_as_ever() {
    let (mut guests, mut faults) = (programs::examples(), Vec::new());
    if let Some(dir) = std::env::var_os("WEIR_CORPUS") {
        guests.extend(programs::corpus(Path::new(&dir)));
    }
    let records = compare(&guests, &mut faults);
    let path = Path::new("tests/determinism/programs.txt");
    let now = records.iter().map(|(name, record)| (name.clone(), record.text(record::ALL)));
    faults.extend(Golden::read(path).check(now.collect(), golden::Missing::IsNews));
    no_faults(&faults);
}

/// What is not the same where time is counted: guests that are told what they have used, or that draw
/// random numbers, which follow from the profile.
fn is_other_by_epochs(guest: &Guest) -> bool {
    let draws = ["random", "stdout_of_many_bytes", "tmp"].contains(&&*guest.name);
    guest.sees_time || draws
}

#[test]
fn guests_metered_by_epochs_end_alike_and_leave_the_same() {
    let (mut guests, mut faults) = (guests::written(), Vec::new());
    guests.extend(programs::examples());
    guests.retain(|guest| !guest.is_large && !guest.name.starts_with("fuel_ends"));
    let guests: Vec<&Guest> = guests.iter().collect();
    let by_fuel = run(Variant::default(), Metering::Fuel, &guests);
    let by_epochs = run(Variant::default(), Metering::Epoch, &guests);
    let sees = record::Sees { fuel: false, output: true };
    for (guest, (wanted, actual)) in guests.iter().zip(by_fuel.iter().zip(&by_epochs)) {
        let (wanted, actual) = (wanted.text(sees), actual.text(sees));
        if wanted != actual && !is_other_by_epochs(guest) {
            let what = golden::difference(&wanted, &actual);
            faults.push(format!("{} is another one by epochs:\n{what}", guest.name));
        }
    }
    no_faults(&faults);
}
