//! The special rules of areas, roots, links and removed things.

use super::*;

#[test]
fn inputs_cannot_be_changed_nor_anything_made_beside_them() {
    let mut fs = Setup::default().tree("/in/t", &[("f", b"x")], false).make();
    let root = fs.root();
    assert_eq!(refusal(fs.opened("in/t/f", CREATE)), Refusal::ReadOnly);
    assert_eq!(refusal(fs.opened("in/t/new", CREATE)), Refusal::ReadOnly);
    assert_eq!(refusal(fs.opened("new", CREATE)), Refusal::ReadOnly);
    assert_eq!(refusal(fs.unlink(root, "in/t/f")), Refusal::ReadOnly);
    assert_eq!(refusal(fs.remove_directory(root, "in/t")), Refusal::ReadOnly);
    assert_eq!(refusal(fs.rename((root, "in/t/f"), (root, "tmp/f"))), Refusal::ReadOnly);
    assert_eq!(refusal(fs.link((root, "in/t/f"), false, (root, "tmp/f"))), Refusal::CrossDevice);
    let node = fs.opened("in/t/f", READ).expect("it is there");
    assert_eq!(refusal(fs.write(node, 0, b"y")), Refusal::ReadOnly);
    assert_eq!(refusal(fs.set_times(node, NewTime::Set(1), NewTime::Keep)), Refusal::ReadOnly);
    assert_eq!(fs.contents("in/t/f"), b"x");
}

#[test]
fn nothing_moves_from_one_area_to_another() {
    let mut fs = Setup::default().input("/w", b"x", true).make();
    let root = fs.root();
    fs.put("tmp/f", b"f").expect("room");
    let moved = fs.rename((root, "tmp/f"), (root, "out/f"));
    assert_eq!(refusal(moved), Refusal::CrossDevice);
    assert_eq!(refusal(fs.link((root, "tmp/f"), false, (root, "out/f"))), Refusal::CrossDevice);
    assert_eq!(fs.names("out"), Vec::<String>::new());
}

#[test]
fn places_where_areas_begin_stay() {
    let mut fs = Setup::default().tree("/w", &[("f", b"x")], true).make();
    let root = fs.root();
    for path in ["tmp", "out", "w"] {
        assert_eq!(refusal(fs.remove_directory(root, path)), Refusal::Busy, "{path}");
        assert_eq!(refusal(fs.rename((root, path), (root, "tmp/x"))), Refusal::Busy, "{path}");
    }
    fs.create_directory(root, "tmp/d").expect("room");
    assert_eq!(refusal(fs.rename((root, "tmp/d"), (root, "out"))), Refusal::Busy);
    assert_eq!(refusal(fs.remove_directory(root, ".")), Refusal::Invalid);
}

#[test]
fn a_removed_file_lives_as_long_as_it_is_open() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    let node = fs.opened("tmp/f", CREATE).expect("room");
    fs.unlink(root, "tmp/f").expect("it is there");
    fs.write(node, 0, b"still").expect("room");
    assert_eq!((fs.all(node), fs.stat(node).links), (b"still".to_vec(), 0));
    assert_eq!((fs.scratch.used, fs.made_nodes), (5, 1));
    fs.release(node);
    assert_eq!((fs.scratch.used, fs.made_nodes, fs.pieces.count()), (0, 0, 0));
}

#[test]
fn nothing_can_be_made_in_a_removed_directory() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.create_directory(root, "tmp/a").expect("room");
    fs.create_directory(root, "tmp/a/b").expect("room");
    let dir = fs.opened("tmp/a/b", READ).expect("it is there");
    fs.remove_directory(root, "tmp/a/b").expect("it is empty");
    fs.remove_directory(root, "tmp/a").expect("it is empty");
    fs.put("tmp/f", b"").expect("room");
    assert_eq!(refusal(fs.create_directory(dir, "c")), Refusal::NoEntry);
    assert_eq!(refusal(fs.open(dir, "c", CREATE)), Refusal::NoEntry);
    assert_eq!(refusal(fs.symlink("x", dir, "c")), Refusal::NoEntry);
    assert_eq!(refusal(fs.rename((root, "tmp/f"), (dir, "c"))), Refusal::NoEntry);
    assert_eq!(refusal(fs.lookup(dir, "..", true)), Refusal::NotPermitted);
    assert_eq!(fs.list(dir, None).expect("a directory").count(), 0);
    fs.release(dir);
}

