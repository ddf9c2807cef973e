//! `weir put` and `weir get`: what comes out is what went in.

use std::{collections::BTreeMap, fs};

use weir_tests::{cluster::Server, guests::guest};

use crate::files_in;

#[test]
fn files_of_any_size_come_back_as_they_were() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let bytes: Vec<u8> =
        (0..5_000_000u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    for size in [0, 1, 4096, 5_000_000] {
        let (file, back) = (dir.path().join("file"), dir.path().join(size.to_string()));
        fs::write(&file, &bytes[..size]).expect("a file");

        let put = server.weir(["put"]).arg(&file).run().exited_with(0).stdout_text();
        let piped = server.weir(["get", put.trim()]).run().exited_with(0).stdout;
        server.weir(["get", put.trim(), "--out"]).arg(&back).run().exited_with(0);

        assert_eq!(put.trim(), format!("blake3:{}", blake3::hash(&bytes[..size]).to_hex()));
        assert!(piped == bytes[..size], "{size} bytes came back otherwise on stdout");
        assert!(fs::read(back).expect("a file") == bytes[..size], "{size} bytes");
    }
}

#[test]
fn a_directory_comes_back_with_all_its_files_and_can_be_an_input_by_its_digest() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let (tree, back) = (dir.path().join("tree"), dir.path().join("back"));
    fs::create_dir_all(tree.join("deep/er")).expect("directories");
    let files = BTreeMap::from([
        ("a.txt".to_owned(), b"one two".to_vec()),
        ("deep/er/b.txt".to_owned(), b"three".to_vec()),
        ("deep/empty".to_owned(), Vec::new()),
    ]);
    for (name, bytes) in &files {
        fs::write(tree.join(name), bytes).expect("a file");
    }

    let put = server.weir(["put", "--json"]).arg(&tree).run().exited_with(0).json();
    let digest = put["digest"].as_str().expect("a digest");
    server.weir(["get", digest, "--out"]).arg(&back).run().exited_with(0);
    let input = format!("tree={digest}");
    let count = server.weir(["run", "--in", &input]).arg(guest("word-count")).run();

    assert_eq!(put["kind"], "tree");
    assert!(digest.starts_with("tree:blake3:"), "{digest}");
    assert_eq!(files_in(&back), files);
    assert!(count.exited_with(0).stdout_text().contains("3 words, 3 different"));
}

#[test]
fn the_output_of_one_job_is_the_input_of_the_next_by_its_digest() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let write = server.weir(["run", "--json", "--out"]).arg(dir.path().join("out"));
    let lines =
        write.arg(guest("writer")).args(["--", "2", "10"]).run().exited_with(0).json_lines();

    let digest = lines[0]["out"]["digest"].as_str().expect("a digest");
    let next = server.weir(["run", "--in", &format!("before={digest}")]).arg(guest("word-count"));

    let text = next.run().exited_with(0).stdout_text();
    assert!(text.contains("/in/before/file-0000.bin"), "{text}");
    assert!(text.contains("/in/before/nested/file-0001.bin"), "{text}");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "precious").expect("a file");
    let put = server.weir(["put"]).arg(guest("echo")).run().exited_with(0).stdout_text();

    let got = server.weir(["get", put.trim(), "--out"]).arg(&file).run();
    let run = server.weir(["run", "--out"]).arg(dir.path()).arg(guest("writer"));
    let ran = run.args(["--", "1", "1"]).run();

    got.exited_with(125).says(&[&file.display().to_string()]);
    ran.exited_with(125).says(&["not empty", &dir.path().display().to_string()]);
    assert_eq!(files_in(dir.path()), BTreeMap::from([("file".to_owned(), b"precious".to_vec())]));
}
