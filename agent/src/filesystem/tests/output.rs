//! What is kept of `/out`.

use weir_proto::job::Keep;
use weir_store::directory::{MAX_DEPTH, Produced};

use super::{super::output::OutputError, *};

/// Every kept path with its bytes; directories end with a slash.
fn kept(fs: FileSystem, keep: &Keep) -> Result<Vec<(String, Vec<u8>)>, OutputError> {
    let mut found = Vec::new();
    let mut left: Vec<(String, Produced)> =
        fs.into_kept(keep)?.expect("there is an /out").into_iter().collect();
    while let Some((path, produced)) = left.pop() {
        match produced {
            Produced::Directory(inner) => {
                left.extend(inner.into_iter().map(|(name, node)| (format!("{path}/{name}"), node)));
                found.push((format!("{path}/"), Vec::new()));
            }
            Produced::File { bytes, .. } => {
                let mut all = vec![0; bytes.len() as usize];
                assert_eq!(bytes.read_at(0, &mut all).expect("a disk"), all.len());
                found.push((path, all));
            }
            Produced::Blob(_) => panic!("a guest makes no blobs"),
        }
    }
    found.sort();
    Ok(found)
}

fn error(fs: FileSystem) -> OutputError {
    kept(fs, &Keep::Out).expect_err("no store can hold it")
}

#[test]
fn files_and_directories_are_kept_and_links_become_what_they_lead_to() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.create_directory(root, "out/d").expect("room");
    fs.put("out/d/f", b"f").expect("room");
    fs.symlink("d", root, "out/l").expect("room");
    fs.symlink("../d/f", root, "out/d/m").expect("room");
    let file = |path: &str| (path.to_owned(), b"f".to_vec());
    let dir = |path: &str| (path.to_owned(), Vec::new());
    let expected =
        [dir("d/"), file("d/f"), file("d/m"), dir("l/"), file("l/f"), file("l/m")].to_vec();
    assert_eq!(kept(fs, &Keep::Out), Ok(expected));
}

#[test]
fn links_to_nothing_beneath_out_cannot_be_kept() {
    for target in ["nothing", "../tmp/f", "..", "l"] {
        let mut fs = Setup::default().make();
        let root = fs.root();
        fs.put("tmp/f", b"secret").expect("room");
        fs.symlink(target, root, "out/l").expect("room");
        assert_eq!(error(fs), OutputError::Link { path: "l".to_owned() }, "{target}");
    }
}

#[test]
fn links_to_what_contains_them_cannot_be_kept() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    fs.create_directory(root, "out/a").expect("room");
    fs.symlink("../a", root, "out/a/up").expect("room");
    assert_eq!(error(fs), OutputError::Loop { path: "a/up".to_owned() });
}

/// Directories in each other, the last of `count` open.
fn nested(fs: &mut FileSystem, name: &str, count: usize) -> NodeId {
    let mut dir = fs.opened("out", READ).expect("it is there");
    for _ in 0..count {
        fs.create_directory(dir, name).expect("room");
        dir = fs.open(dir, name, READ).expect("it is there");
    }
    dir
}

#[test]
fn as_deep_as_a_store_takes_is_kept_though_no_path_is_so_long() {
    let mut fs = Setup::default().make();
    let name = "n".repeat(255);
    let dir = nested(&mut fs, &name, MAX_DEPTH - 1);
    let file = fs.open(dir, "f", CREATE).expect("room");
    fs.write(file, 0, b"deep").expect("room");
    let found = kept(fs, &Keep::Out).expect("it can be kept");
    assert_eq!(found.last().expect("a file").1, b"deep");
    let mut deeper = Setup::default().make();
    nested(&mut deeper, "d", MAX_DEPTH);
    assert_eq!(error(deeper), OutputError::TooDeep);
    let mut far = Setup::default().make();
    nested(&mut far, "d", 10_000);
    assert_eq!(error(far), OutputError::TooDeep);
}

#[test]
fn links_that_double_at_every_level_are_too_many_entries() {
    let mut fs = Setup::default().make();
    let root = fs.root();
    for n in 0..40 {
        fs.create_directory(root, &format!("out/{n}")).expect("room");
        if n > 0 {
            fs.symlink(&format!("../{}", n - 1), root, &format!("out/{n}/a")).expect("room");
            fs.symlink(&format!("../{}", n - 1), root, &format!("out/{n}/b")).expect("room");
        }
    }
    assert_eq!(error(fs), OutputError::TooManyEntries);
}

#[test]
fn a_file_counts_as_often_as_names_lead_to_it() {
    let mut fs = Setup::default().limits(1000, 0).make();
    let root = fs.root();
    fs.put("out/f", &[1; 300]).expect("room");
    for n in 0..3 {
        fs.link((root, "out/f"), false, (root, &format!("out/{n}"))).expect("room");
    }
    assert_eq!(error(fs), OutputError::TooLarge(Exceeded { used: 1200, limit: 1000 }));
}

#[test]
fn only_the_paths_that_are_asked_for_are_kept() {
    let make = || {
        let mut fs = Setup::default().make();
        let root = fs.root();
        fs.create_directory(root, "out/d").expect("room");
        fs.put("out/d/f", b"f").expect("room");
        fs.put("out/other", b"o").expect("room");
        fs.symlink("d", root, "out/l").expect("room");
        fs
    };
    let keep = |path: &str| Keep::Paths(vec![path.to_owned(), "missing".to_owned()]);
    let expected = vec![("d/".to_owned(), Vec::new()), ("d/f".to_owned(), b"f".to_vec())];
    assert_eq!(kept(make(), &keep("d/f")), Ok(expected));
    for path in ["l", "l/f"] {
        let linked = Err(OutputError::KeptLink { path: path.to_owned() });
        assert_eq!(kept(make(), &keep(path)), linked);
    }
}