#[test]
fn a_slash_or_dot_at_the_end_asks_for_a_directory() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.put("tmp/f", b"f").expect("room");
    fs.symlink("f/", root, "tmp/l").expect("room");
    fs.create_directory(root, "tmp/d/").expect("room");
    for path in ["tmp/f/", "tmp/f/.", "tmp/l", "tmp/f/.."] {
        assert_eq!(refusal(fs.opened(path, READ)), Refusal::NotDirectory, "{path}");
    }
    assert_eq!(refusal(fs.unlink(root, "tmp/f/")), Refusal::NotDirectory);
    assert_eq!(refusal(fs.opened("tmp/new/", CREATE)), Refusal::IsDirectory);
    assert_eq!(refusal(fs.create_directory(root, "tmp/new/.")), Refusal::NoEntry);
    assert_eq!(refusal(fs.remove_directory(root, "tmp/d/.")), Refusal::Invalid);
    assert_eq!(refusal(fs.rename((root, "tmp/d/."), (root, "tmp/e"))), Refusal::Busy);
    assert_eq!(refusal(fs.rename((root, "tmp/f"), (root, "tmp/g/"))), Refusal::NotDirectory);
    fs.remove_directory(root, "tmp/d/").expect("it is empty");
}

#[test]
fn no_path_leads_above_where_it_begins() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.create_directory(root, "tmp/d").expect("room");
    fs.put("tmp/f", b"").expect("room");
    fs.symlink("../f", root, "tmp/d/l").expect("room");
    let dir = fs.opened("tmp/d", READ).expect("it is there");
    for path in ["..", "../f", "./../f", "l", "/tmp/f"] {
        assert_eq!(refusal(fs.open(dir, path, READ)), Refusal::NotPermitted, "{path}");
    }
    assert_eq!(refusal(fs.opened("tmp/../../tmp", READ)), Refusal::NotPermitted);
    fs.lookup(root, "tmp/d/l", true).expect("from the root it leads nowhere above");
    assert_eq!(refusal(fs.symlink("/tmp/f", root, "tmp/abs")), Refusal::NotPermitted);
}

#[test]
fn links_that_lead_in_a_circle_are_given_up() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.symlink("b", root, "tmp/a").expect("room");
    fs.symlink("a", root, "tmp/b").expect("room");
    assert_eq!(refusal(fs.lookup(root, "tmp/a", true)), Refusal::Loop);
    assert_eq!(refusal(fs.lookup(root, "tmp/a/x", false)), Refusal::Loop);
    assert_eq!(refusal(fs.opened("tmp/a", CREATE)), Refusal::Loop);
    assert_eq!(fs.read_link(root, "tmp/a").expect("a link"), "b");
    fs.put("tmp/0", b"end").expect("room");
    for n in 1..=41 {
        fs.symlink(&format!("{}", n - 1), root, &format!("tmp/{n}")).expect("room");
    }
    assert_eq!(fs.contents("tmp/40"), b"end");
    assert_eq!(refusal(fs.lookup(root, "tmp/41", true)), Refusal::Loop);
}

