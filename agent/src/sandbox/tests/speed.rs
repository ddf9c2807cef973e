//! How fast the sandbox is, as ratios to bare Wasmtime in the same run: pairs of ours and theirs, one
//! after the other, their median ratio and its spread. `make speed` runs it and prints the table; it
//! wants a quiet machine, so no other suite does.

pub(crate) mod bare;
mod files;
mod metering;
pub(crate) mod pairs;

use std::{fs, path::PathBuf};

use bytes::Bytes;
use weir_proto::limits::Limits;

use self::{
    bare::{Bare, Settings},
    pairs::{Pairs, each, seconds},
};
use super::{
    running::{SANDBOX, attempt, attempt_with, stage},
    *,
};

/// A guest as it is compiled for users.
fn example(name: &str) -> Vec<u8> {
    let guests = "../examples-wasm/target/wasm32-wasip1/release";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(guests).join(name);
    fs::read(path.with_extension("wasm")).expect("a guest that `make guests` has built")
}

/// Kernels of the guest of that name, and how often each is run.
const KERNELS: [(&str, &str); 5] =
    [("sha256", "60"), ("json", "30"), ("regex", "60"), ("deflate", "25"), ("nbody", "20")];

fn connected(bytes: &[u8]) -> ReadyModule {
    connected_for(Metering::Fuel, bytes)
}

fn connected_for(metering: Metering, bytes: &[u8]) -> ReadyModule {
    let runner = SANDBOX.runner(metering).expect("a runner");
    let module = Module::new(runner.engine(), bytes).expect("a module");
    runner.connect(&Loaded::Module(module)).expect("a module that connects")
}

/// A stage with limits that nothing here comes to.
fn roomy(args: &[&str]) -> StageSpec {
    let limits = Limits {
        fuel: 1 << 50,
        memory_bytes: 1 << 30,
        timeout_ms: 600_000,
        output_bytes: 4 << 30,
        scratch_bytes: 4 << 30,
    };
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    StageSpec { args, limits, keep: Keep::Out, ..stage() }
}

/// Runs a task of ours, which must succeed; what it left in `/out` is there until that is dropped.
pub(crate) async fn run_ours(
    module: &ReadyModule,
    stage: &StageSpec,
    files: &Arc<FileSystemSpec>,
) -> Option<BTreeMap<String, Produced>> {
    let (stdout, stderr) = (OutputBuffer::new(1 << 20), OutputBuffer::new(1 << 20));
    let attempt = attempt_with(stage, files.clone(), &stdout, &stderr);
    let ended = SANDBOX.run(module, attempt).await.expect("it runs");
    assert!(ended.outcome.succeeded(), "{}: {:?}", ended.outcome, stderr.take());
    ended.out
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_warm_task_that_does_nothing_takes_little_longer_than_in_bare_wasmtime() {
    let runtime = runtime();
    let empty = wat::parse_str(command("")).expect("text that parses");
    for (name, module) in [("an empty module", empty), ("`echo` of Rust", example("echo"))] {
        let stage = StageSpec { keep: Keep::Nothing, ..roomy(&[]) };
        let (ready, files) = (connected(&module), running::files(&stage, &[]));
        let bare = Bare::new(Settings::Profile, &module);
        let pairs = Pairs::measure(
            || each(2_000, || drop(runtime.block_on(run_ours(&ready, &stage, &files)))),
            || each(2_000, || runtime.block_on(bare.run(&stage, None))),
        );
        pairs.print(&format!("whole life of {name}"), "bare pooled Wasmtime");
        assert!(pairs.ratio() <= 1.5, "{pairs:?}");
    }
}

#[test]
#[ignore = "it measures: `make speed`"]
fn kernels_take_as_long_as_in_bare_wasmtime_of_the_same_profile() {
    let (runtime, module) = (runtime(), example("kernels"));
    let (ready, metered) = (connected(&module), Bare::new(Settings::Profile, &module));
    let unmetered = Bare::new(Settings::Unmetered, &module);
    let command = Bare::new(Settings::Command, &module);
    for (kernel, rounds) in KERNELS {
        let stage = StageSpec { keep: Keep::Nothing, ..roomy(&[kernel, rounds]) };
        let files = running::files(&stage, &[]);
        let pairs = Pairs::measure(
            || seconds(|| drop(runtime.block_on(run_ours(&ready, &stage, &files)))),
            || seconds(|| runtime.block_on(metered.run(&stage, None))),
        );
        pairs.print(&format!("kernel {kernel}"), "bare Wasmtime, the same profile");
        let price = Pairs::measure(
            || seconds(|| runtime.block_on(metered.run(&stage, None))),
            || seconds(|| runtime.block_on(unmetered.run(&stage, None))),
        );
        price.print(&format!("metering {kernel}"), "the same without fuel");
        let profile = Pairs::measure(
            || seconds(|| runtime.block_on(metered.run(&stage, None))),
            || seconds(|| runtime.block_on(command.run(&stage, None))),
        );
        profile.print(&format!("all of the profile, {kernel}"), "Wasmtime by default");
        assert!(pairs.ratio() <= 1.03, "{pairs:?}");
    }
}

#[test]
#[ignore = "it measures: `make speed`"]
fn ten_small_inputs_cost_at_most_ten_microseconds() {
    let runtime = runtime();
    let stage = StageSpec { keep: Keep::Nothing, ..roomy(&[]) };
    let names: Vec<String> = (0..10).map(|n| format!("/in/input-{n}")).collect();
    let inputs: Vec<(&str, &[u8])> =
        names.iter().map(|name| (&name[..], &b"what is in it"[..])).collect();
    let (none, ten) = (running::files(&stage, &[]), running::files(&stage, &inputs));
    for (name, text) in [("not read", command("")), ("all read", files::ten_reader())] {
        let nothing = connected(&wat::parse_str(command("")).expect("text that parses"));
        let module = connected(&wat::parse_str(text).expect("text that parses"));
        let pairs = Pairs::measure(
            || each(2_000, || drop(runtime.block_on(run_ours(&module, &stage, &ten)))),
            || each(2_000, || drop(runtime.block_on(run_ours(&nothing, &stage, &none)))),
        );
        pairs.print(&format!("ten small inputs, {name}"), "no inputs");
        assert!(pairs.difference() <= 10e-6, "{pairs:?}");
    }
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_trap_costs_microseconds_whatever_its_stack() {
    let runtime = runtime();
    let trap = command("unreachable");
    let deep = "(module (memory (export \"memory\") 1) (func $f (call $f) (call $f))
        (func (export \"_start\") (call $f)))";
    for (name, text, most) in [("a trap", &trap[..], 100e-6), ("a stack overflow", deep, 10e-3)] {
        let stage = StageSpec { keep: Keep::Nothing, ..roomy(&[]) };
        let ready = connected(&wat::parse_str(text).expect("text that parses"));
        let time = each(200, || {
            let (stdout, stderr) = (OutputBuffer::new(10), OutputBuffer::new(10));
            let run = SANDBOX.run(&ready, attempt(&stage, &[], &stdout, &stderr));
            let ended = runtime.block_on(run).expect("it runs");
            assert!(matches!(ended.outcome, Outcome::Trapped(_)));
        });
        println!("{:<40} {:>9.1} us", name, time * 1e6);
        assert!(time < most, "{name} takes {time} s");
    }
}
