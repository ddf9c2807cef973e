//! Allocates memory 1 MiB at a time and writes to all of it, for ever. Says on stderr how far it came
//! every 64 MiB. Tests that a task's memory limit holds; once refused more, it aborts, which is a trap.

use std::hint::black_box;

const MIB: usize = 1024 * 1024;

fn main() {
    let mut held = Vec::new();
    loop {
        // Not zero: the allocator could give zeros without touching the memory.
        held.push(black_box(vec![0xa5_u8; MIB]));
        if held.len() % 64 == 0 {
            eprintln!("hog: {} MiB held", held.len());
        }
    }
}