#[test]
fn names_paths_and_links_have_bounds() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    let name = |len| format!("tmp/{}", "n".repeat(len));
    fs.put(&name(255), b"").expect("as long as a name may be");
    assert_eq!(refusal(fs.put(&name(256), b"")), Refusal::NameTooLong);
    assert_eq!(refusal(fs.lookup(root, &"./".repeat(2049), true)), Refusal::NameTooLong);
    fs.lookup(root, &"./".repeat(2048), true).expect("as long as a path may be");
    fs.symlink(&"x".repeat(4095), root, "tmp/long").expect("as long as a link may be");
    assert_eq!(refusal(fs.symlink(&"x".repeat(4096), root, "tmp/l")), Refusal::NameTooLong);
    assert_eq!(refusal(fs.put("tmp/a\0b", b"")), Refusal::Invalid);
    assert_eq!(refusal(fs.lookup(root, "", true)), Refusal::NoEntry);
    assert_eq!(refusal(fs.symlink("", root, "tmp/l")), Refusal::NoEntry);
}

#[test]
fn a_directory_does_not_move_into_itself() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.create_directory(root, "tmp/a").expect("room");
    fs.create_directory(root, "tmp/a/b").expect("room");
    for to in ["tmp/a/c", "tmp/a/b/c"] {
        assert_eq!(refusal(fs.rename((root, "tmp/a"), (root, to))), Refusal::Invalid, "{to}");
    }
    assert_eq!(refusal(fs.rename((root, "tmp/a/b"), (root, "tmp/a"))), Refusal::NotEmpty);
    fs.rename((root, "tmp/a"), (root, "tmp/a")).expect("nothing to do");
}

#[test]
fn the_root_may_itself_be_an_input_that_can_be_changed() {
    let mut fs = Setup::default().tree("/", &[("f", b"old"), ("g", b"")], true).make();
    let root = fs.root();
    assert_eq!(fs.names("."), ["f", "g", "out", "tmp"]);
    fs.put("f", b"new").expect("room");
    fs.put("h", b"made").expect("room");
    fs.unlink(root, "g").expect("it is there");
    assert_eq!(fs.names("."), ["f", "h", "out", "tmp"]);
    assert_eq!(fs.contents("f"), b"new");
    assert_eq!(refusal(fs.remove_directory(root, "out")), Refusal::Busy);
    assert_eq!(refusal(fs.rename((root, "f"), (root, "out/f"))), Refusal::CrossDevice);
    assert_eq!(refusal(fs.lookup(root, "..", true)), Refusal::NotPermitted);
    fs.rename((root, "f"), (root, "tmp/f")).expect("one area");
}

#[test]
fn no_more_than_so_many_names_can_be_made() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.put("tmp/f", b"").expect("room");
    for n in 1..MAX_MADE_NODES {
        fs.link((root, "tmp/f"), false, (root, &format!("tmp/{n}"))).expect("room");
    }
    assert_eq!(refusal(fs.link((root, "tmp/f"), false, (root, "tmp/x"))), Refusal::NoSpace);
    assert_eq!(refusal(fs.create_directory(root, "tmp/x")), Refusal::NoSpace);
    assert_eq!(refusal(fs.symlink("f", root, "tmp/x")), Refusal::NoSpace);
    fs.unlink(root, "tmp/1").expect("it is there");
    fs.create_directory(root, "tmp/x").expect("room again");
}

#[test]
fn long_ways_are_counted_in_steps() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    let mut dir = fs.opened("tmp", READ).expect("it is there");
    for _ in 0..1000 {
        fs.create_directory(dir, "d").expect("room");
        dir = fs.open(dir, "d", READ).expect("it is there");
    }
    fs.create_directory(dir, "a").expect("room");
    fs.take_steps();
    fs.rename((dir, "a"), (dir, "b")).expect("it is there");
    assert!(fs.take_steps() > 1000);
    fs.symlink(&"d/../".repeat(500), root, "tmp/l").expect("room");
    fs.take_steps();
    fs.lookup(root, "tmp/l", true).expect("it leads to /tmp");
    // Two names, the link's thousand, and its 2,500 bytes.
    assert_eq!(fs.take_steps(), 2 + 1000 + 2500 / 8);
}
