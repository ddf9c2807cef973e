//! Names for what is in the store, and looking into it: `weir name` and `weir store`.

use std::{fs, path::Path};

use weir_tests::{cluster::Server, guests::guest};

/// A directory with a file `a.txt` and a file `deep/b.txt`.
fn write_tree(at: &Path) {
    fs::create_dir_all(at.join("deep")).expect("directories");
    fs::write(at.join("a.txt"), "one two").expect("a file");
    fs::write(at.join("deep/b.txt"), "three").expect("a file");
}

#[test]
fn a_name_is_set_to_a_path_and_used_wherever_a_source_is() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    write_tree(&tree);

    let set = server.weir(["name", "set", "books/first"]).arg(&tree).run().exited_with(0);
    server.weir(["name", "set", "tools/count"]).arg(guest("word-count")).run().exited_with(0);
    let get = server.weir(["name", "get", "books/first"]).run().exited_with(0);
    let file = server.weir(["get", "name:books/first/deep/b.txt"]).run().exited_with(0);
    let whole = server.weir(["get", "name:books/first", "--out"]).arg(dir.path().join("back"));
    whole.run().exited_with(0);
    let run = server.weir(["run", "--in", "books=name:books/first", "name:tools/count"]).run();

    assert!(set.stdout_text().starts_with("tree:blake3:"), "{set}");
    assert_eq!(get.stdout_text(), set.stdout_text());
    assert_eq!(file.stdout_text(), "three");
    assert_eq!(crate::files_in(&dir.path().join("back")), crate::files_in(&tree));
    assert!(run.exited_with(0).stdout_text().contains("3 words, 3 different"));
}

#[test]
fn a_name_is_changed_only_if_it_is_as_expected() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::write(&one, "1").expect("a file");
    fs::write(&two, "2").expect("a file");
    let set =
        |path: &Path, flags: &[&str]| server.weir(["name", "set", "x"]).arg(path).args(flags).run();

    let first = set(&one, &["--if-absent"]).exited_with(0).stdout_text();
    let absent = set(&two, &["--if-absent"]);
    let second = set(&two, &["--if", first.trim()]).exited_with(0).stdout_text();
    let stale = set(&one, &["--if", first.trim()]);
    let rm_stale = server.weir(["name", "rm", "x", "--if", first.trim()]).run();

    for ran in [absent, stale, rm_stale] {
        ran.exited_with(125).says(&["name x", "points at blake3:", "not as expected"]);
    }
    let removed = server.weir(["name", "rm", "x", "--if", second.trim()]).run().exited_with(0);
    assert_eq!(removed.stdout_text(), "name x was removed\n");
    set(&one, &["--if-absent", "--if", first.trim()]).exited_with(2).says(&["cannot be used with"]);
}

#[test]
fn names_are_listed_by_their_beginnings() {
    let server = Server::fresh();
    let ls = |args: &[&str]| server.weir(["name", "ls"]).args(args).run().exited_with(0);
    let empty = ls(&[]);
    for name in ["a/one", "a/two", "b"] {
        server.weir(["name", "set", name]).arg(guest("echo")).run().exited_with(0);
    }

    let (all, some, none) = (ls(&["--json"]).json(), ls(&["a/"]), ls(&["c"]));

    assert_eq!(empty.stdout_text(), "");
    empty.says(&["no names in namespace default yet", "`weir name set NAME PATH`"]);
    assert_eq!(all.as_array().map(Vec::len), Some(3));
    assert_eq!((&all[0]["name"], &all[0]["namespace"]), (&"a/one".into(), &"default".into()));
    let rows = some.stdout_text();
    let names: Vec<_> = rows.lines().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "a/one", "a/two"]);
    none.says(&["no name", "begins with \"c\""]);
}

