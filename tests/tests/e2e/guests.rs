//! What each example guest does when nothing goes wrong, and that none is left out.

use std::{fs, path::Path};

use weir_tests::{
    cluster::{Server, Weir},
    guests::{guest, names},
};

use crate::files_in;

#[test]
fn every_guest_is_run_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let source: Vec<u8> = files_in(&tests).into_values().flatten().collect();
    let source = String::from_utf8(source).expect("source is text");
    let names = names();
    assert!(!names.is_empty());
    for name in names {
        let call = format!("guest(\"{name}\")");
        assert!(source.contains(&call), "no test runs the guest {name}: none says {call}");
    }
}

#[test]
fn echo_prints_its_arguments_and_then_stdin_from_a_file_or_a_pipe() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("text");
    fs::write(&file, "from a file\nwithout an end").expect("a file");

    let echo = |stdin: &str| {
        server.weir(["run", "--stdin", stdin]).arg(guest("echo")).args(["--", "two  spaces", "ü"])
    };
    let from_file = echo(file.to_str().expect("UTF-8")).run().exited_with(0);
    let from_pipe = echo("-").stdin(b"\x00\xff piped").run().exited_with(0);
    let alone = server.weir(["run"]).arg(guest("echo")).stdin("not asked for").run();

    assert_eq!(from_file.stdout_text(), "two  spaces ü\nfrom a file\nwithout an end");
    assert_eq!(
        from_pipe.stdout,
        "two  spaces ü\n\0".bytes().chain(*b"\xff piped").collect::<Vec<_>>()
    );
    assert_eq!(alone.exited_with(0).stdout, b"");
}

#[test]
fn word_count_reads_files_and_directories_from_in() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("one.txt"), "The cat and the hat.").expect("a file");
    fs::create_dir(dir.path().join("more")).expect("a directory");
    fs::write(dir.path().join("more/two.txt"), "the end\n").expect("a file");
    let (all, one) = (format!("all={}", dir.path().display()), dir.path().join("one.txt"));

    let count = server
        .weir(["run", "--in", &all, "--in", &format!("a/one={}", one.display())])
        .arg(guest("word-count"))
        .args(["--", "--top", "2"])
        .run();

    let expected = "        5 /in/a/one
        2 /in/all/more/two.txt
        5 /in/all/one.txt
       12 words, 5 different
        5 the
        2 and
";
    assert_eq!(count.exited_with(0).stdout_text(), expected);
}

#[test]
fn mandelbrot_tiles_are_stitched_to_one_picture_whatever_their_number() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");

    let picture = |count: &str| {
        let (tiles, out) = (dir.path().join(format!("tiles{count}")), dir.path().join(count));
        let draw = server.weir(["run", "--array", count, "--out"]).arg(&tiles);
        let draw = draw.arg(guest("mandelbrot")).args(["--", "--width", "64", "--height", "64"]);
        draw.run().exited_with(0);
        let stitch = server.weir(["run", "--in", &format!("tiles={}", tiles.display())]);
        stitch.arg("--out").arg(&out).arg(guest("png-stitch")).run().exited_with(0);
        fs::read(out.join("mandelbrot.png")).expect("the picture")
    };
    let (of_16, of_4) = (picture("16"), picture("4"));

    assert!(of_16.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\0\x40\x08\x02"));
    assert!(of_16.ends_with(b"IEND\xae\x42\x60\x82"));
    assert!(of_16.len() > 1000, "an empty picture: {} bytes", of_16.len());
    assert!(of_16 == of_4, "the tiles' number shows in the picture");
    assert_eq!(files_in(&dir.path().join("tiles16")).len(), 16);
}

#[test]
fn png_stitch_names_the_tile_that_is_missing() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let tiles = dir.path().join("tiles");
    let draw = server.weir(["run", "--array", "4", "--out"]).arg(&tiles).arg(guest("mandelbrot"));
    draw.args(["--", "--width", "8", "--height", "8"]).run().exited_with(0);
    fs::remove_dir_all(tiles.join("2")).expect("a tile");

    let stitch = server.weir(["run", "--in", &format!("tiles={}", tiles.display()), "--out"]);
    let stitched = stitch.arg(dir.path().join("out")).arg(guest("png-stitch")).run();

    stitched.exited_with(2).says(&["png-stitch", "2"]);
}

