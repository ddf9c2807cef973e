//! How much is kept, on disk and in memory, and what goes first.

use std::time::SystemTime;

use super::*;

/// A module of about 32 KiB of code and data, one of many.
fn nth(number: u32) -> Bytes {
    let data = "x".repeat(16 << 10);
    wasm(&format!(
        "(module (memory 1) (data (i32.const {number}) \"{data}\") (func (export \"_start\")))"
    ))
}

/// A cache of at most so many bytes, in which modules are got and dropped.
struct Shelf {
    cache: ModuleCache,
    dir: PathBuf,
}

impl Shelf {
    fn open(dir: &Path, most_bytes: u64, sandbox: &Arc<Sandbox>) -> Shelf {
        let compiler = CompilerConfig::in_this_process();
        let cache = ModuleCache::open_bounded(dir, Some(most_bytes), sandbox.clone(), compiler);
        Shelf { cache: cache.expect("a cache"), dir: dir.to_owned() }
    }

    async fn get(&self, number: u32) -> Arc<ReadyModule> {
        let bytes = nth(number);
        let got = self.cache.get(key(&bytes), async || Ok(bytes)).await;
        got.unwrap_or_else(|error| panic!("{number}: {error}"))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.cache.disk.path(key(&nth(number)))
    }

    /// Those of the first 100 whose files are there.
    fn kept(&self) -> Vec<u32> {
        (0..100).filter(|number| self.path(*number).exists()).collect()
    }

    fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.dir).expect("a directory");
        files.map(|file| file.expect("a file").metadata().expect("its size").len()).sum()
    }
}

/// What a file was last used, for the next process to see.
fn set_used(path: &Path, hours_ago: u64) {
    let when = SystemTime::now() - Duration::from_secs(hours_ago * 3_600);
    fs::File::open(path).and_then(|file| file.set_modified(when)).expect("a time is set");
}

#[tokio::test]
async fn files_together_never_take_more_than_the_bound() {
    const MOST_BYTES: u64 = 512 << 10;
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(dir.path(), MOST_BYTES, &sandbox());
    for number in 0..60 {
        shelf.get(number).await;
        assert!(shelf.bytes() <= MOST_BYTES, "{} after {number}", shelf.bytes());
    }
    let kept = shelf.kept();
    assert!(kept.len() > 5, "more is thrown away than must be: {kept:?}");
    assert!(kept.iter().copied().eq(60 - kept.len() as u32..60), "not the newest: {kept:?}");
}

#[tokio::test]
async fn the_file_used_longest_ago_goes_first_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = sandbox();
    let shelf = Shelf::open(dir.path(), 64 << 20, &sandbox);
    for number in 0..8 {
        shelf.get(number).await;
        set_used(&shelf.path(number), 10 - u64::from(number));
    }
    let each = fs::metadata(shelf.path(0)).expect("a file").len();
    drop(shelf);
    // Loading marks: the oldest becomes the newest.
    Shelf::open(dir.path(), 64 << 20, &sandbox).get(0).await;
    let reopened = Shelf::open(dir.path(), each * 4 + each / 2, &sandbox);
    let kept = reopened.kept();
    assert!(kept.contains(&0) && kept.contains(&7) && !kept.contains(&1), "{kept:?}");
    assert!(kept[1..].iter().copied().eq(9 - kept.len() as u32..8), "{kept:?}");
}

#[tokio::test]
async fn a_module_that_is_in_use_outlives_a_sweep() {
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(dir.path(), 1, &sandbox());
    let used = shelf.get(0).await;
    for number in 1..5 {
        shelf.get(number).await;
    }
    assert_eq!(shelf.kept(), [0, 4]);
    drop(used);
    shelf.get(5).await;
    assert_eq!(shelf.kept(), [5]);
}

#[tokio::test]
async fn files_of_other_builds_go_first_and_others_files_are_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = sandbox();
    let shelf = Shelf::open(dir.path(), 64 << 20, &sandbox);
    for number in 0..3 {
        shelf.get(number).await;
        set_used(&shelf.path(number), 100);
    }
    let each = fs::metadata(shelf.path(0)).expect("a file").len();
    let name = shelf.path(0).file_name().expect("a name").to_string_lossy().into_owned();
    let foreign = dir.path().join(name.replace("weir-1-", "weir-0-"));
    fs::copy(shelf.path(0), &foreign).expect("a copy");
    fs::create_dir(dir.path().join("lost+found")).expect("a directory");
    drop(shelf);

    let reopened = Shelf::open(dir.path(), each * 4 - 1, &sandbox);

    assert_eq!(reopened.kept(), [0, 1, 2]);
    assert!(!foreign.exists() && dir.path().join("lost+found").exists());
}

#[tokio::test]
async fn modules_that_nobody_uses_are_bounded_in_memory_and_those_in_use_are_not_loaded_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let shelf = Shelf::open(dir.path(), 64 << 20, &sandbox());
    let used = shelf.get(0).await;
    for number in 1..300 {
        shelf.get(number).await;
    }
    assert!(shelf.cache.known.len() <= 256, "{} are kept", shelf.cache.known.len());
    assert!(Arc::ptr_eq(&used, &shelf.get(0).await));
}

/// What a restart costs a large module; run with `--nocapture` to see it.
#[tokio::test]
async fn a_module_of_20_mb_is_ready_soon_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = sandbox();
    let data = "x".repeat(20 << 20);
    let functions = "(func (drop (i32.load8_u (i32.const 9))))".repeat(20_000);
    let text = format!(
        "(module (memory 400) (data (i32.const 0) \"{data}\") {functions} (func (export \"_start\")))"
    );
    let bytes = wasm(&text);
    let module = key(&bytes);
    let first = open(dir.path(), sandbox.clone()).expect("a cache");
    first.get(module, async || Ok(bytes)).await.expect("a module");
    drop(first);
    let mut took = Vec::new();
    for _ in 0..5 {
        let cache = open(dir.path(), sandbox.clone()).expect("a cache");
        let began = Instant::now();
        cache.get(module, async || panic!("it is on the disk")).await.expect("a module");
        took.push(began.elapsed());
    }
    took.sort_unstable();
    println!("{} bytes of code: {took:?}", fs::metadata(only_file(dir.path())).expect("it").len());
    assert!(took[0] < Duration::from_millis(150), "{took:?}");
}
