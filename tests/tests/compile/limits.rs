//! A module cache with children of the real binary: what ends by a limit, and what is told about it.

use std::{ffi::OsString, fs, path::Path, sync::Arc, time::Instant};

use weir_agent::{
    compiler::{CompilerConfig, Place, limits::CompileLimits},
    modules::{ModuleCache, ModuleError, ModuleKey, ReadyModule, Refusal},
    sandbox::{Sandbox, SandboxConfig},
};
use weir_proto::{digest::Digest, metering::Metering};
use weir_tests::{
    bombs::{bomb, functions},
    cluster::{PATIENCE, binary, poll},
    processes::threads_of,
};

fn children() -> Place {
    Place::Child { program: binary(), args: vec![OsString::from("compile-module")] }
}

fn cache(dir: &Path, place: Place, limits: CompileLimits) -> ModuleCache {
    let sandbox = Sandbox::new(SandboxConfig { max_instances: 2 }).expect("a sandbox");
    let config = CompilerConfig { place, limits, cores: 2 };
    ModuleCache::open(dir, Arc::new(sandbox), config).expect("a cache")
}

fn key(bytes: &[u8]) -> ModuleKey {
    ModuleKey { digest: Digest::of(bytes), metering: Metering::Fuel }
}

async fn get(cache: &ModuleCache, bytes: &[u8]) -> Result<Arc<ReadyModule>, ModuleError> {
    cache.get(key(bytes), async || Ok(bytes.to_vec().into())).await
}

/// Compiles under these limits; the reason why it was too much.
async fn too_much(bytes: &[u8], limits: CompileLimits) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path(), children(), limits);
    let first = get(&cache, bytes).await;
    let started = Instant::now();
    let again = cache.get(key(bytes), async || panic!("the verdict is known")).await;
    assert!(started.elapsed().as_millis() < 100, "a verdict is remembered");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing is left");
    match (first, again) {
        (
            Err(ModuleError::Refused(Refusal::CompileLimit { reason })),
            Err(ModuleError::Refused(Refusal::CompileLimit { reason: again })),
        ) => {
            assert_eq!(reason, again);
            reason
        }
        (Err(error), _) => panic!("{error}"),
        (Ok(_), _) => panic!("it compiles"),
    }
}

#[tokio::test]
async fn a_bomb_ends_by_its_processor_time() {
    let limits = CompileLimits { cpu_seconds: 1, ..CompileLimits::default() };
    let reason = too_much(&bomb(3000), limits).await;
    assert_eq!(reason, "compiling it takes more than 1 s of processor time");
}

#[tokio::test]
async fn a_bomb_ends_by_its_memory() {
    let limits = CompileLimits { memory_bytes: 128 << 20, ..CompileLimits::default() };
    let reason = too_much(&bomb(3000), limits).await;
    assert_eq!(reason, "compiling it takes more than 134,217,728 bytes (128 MiB) of memory");
}

#[tokio::test]
async fn a_bomb_ends_by_the_size_of_its_code() {
    let limits = CompileLimits { code_bytes: 100_000, ..CompileLimits::default() };
    let reason = too_much(&bomb(400), limits).await;
    assert_eq!(reason, "its machine code takes more than 100,000 bytes (97.7 KiB)");
}

#[tokio::test]
async fn a_module_of_many_functions_compiles() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path(), children(), CompileLimits::default());
    let module = get(&cache, &functions(100_000)).await;
    assert!(module.is_ok(), "{:?}", module.err());
}

#[tokio::test]
async fn what_is_invalid_inside_is_refused_by_the_child() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path(), children(), CompileLimits::default());
    let bytes = wat::parse_str("(module (func (export \"_start\") i32.add))").expect("it parses");
    let refused = get(&cache, &bytes).await;
    let Err(ModuleError::Refused(Refusal::Invalid { reason })) = refused else {
        panic!("{:?}", refused.err())
    };
    assert!(reason.contains("type mismatch"), "{reason}");
}

#[tokio::test]
async fn a_child_has_its_limits_and_no_more_than_its_three_streams() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("process");
    let script =
        format!("echo $$ > {}; exec {} \"$@\" 7</dev/null", file.display(), binary().display());
    let args = ["-c", &script, "sh", "compile-module"].map(OsString::from).to_vec();
    let place = Place::Child { program: "/bin/sh".into(), args };
    let limits = CompileLimits { cpu_seconds: 77, memory_bytes: 3 << 30, code_bytes: 1 << 20 };
    let cache = cache(&dir.path().join("modules"), place, limits);
    let compiling = tokio::spawn(async move { get(&cache, &bomb(3000)).await.is_ok() });
    let looked = tokio::task::spawn_blocking(move || {
        let mut process = 0;
        let started = poll(PATIENCE, || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            process = text.trim().parse().unwrap_or(0);
            threads_of(process) > 1
        });
        assert!(started, "nothing compiles");
        let of_process = |name: &str| format!("/proc/{process}/{name}");
        let open = fs::read_dir(of_process("fd")).expect("descriptors");
        let mut open: Vec<_> = open.map(|entry| entry.expect("an entry").file_name()).collect();
        open.sort();
        let limits = fs::read_to_string(of_process("limits")).expect("limits");
        let score = fs::read_to_string(of_process("oom_score_adj")).expect("a score");
        let status = fs::read_to_string(of_process("status")).expect("a status");
        assert!(!cfg!(target_os = "linux") || status.contains("\nSeccomp:\t2\n"), "{status}");
        (open, limits, score, fs::read_link(of_process("cwd")).expect("a directory"))
    });
    let (open, limits, score, directory) = looked.await.expect("a look");
    compiling.abort();

    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(open, ["0", "1", "2"]);
    assert_eq!(limit("Max data size"), "3221225472 3221225472");
    assert_eq!(limit("Max cpu time"), "77 78");
    assert_eq!(limit("Max file size"), "1048576 1048576");
    assert_eq!(limit("Max core file size"), "0 0");
    assert_eq!((score.trim(), &*directory), ("1000", Path::new("/")));
}

#[tokio::test]
async fn many_who_ask_at_once_start_one_child() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let script = format!("echo >> {}; exec {} \"$@\"", log.display(), binary().display());
    let args = ["-c", &script, "sh", "compile-module"].map(OsString::from).to_vec();
    let place = Place::Child { program: "/bin/sh".into(), args };
    let cache = Arc::new(cache(&dir.path().join("modules"), place, CompileLimits::default()));
    let bytes = Arc::new(functions(1000));

    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (cache, bytes) = (cache.clone(), bytes.clone());
        asking.spawn(async move { get(&cache, &bytes).await.is_ok() });
    }
    let answers = asking.join_all().await;

    assert!(answers.len() == 1_000 && answers.into_iter().all(|answer| answer));
    assert_eq!(fs::read_to_string(log).expect("a log").lines().count(), 1);
}

/// What a child costs where there is next to nothing to compile; run with `--nocapture` to see it.
#[tokio::test]
async fn a_child_costs_milliseconds() {
    const ROUNDS: u32 = 20;
    let mut took = Vec::new();
    for place in [Place::ThisProcess, children()] {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = cache(dir.path(), place, CompileLimits::default());
        let modules: Vec<_> = (1..=ROUNDS as usize).map(functions).collect();
        let started = Instant::now();
        for module in &modules {
            get(&cache, module).await.expect("a module");
        }
        took.push(started.elapsed() / ROUNDS);
    }
    println!("a tiny module: {:?} in this process, {:?} in a child", took[0], took[1]);
    assert!(took[1].as_millis() < 500, "{took:?}");
}
