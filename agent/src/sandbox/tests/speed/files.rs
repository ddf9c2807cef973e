//! Reading and writing a gigabyte, and small files.

use std::fs;

use weir_proto::id::Namespace;
use weir_store::{blobs::BlobStore, view::BlobView};

use super::{
    bare::{Bare, Settings},
    *,
};
use crate::filesystem::{Layout, OpenInput};

const GIGABYTE: usize = 1 << 30;

/// What a guest reads or writes at once: as C does, as most tools do, and as much as fits.
const CHUNKS: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "path_open" (func $open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read
        (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write
        (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (memory (export "memory") 40)
    (func $check (param i32) (if (local.get 0) (then unreachable)))"#;

/// Reads `in/large` to its end, in chunks.
fn reader(chunk: usize) -> String {
    format!(
        r#"(module {IMPORTS} (data (i32.const 64) "in/large")
            (func (export "_start")
                (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 8)
                    (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))
                (i32.store (i32.const 0) (i32.const 65536))
                (i32.store (i32.const 4) (i32.const {chunk}))
                (loop $again
                    (call $check (call $read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1)
                        (i32.const 16)))
                    (br_if $again (i32.load (i32.const 16))))))"#
    )
}

/// Writes a gigabyte to `out/large`, in chunks.
fn writer(chunk: usize) -> String {
    let times = GIGABYTE / chunk;
    format!(
        r#"(module {IMPORTS} (data (i32.const 64) "out/large")
            (func (export "_start") (local $left i32)
                (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 9)
                    (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32)))
                (memory.fill (i32.const 65536) (i32.const 7) (i32.const {chunk}))
                (i32.store (i32.const 0) (i32.const 65536))
                (i32.store (i32.const 4) (i32.const {chunk}))
                (local.set $left (i32.const {times}))
                (loop $again
                    (i32.store (i32.const 65536) (local.get $left))
                    (call $check (call $write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1)
                        (i32.const 16)))
                    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#
    )
}

/// Opens, reads and closes `in/input-0` to `in/input-9`.
pub(super) fn ten_reader() -> String {
    format!(
        r#"(module {IMPORTS} (data (i32.const 64) "in/input-0")
            (func (export "_start") (local $n i32)
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const 4096))
                (loop $again
                    (i32.store8 (i32.const 73) (i32.add (i32.const 48) (local.get $n)))
                    (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 64)
                        (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0)
                        (i32.const 32)))
                    (call $check (call $read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1)
                        (i32.const 16)))
                    (call $check (call $close (i32.load (i32.const 32))))
                    (br_if $again (i32.lt_u
                        (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 10))))))"#
    )
}

/// A blob as the agent's store has it.
struct Stored(BlobView);

impl OpenInput for Stored {
    fn open(&self, _: weir_proto::digest::Digest) -> Result<BlobView, DataError> {
        Ok(self.0.clone())
    }
}

fn bytes() -> Vec<u8> {
    (0..GIGABYTE / 8)
        .flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_gigabyte_is_read_through_in_nearly_as_fast_as_from_a_real_directory() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().expect("a directory"));
    let bytes = bytes();
    fs::create_dir(dir.path().join("in")).expect("a directory");
    fs::write(dir.path().join("in/large"), &bytes).expect("a disk");
    let stage = StageSpec { keep: Keep::Nothing, ..roomy(&[]) };
    let view = runtime.block_on(async {
        let store = BlobStore::open(dir.path().join("store")).await.expect("a store");
        let namespace = Namespace::default_namespace();
        let digest = store.put(&namespace, Bytes::from(bytes)).await.expect("a disk");
        let opened =
            tokio::task::spawn_blocking(move || store.open_view_blocking(&namespace, digest));
        opened.await.expect("a thread").expect("a view")
    });
    let file = weir_store::image::ImageFile {
        digest: weir_proto::digest::Digest::of(b"any"),
        size_bytes: GIGABYTE as u64,
        executable: false,
    };
    let image = weir_store::image::Image::File(file);
    let layout = Layout::new([("/in/large".to_owned(), image, false)]);
    let mut spec = FileSystemSpec::clone(&running::files(&stage, &[]));
    (spec.layout, spec.inputs) = (Arc::new(layout), Arc::new(Stored(view)));
    let files = Arc::new(spec);
    for chunk in CHUNKS {
        let module = wat::parse_str(reader(chunk)).expect("text that parses");
        let (ready, bare) = (connected(&module), Bare::new(Settings::Command, &module));
        let pairs = Pairs::measure(
            || seconds(|| drop(runtime.block_on(run_ours(&ready, &stage, &files)))),
            || seconds(|| runtime.block_on(bare.run(&stage, Some(dir.path())))),
        );
        let name = format!("reading 1 GiB, {} KiB at once", chunk >> 10);
        pairs.print(&name, "Wasmtime with a preopened directory");
        assert!(pairs.ratio() <= 1.0 / 0.8, "{pairs:?}");
    }
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_gigabyte_is_written_to_out_more_than_half_as_fast_as_to_a_real_directory() {
    let (runtime, dir) = (runtime(), tempfile::tempdir().expect("a directory"));
    fs::create_dir(dir.path().join("out")).expect("a directory");
    let stage = roomy(&[]);
    let mut spec = FileSystemSpec::clone(&running::files(&stage, &[]));
    spec.spill_dir = dir.path().to_owned();
    let files = Arc::new(spec);
    for chunk in CHUNKS {
        let module = wat::parse_str(writer(chunk)).expect("text that parses");
        let (ready, bare) = (connected(&module), Bare::new(Settings::Command, &module));
        let pairs = Pairs::measure(
            || {
                let mut out = None;
                let time = seconds(|| out = runtime.block_on(run_ours(&ready, &stage, &files)));
                assert!(out.is_some_and(|out| out.contains_key("large")));
                time
            },
            || {
                let time = seconds(|| runtime.block_on(bare.run(&stage, Some(dir.path()))));
                fs::remove_file(dir.path().join("out/large")).expect("it was written");
                time
            },
        );
        let name = format!("writing 1 GiB, {} KiB at once", chunk >> 10);
        pairs.print(&name, "Wasmtime with a preopened directory");
        assert!(pairs.ratio() <= 1.0 / 0.6, "{pairs:?}");
    }
}