#[test]
fn spin_with_a_number_ends_with_a_checksum_that_is_the_same_each_time() {
    let server = Server::fresh();

    let spin = || server.weir(["run", "--json"]).arg(guest("spin")).args(["--", "1"]).run();
    let (first, second) = (spin().exited_with(0).json_lines(), spin().exited_with(0).json_lines());

    let text = first[0]["stdout"]["text"].as_str().expect("text");
    assert!(text.starts_with("checksum ") && text.ends_with(" after 1000000 rounds\n"), "{text}");
    assert_eq!(first[0]["stdout"], second[0]["stdout"]);
    assert_eq!(first[0]["fuel"], second[0]["fuel"]);
}

#[test]
fn checksum_prints_what_only_its_task_prints() {
    let server = Server::fresh();

    let ran = server.weir(["run", "--array", "50"]).arg(guest("checksum")).args(["--", "3"]).run();

    let text = ran.exited_with(0).stdout_text();
    let mut sums = Vec::new();
    for index in 0..50 {
        let start = format!("{index}| task {index} checksum ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        sums.push(line.unwrap_or_else(|| panic!("no {start:?} in {text}")));
    }
    sums.sort_unstable();
    sums.dedup();
    assert_eq!((sums.len(), text.lines().count()), (50, 50));
}

#[test]
fn writer_leaves_files_in_the_named_directory_and_those_of_an_array_by_index() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let (single, array) = (dir.path().join("single"), dir.path().join("array"));

    let write = |weir: Weir, out: &Path| {
        weir.arg("--out").arg(out).arg(guest("writer")).args(["--", "2", "5000"]).run()
    };
    write(server.weir(["run"]), &single).exited_with(0);
    write(server.weir(["run", "--array", "3"]), &array).exited_with(0);

    let (single, array) = (files_in(&single), files_in(&array));
    assert_eq!(single.keys().collect::<Vec<_>>(), ["file-0000.bin", "nested/file-0001.bin"]);
    assert!(single.values().all(|bytes| bytes.len() == 5000));
    assert_eq!(array.len(), 6);
    assert_eq!(array["0/file-0000.bin"], single["file-0000.bin"]);
    assert_ne!(array["1/file-0000.bin"], array["0/file-0000.bin"]);
    assert_ne!(array["2/nested/file-0001.bin"], array["0/nested/file-0001.bin"]);
}

#[test]
fn a_guests_environment_and_seed_are_those_of_the_command() {
    let server = Server::fresh();

    // WEIR_TASK_INDEX is all that a guest of ours reads; a task of an array has its own.
    let run = |index: &str| {
        let env = format!("WEIR_TASK_INDEX={index}");
        let checksum = server.weir(["run", "--env", &env, "--seed", "7"]).arg(guest("checksum"));
        checksum.args(["--", "3"]).run().exited_with(0).stdout_text()
    };

    assert!(run("4").starts_with("task 4 checksum "), "{}", run("4"));
}

#[test]
fn kernels_compute_the_same_each_time_and_something_else_in_each_round() {
    let server = Server::fresh();
    let run = |kernel: &str, rounds: &str| {
        let run = server.weir(["run"]).arg(guest("kernels")).args(["--", kernel, rounds]).run();
        run.exited_with(0).stdout_text()
    };
    for kernel in ["sha256", "json", "regex", "deflate", "nbody"] {
        assert_eq!(run(kernel, "2"), run(kernel, "2"), "{kernel}");
        assert_ne!(run(kernel, "2"), run(kernel, "3"), "{kernel}");
    }
    let refused = server.weir(["run"]).arg(guest("kernels")).args(["--", "fft"]).run();
    refused.exited_with(2).says(&["no kernel fft", "usage: kernels"]);
}
