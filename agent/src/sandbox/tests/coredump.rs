//! What is left of a guest that trapped, for a debugger.

use wasmparser::{KnownCustom, Parser, Payload};
use wasmtime::component::Component;

use super::{
    running::{SANDBOX, attempt, loaded, stage},
    *,
};

async fn coredump(stage: &StageSpec, loaded: &Loaded) -> (Outcome, Option<Vec<u8>>) {
    let stage = StageSpec { coredump: true, ..stage.clone() };
    let (stdout, stderr) = (OutputBuffer::new(100), OutputBuffer::new(100));
    let ready = SANDBOX.by_fuel().connect(loaded).expect("a module that connects");
    let ended = SANDBOX.run(&ready, attempt(&stage, &[], &stdout, &stderr)).await;
    let Ended { outcome, coredump, .. } = ended.expect("it runs");
    (outcome, coredump)
}

/// The sections of a core dump, and the functions on its stack, innermost first.
fn parsed(dump: &[u8]) -> (Vec<String>, Vec<u32>, Vec<u8>) {
    let (mut sections, mut functions, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(dump) {
        match payload.expect("a section") {
            Payload::CustomSection(section) => {
                sections.push(section.name().to_owned());
                if let KnownCustom::CoreDumpStack(stack) = section.as_known() {
                    functions = stack.frames.iter().map(|frame| frame.funcidx).collect();
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    data.extend_from_slice(segment.expect("a segment").data);
                }
            }
            _ => {}
        }
    }
    (sections, functions, data)
}

/// Function 1 calls function 0, which traps.
const TRAPS: &str = r#"(module (memory (export "memory") 2) (global (mut i32) (i32.const 7))
    (func $inner (i32.store (i32.const 70000) (i32.const 0x6c6c6568)) unreachable)
    (func (export "_start") (call $inner)))"#;

#[tokio::test]
async fn a_trap_leaves_memory_and_stack_where_that_is_asked_for() {
    let (outcome, dump) = coredump(&stage(), &loaded(TRAPS)).await;
    assert!(matches!(outcome, Outcome::Trapped(_)), "{outcome}");
    let (sections, functions, data) = parsed(&dump.expect("a core dump"));
    assert_eq!(sections, ["core", "coremodules", "coreinstances", "corestack"]);
    assert_eq!(functions, [0, 1]);
    assert_eq!(data, b"hell");
}

#[tokio::test]
async fn nobody_asks_and_nothing_is_left() {
    let (stdout, stderr) = (OutputBuffer::new(100), OutputBuffer::new(100));
    let ready = SANDBOX.by_fuel().connect(&loaded(TRAPS)).expect("a module that connects");
    let stage = stage();
    let ended = SANDBOX.run(&ready, attempt(&stage, &[], &stdout, &stderr)).await;
    assert!(ended.expect("it runs").coredump.is_none());
}

#[tokio::test]
async fn out_of_fuel_and_out_of_memory_leave_one_too() {
    let stage = with_limits(|limits| (limits.fuel, limits.memory_bytes) = (100_000, 1 << 20));
    for (body, word) in [
        ("(loop br 0)", "out_of_fuel"),
        (
            "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))",
            "out_of_memory",
        ),
    ] {
        let (outcome, dump) = coredump(&stage, &loaded(&command(body))).await;
        assert_eq!(outcome.word(), word);
        assert_eq!(parsed(&dump.expect(word)).1, [0], "{word}");
    }
}

#[tokio::test]
async fn a_start_function_and_a_component_leave_one() {
    let start = r#"(module (memory (export "memory") 1) (func $trap unreachable) (start $trap)
        (func (export "_start")))"#;
    let component = r#"(component
        (core module $m (func (export "run") (result i32) unreachable))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $run (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $run)))"#;
    for text in [start, component] {
        let (outcome, dump) = coredump(&stage(), &loaded(text)).await;
        assert!(matches!(outcome, Outcome::Trapped(_)), "{outcome}");
        assert_eq!(parsed(&dump.expect("a core dump")).1, [0]);
    }
    let bytes = wat::parse_str(component).expect("text that parses");
    assert!(Component::new(SANDBOX.by_fuel().engine(), bytes).is_ok(), "it is no component");
}

#[tokio::test]
async fn what_ends_otherwise_or_cannot_be_written_leaves_none() {
    let exits = format!(
        r#"(module (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const 3))))"#
    );
    let exceptions = r#"(module (memory (export "memory") 1) (global (mut exnref) (ref.null exn))
        (func (export "_start") unreachable))"#;
    let large = r#"(module (memory (export "memory") 4097) (func (export "_start") unreachable))"#;
    let roomy = with_limits(|limits| limits.memory_bytes = 1 << 30);
    for (text, word) in [(&exits[..], "failed"), (exceptions, "trapped"), (large, "trapped")] {
        let (outcome, dump) = coredump(&roomy, &loaded(text)).await;
        assert_eq!(outcome.word(), word);
        assert!(dump.is_none(), "{text}");
    }
}
