//! What it costs to meter, by fuel and by epochs, beside the same code that nobody meters. In time of the
//! processor: on a busy machine the clock tells more of others than of a loop.

use rustix::time::{ClockId, clock_gettime};
use weir_proto::metering::Metering;

use super::*;

/// An inner loop: some instructions, and its end.
const LOOP: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (local i32 i32)
    (loop (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 1664525))
            (i32.const 1013904223)))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
            (i32.const 50000000))))))"#;

/// How many seconds this thread computes for it.
fn computed(run: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let began = now();
    run();
    now() - began
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_loop_costs_less_by_epochs_than_by_fuel() {
    let (runtime, kernels) = (runtime(), example("kernels"));
    let tight = wat::parse_str(LOOP).expect("text that parses");
    let measure = |name: &str, module: &[u8], args: &[&str]| {
        let bare = Bare::new(Settings::Unmetered, module);
        let [by_fuel, by_epochs] = Metering::ALL.map(|metering| {
            let stage = StageSpec { metering, keep: Keep::Nothing, ..roomy(args) };
            let (ready, files) = (connected_for(metering, module), running::files(&stage, &[]));
            let pairs = Pairs::measure(
                || computed(|| drop(runtime.block_on(run_ours(&ready, &stage, &files)))),
                || computed(|| runtime.block_on(bare.run(&stage, None))),
            );
            pairs.print(&format!("{name}, by {metering}"), "bare Wasmtime, not metered");
            pairs.ratio()
        });
        println!("{name}: {by_fuel:.2} by fuel, {by_epochs:.2} by epochs, 1 not metered");
        (by_fuel, by_epochs)
    };
    let (by_fuel, by_epochs) = measure("a loop", &tight, &[]);
    for (kernel, rounds) in KERNELS {
        measure(kernel, &kernels, &[kernel, rounds]);
    }
    assert!(by_epochs < by_fuel, "{by_epochs} by epochs, {by_fuel} by fuel");
}
