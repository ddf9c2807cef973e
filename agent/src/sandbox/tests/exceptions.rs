//! That exceptions hold a worker no longer than some quanta: nanoseconds per fuel, beside those of
//! plain code. They are not as dear as they are slow, see `profile`, but how slow they can be is bounded.

use super::prices::{ns_per_fuel, plain};

/// How many times as long as plain code one exception after the other may take: 20 ms for a quantum.
const MOST: f64 = 150.0;

/// How often a case is measured again that is not as it should be.
const TRIES: usize = 5;

/// Throws through so many frames to a loop; where it throws there are clauses for other exceptions.
fn thrower(depth: u32, clauses: u32, rounds: u32) -> String {
    let tags: String = (0..clauses).map(|n| format!("(tag $t{n} (param i32))")).collect();
    let catches: String = (0..clauses).map(|n| format!("(catch $t{n} 0)")).collect();
    format!(
        "(module (tag $x) {tags} (memory (export \"memory\") 1)
            (func $deep (param i32)
                (if (local.get 0)
                    (then (call $deep (i32.sub (local.get 0) (i32.const 1))) (return)))
                (drop (block (result i32) (try_table {catches} (throw $x)) (i32.const 0))))
            (func (export \"_start\") (local $n i32)
                (local.set $n (i32.const {rounds}))
                (loop $again
                    (block $c (try_table (catch $x $c) (call $deep (i32.const {depth}))))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"
    )
}

#[tokio::test]
async fn one_exception_after_the_other_ends_a_quantum_in_bounded_time() {
    for (depth, clauses, rounds) in [(0, 0, 10_000), (0, 16, 5000), (100, 0, 500), (10_000, 0, 5)] {
        let mut ratio = 0.0;
        for _ in 0..TRIES {
            let plain = ns_per_fuel(&plain()).await;
            ratio = ns_per_fuel(&thrower(depth, clauses, rounds)).await / plain;
            if ratio <= MOST {
                break;
            }
        }
        println!("{depth} frames, {clauses} clauses: {ratio:.1} times as long for its fuel");
        assert!(ratio <= MOST, "{depth} frames, {clauses} clauses: {ratio:.1}");
    }
}