#[test]
fn names_that_are_not_there_or_cannot_be_are_told() {
    let server = Server::fresh();
    let weir = |args: &[&str]| server.weir(args).run();

    for args in [&["name", "get", "x"][..], &["name", "rm", "x"], &["get", "name:x"]] {
        weir(args).exited_with(125).says(&["no name x", "`weir name ls`"]);
    }
    weir(&["store", "ls", "name:x/y"]).exited_with(125).says(&["no name x/y"]);
    weir(&["name", "set", "a b", "/etc/hosts"]).exited_with(2).says(&["\"a b\""]);
    weir(&["name", "get", "../x"]).exited_with(2).says(&["\"../x\"", "letters, digits"]);
    weir(&["name", "set", "x", "/no/such/file"]).exited_with(125).says(&["/no/such/file"]);
    let nowhere = format!("blake3:{}", "0".repeat(64));
    weir(&["name", "set", "x", &nowhere]).exited_with(125).says(&[&nowhere, "not in the store"]);
    weir(&["name", "set", "x", "name:y"]).exited_with(125).says(&["no name y"]);
}

#[test]
fn the_store_lists_blobs_and_the_entries_of_trees() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let ls = |args: &[&str]| server.weir(["store", "ls"]).args(args).run();
    let empty = ls(&[]).exited_with(0);
    write_tree(&dir.path().join("tree"));
    let put = server.weir(["put"]).arg(dir.path().join("tree")).run().exited_with(0).stdout_text();
    let tree = put.trim();

    let blobs = ls(&["--json"]).exited_with(0).json_lines();
    let entries = ls(&[tree, "--json"]).exited_with(0).json_lines();
    let deep = ls(&[&format!("{tree}/deep")]).exited_with(0).stdout_text();

    assert_eq!(empty.stdout_text(), "");
    empty.says(&["nothing in the store", "`weir put PATH`"]);
    // Two files and two trees.
    assert_eq!(blobs.len(), 4, "{blobs:#?}");
    let digests: Vec<_> = blobs.iter().map(|blob| blob["digest"].to_string()).collect();
    assert!(digests.is_sorted() && digests[0].starts_with("\"blake3:"), "{digests:?}");
    let names: Vec<_> = entries.iter().map(|entry| (&entry["name"], &entry["kind"])).collect();
    assert_eq!(names, [(&"a.txt".into(), &"blob".into()), (&"deep".into(), &"tree".into())]);
    assert!(deep.lines().nth(1).is_some_and(|row| row.contains("blob   5 B  b.txt")), "{deep}");
    ls(&[&format!("{tree}/c")]).exited_with(125).says(&["no \"c\"", "`weir store ls`"]);
    ls(&[&format!("{tree}/a.txt/x")]).exited_with(125).says(&["\"a.txt\" is a file"]);
    ls(&["tree"]).exited_with(2).says(&["\"tree\"", "64 hex digits"]);
    let blob = blobs[0]["digest"].as_str().expect("a digest");
    ls(&[blob]).exited_with(125).says(&["is a blob", "`weir store stat`"]);
}

#[test]
fn the_store_tells_how_full_it_is_and_what_a_digest_is() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    write_tree(dir.path());
    let put = server.weir(["put"]).arg(dir.path()).run().exited_with(0).stdout_text();
    let stat = |args: &[&str]| server.weir(["store", "stat"]).args(args).run();

    let all = stat(&["--json"]).exited_with(0).json();
    let tree = stat(&[put.trim(), "--json"]).exited_with(0).json();
    let file = stat(&[&format!("{}/a.txt", put.trim())]).exited_with(0).stdout_text();
    let nowhere = format!("blake3:{}", "f".repeat(64));
    let absent = stat(&[&nowhere, "--json"]).exited_with(0).json();

    assert_eq!((&all["namespace"], &all["blobs"]), (&"default".into(), &4.into()));
    assert!(all["disk_free_bytes"].as_u64() <= all["disk_total_bytes"].as_u64(), "{all:#}");
    assert_eq!((&tree["kind"], &tree["stored"]), (&"tree".into(), &true.into()));
    assert_eq!((&tree["size_bytes"], &tree["entries"]), (&12.into(), &2.into()));
    assert!(file.contains("size         7 B (7 bytes)\n"), "{file}");
    assert_eq!((&absent["stored"], &absent["size_bytes"]), (&false.into(), &().into()));
    assert!(stat(&[]).exited_with(0).stdout_text().contains("blobs        4, "));
}
