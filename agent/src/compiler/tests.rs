//! Ends of compilers, played by a shell; `tests/tests/compile.rs` has the real ones.

use std::{fs, path::Path};

use super::*;

/// Limits with a wall clock of four seconds.
const LIMITS: CompileLimits =
    CompileLimits { cpu_seconds: 1, memory_bytes: 1 << 30, code_bytes: 1 << 20 };

struct Ran {
    ended: Result<Compiled, CompilerError>,
    output: String,
}

async fn run(program: &Path, args: &[&str]) -> Ran {
    let place = Place::Child {
        program: program.to_owned(),
        args: args.iter().map(OsString::from).collect(),
    };
    let compiler = Compiler::new(CompilerConfig { place, limits: LIMITS, cores: 2 });
    let engine = profile::compiling_engine(Metering::Fuel).expect("an engine");
    let bytes = wat::parse_str("(module)").expect("text that parses");
    let output = tempfile::NamedTempFile::new().expect("a file");
    let ended = compiler.compile(Metering::Fuel, &engine, bytes.into(), output.as_file()).await;
    let output = fs::read(output.path()).expect("a file");
    Ran { ended, output: String::from_utf8_lossy(&output).into_owned() }
}

async fn script(text: &str) -> Ran {
    run(Path::new("/bin/sh"), &["-c", text]).await
}

async fn reason_of(text: &str) -> Compiled {
    script(text).await.ended.unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn over_limit(reason: &str) -> Compiled {
    Compiled::OverLimit { reason: reason.to_owned() }
}

#[tokio::test]
async fn what_a_process_writes_is_the_code() {
    let ran = script("printf code").await;
    assert!(matches!(ran.ended, Ok(Compiled::Done)), "{:?}", ran.ended);
    assert_eq!(ran.output, "code");
}

#[tokio::test]
async fn a_refusal_carries_what_the_process_said() {
    let expected = Compiled::Refused { reason: "no good".to_owned() };
    assert_eq!(reason_of("printf 'no good' >&2; exit 3").await, expected);
}

#[tokio::test]
async fn a_reason_is_bounded_however_much_a_process_says() {
    let text = "i=0; while [ $i -lt 9000 ]; do echo 0123456789 >&2; i=$((i+1)); done; exit 3";
    let Compiled::Refused { reason } = reason_of(text).await else { panic!("it is refused") };
    assert_eq!(reason.len(), MAX_REASON_BYTES);
}

#[tokio::test]
async fn each_limit_is_told_with_its_number() {
    let memory = "compiling it takes more than 1,073,741,824 bytes (1.00 GiB) of memory";
    assert_eq!(reason_of("exit 4").await, over_limit(memory));
    let aborted = "echo memory allocation of 9 bytes failed >&2; kill -ABRT $$";
    assert_eq!(reason_of(aborted).await, over_limit(memory));
    assert_eq!(
        reason_of("kill -XCPU $$").await,
        over_limit("compiling it takes more than 1 s of processor time")
    );
    assert_eq!(
        reason_of("kill -XFSZ $$").await,
        over_limit("its machine code takes more than 1,048,576 bytes (1.00 MiB)")
    );
}

#[tokio::test]
async fn a_process_that_does_nothing_is_killed_at_the_end_of_its_time() {
    let ended = reason_of("exec sleep 3600").await;
    assert_eq!(ended, over_limit("compiling it takes more than 4 s"));
}

#[tokio::test]
async fn a_compiler_that_always_crashes_is_the_modules_end() {
    for text in ["kill -SEGV $$", "kill -ABRT $$", "echo index out of range >&2; exit 101"] {
        let Compiled::Refused { reason } = reason_of(text).await else { panic!("{text}") };
        assert!(reason.starts_with("the compiler failed: "), "{reason}");
    }
}

#[tokio::test]
async fn a_compiler_that_is_always_killed_is_the_modules_end() {
    let Compiled::OverLimit { reason } = reason_of("kill -KILL $$").await else { panic!("killed") };
    assert!(reason.contains("stopped from outside 3 times, by signal 9"), "{reason}");
}

#[tokio::test]
async fn a_compiler_that_dies_once_is_started_again_on_an_empty_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().join("mark");
    let text = format!(
        "if [ -e {mark} ]; then printf code; else : > {mark}; printf 'longer junk'; kill -9 $$; fi",
        mark = mark.display()
    );
    let ran = script(&text).await;
    assert!(matches!(ran.ended, Ok(Compiled::Done)), "{:?}", ran.ended);
    assert_eq!(ran.output, "code");
}

#[tokio::test]
async fn a_process_that_fails_says_nothing_about_the_module() {
    for text in ["echo disk full >&2; exit 5", "exit 1", "exit 125"] {
        let ended = script(text).await.ended;
        assert!(matches!(ended, Err(CompilerError::Failed { .. })), "{text}: {ended:?}");
    }
    let ended = run(Path::new("/nothing/is/here"), &[]).await.ended;
    assert!(matches!(ended, Err(CompilerError::Start { .. })), "{ended:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_gets_nothing_from_the_agents_environment() {
    let ran = script("tr '\\0' ' ' < /proc/$$/environ; pwd").await;
    assert_eq!(ran.output, "RAYON_NUM_THREADS=2 /\n");
}
