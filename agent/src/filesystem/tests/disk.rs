//! Bytes: limits, holes, what is spilled to disk, and inputs that are copied as they are written.

use super::*;

fn over<T>(result: FsResult<T>) -> (Area, u64) {
    match result {
        Err(FsError::OverLimit { area, exceeded }) => (area, exceeded.used),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is allowed"),
    }
}

#[test]
fn each_area_has_its_limit() {
    let mut fs = Setup::default().limits(10, 20).make();
    fs.put("out/f", b"0123456789").expect("room");
    fs.put("tmp/f", b"0123456789").expect("room");
    assert_eq!(over(fs.put("out/g", b"1")), (Area::Out, 11));
    assert_eq!(over(fs.put("tmp/g", &[1; 11])), (Area::Scratch, 21));
}

#[test]
fn a_hole_counts_and_takes_no_room() {
    let mut fs = Setup::default().limits(1 << 50, 1 << 50).make();
    for path in ["tmp/f", "out/f"] {
        let node = fs.opened(path, CREATE).expect("room");
        fs.write(node, 1 << 40, b"x").expect("room");
        let mut read = [1; 4];
        assert_eq!(fs.read(node, (1 << 40) - 3, &mut read).expect("a disk"), 4);
        assert_eq!(&read, b"\0\0\0x");
        fs.set_size(node, 1 << 45).expect("room");
        assert_eq!(fs.stat(node).size_bytes, 1 << 45);
    }
    assert_eq!((fs.out.used, fs.scratch.used), (1 << 45, 1 << 45));
    assert_eq!(fs.pieces.count(), 2);
    let mut small = Setup::default().make();
    let node = small.opened("tmp/f", CREATE).expect("room");
    assert_eq!(over(small.set_size(node, 1 << 40)), (Area::Scratch, 1 << 40));
    assert_eq!(over(small.write(node, 1 << 40, b"x")), (Area::Scratch, (1 << 40) + 1));
    assert_eq!(refusal(small.set_size(node, 1 << 63)), Refusal::FileTooLarge);
    assert_eq!(refusal(small.write(node, (1 << 63) - 1, b"x")), Refusal::FileTooLarge);
    assert_eq!(refusal(small.write(node, u64::MAX, b"x")), Refusal::FileTooLarge);
}

#[test]
fn writing_nothing_far_behind_the_end_changes_nothing() {
    let mut fs = Setup::default().make();
    let node = fs.opened("tmp/f", CREATE).expect("room");
    fs.write(node, 1 << 40, b"").expect("nothing is written");
    assert_eq!((fs.stat(node).size_bytes, fs.scratch.used), (0, 0));
}

#[test]
fn the_texts_of_links_count() {
    let mut fs = Setup::default().limits(10, 10).make();
    let root = fs.root();
    fs.symlink("12345", root, "tmp/l").expect("room");
    assert_eq!(fs.scratch.used, 5);
    fs.unlink(root, "tmp/l").expect("it is there");
    assert_eq!(fs.scratch.used, 0);
    assert_eq!(over(fs.symlink("12345678901", root, "out/l")), (Area::Out, 11));
}

#[test]
fn what_does_not_fit_in_memory_reads_the_same_from_disk() {
    let mut fs = Setup::default().make();
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let node = fs.opened("tmp/f", CREATE).expect("room");
    for (n, part) in bytes.chunks(99_999).enumerate() {
        fs.write(node, n as u64 * 99_999, part).expect("room");
    }
    assert!(fs.all(node) == bytes);
    fs.set_size(node, 3).expect("room");
    assert!(fs.pieces.room().1 < 6_000_000);
    assert_eq!(fs.all(node), bytes[..3]);
}

#[test]
fn an_input_that_may_be_changed_is_the_tasks_own_copy() {
    let whole = vec![b'i'; 200_000];
    let setup = Setup::default().input("/w", &whole, true).input("/same", &whole, false);
    let mut fs = setup.limits(0, 70_000).make();
    let node = fs.opened("w", OpenOptions { create: false, ..CREATE }).expect("it is there");
    assert_eq!(fs.scratch.used, 0);
    fs.write(node, 100_000, b"x").expect("room");
    // A piece: what is around the byte was copied.
    assert_eq!(fs.scratch.used, 65_536);
    fs.write(node, 99_000, b"y").expect("room in the same piece");
    assert_eq!(fs.scratch.used, 65_536);
    let mut expected = whole.clone();
    (expected[100_000], expected[99_000]) = (b'x', b'y');
    assert!(fs.contents("w") == expected);
    assert!(fs.contents("same") == whole);
    fs.set_size(node, 100).expect("room");
    fs.set_size(node, 200).expect("room");
    assert_eq!(fs.all(node), [vec![b'i'; 100], vec![0; 100]].concat());
    assert_eq!(fs.scratch.used, 100);
    assert_eq!(over(fs.write(node, 0, &vec![1; 80_000])), (Area::Scratch, 79_900));
}

#[test]
fn an_input_that_was_removed_is_gone_for_the_task() {
    let mut fs = Setup::default().tree("/w", &[("a", b"a"), ("b", b"b")], true).make();
    let root = fs.root();
    fs.rename((root, "w/a"), (root, "w/c")).expect("it is there");
    fs.unlink(root, "w/b").expect("it is there");
    assert_eq!(fs.names("w"), ["c"]);
    assert_eq!(fs.contents("w/c"), b"a");
    assert_eq!(refusal(fs.lookup(root, "w/b", true)), Refusal::NoEntry);
    assert_eq!(fs.scratch.used, 0);
}
