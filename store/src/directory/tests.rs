//! Directories there and back, and what is refused on either way.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    access::LocalError,
    blobs::{BlobStore, GetError},
    testing::{namespace, new_store, noise},
    tree::{Node, Tree, TreeEntry, TreeError},
};

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0
}

fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Paths, each with a file's bytes and executable bit.
type Listing = Vec<(String, Option<(Vec<u8>, bool)>)>;

/// Everything beneath a directory.
fn listing(dir: &Path) -> Listing {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push((name, None));
                open.push(path);
            } else {
                found.push((name, Some((fs::read(&path).unwrap(), is_executable(&path)))));
            }
        }
    }
    found.sort();
    found
}

/// A directory with a bit of everything.
fn sample() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub/deeper")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("small"), "hello").unwrap();
    fs::write(at("nothing"), "").unwrap();
    fs::write(at("sub/large"), noise(300_000, 1)).unwrap();
    fs::write(at("sub/deeper/tool"), "#!/bin/sh\n").unwrap();
    fs::write(at("sub/large tool"), noise(100_000, 2)).unwrap();
    make_executable(&at("sub/deeper/tool"));
    make_executable(&at("sub/large tool"));
    dir
}

async fn put(store: &BlobStore, path: &Path) -> Result<PutPath, PutPathError<LocalError>> {
    put_path(store, &namespace("a"), path).await
}

async fn put_tree(store: &BlobStore, entries: Vec<TreeEntry>) -> Digest {
    let tree = Tree::new(entries).unwrap();
    store.put(&namespace("a"), tree.encode()).await.unwrap()
}

async fn write(
    store: &BlobStore,
    root: Digest,
    to: &Path,
) -> Result<u64, MaterializeError<LocalError>> {
    materialize(store, &namespace("a"), InputSource::Tree(root), to, 1 << 30).await
}

fn refusal(result: Result<PutPath, PutPathError<LocalError>>) -> PlanError {
    match result {
        Err(PutPathError::Plan(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_directory_comes_back_with_executable_bits_and_empty_directories() {
    let (dir, store) = new_store().await;
    let source = sample();
    let put = put(&store, source.path()).await.unwrap();
    assert_eq!(put.size_bytes, 5 + 300_000 + 10 + 100_000);
    let to = dir.path().join("out/here");
    let written =
        materialize(&store, &namespace("a"), put.root, &to, put.size_bytes).await.unwrap();
    assert_eq!(written, put.size_bytes);
    let listing = listing(&to);
    assert_eq!(listing, self::listing(source.path()));
    assert_eq!(listing.len(), 8);
    // The same content has the same name wherever it is.
    assert_eq!(self::put(&store, &to).await.unwrap(), put);
}

#[tokio::test]
async fn a_single_file_is_a_blob() {
    let (dir, store) = new_store().await;
    let path = dir.path().join("file");
    fs::write(&path, "hello").unwrap();
    let put = put(&store, &path).await.unwrap();
    assert_eq!(put, PutPath { root: InputSource::Blob(Digest::of(b"hello")), size_bytes: 5 });
    let copy = dir.path().join("copy");
    materialize(&store, &namespace("a"), put.root, &copy, 5).await.unwrap();
    assert_eq!(fs::read(copy).unwrap(), b"hello");
}

#[tokio::test]
async fn files_are_put_together_and_each_content_once() {
    let (dir, store) = new_store().await;
    let contents = [&b"same"[..], &noise(300_000, 1), b"same", b""];
    let paths: Vec<PathBuf> = (0..4).map(|n| dir.path().join(format!("file-{n}"))).collect();
    for (path, content) in paths.iter().zip(contents) {
        fs::write(path, content).unwrap();
    }
    let put = put_files(&store, &namespace("a"), paths).await.unwrap();
    assert_eq!(put, contents.map(Digest::of));
    assert_eq!(store.find_missing(&namespace("a"), &put).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_before_any_is_put() {
    let (dir, store) = new_store().await;
    let (there, absent) = (dir.path().join("there"), dir.path().join("absent"));
    fs::write(&there, "x").unwrap();
    let error = put_files(&store, &namespace("a"), vec![there, absent]).await.unwrap_err();
    assert!(matches!(&error, PutPathError::Read { path, .. } if path.ends_with("absent")));
    let missing = store.find_missing(&namespace("a"), &[Digest::of(b"x")]).await.unwrap();
    assert_eq!(missing, [Digest::of(b"x")]);
}

#[tokio::test]
async fn an_empty_directory_is_a_tree() {
    let (dir, store) = new_store().await;
    let source = TempDir::new().unwrap();
    let put = put(&store, source.path()).await.unwrap();
    assert_eq!(put, PutPath { root: InputSource::Tree(Digest::of(b"")), size_bytes: 0 });
    let to = dir.path().join("out");
    materialize(&store, &namespace("a"), put.root, &to, 0).await.unwrap();
    assert_eq!(listing(&to), []);
}

#[tokio::test]
async fn symlinks_within_the_directory_become_what_they_point_to() {
    let (dir, store) = new_store().await;
    let source = sample();
    symlink("small", source.path().join("link")).unwrap();
    symlink("../empty", source.path().join("sub/dir link")).unwrap();
    symlink(source.path().join("sub/deeper"), source.path().join("absolute")).unwrap();
    let PutPath { root: InputSource::Tree(root), .. } = put(&store, source.path()).await.unwrap()
    else {
        panic!("a directory is a tree");
    };
    let to = dir.path().join("out");
    write(&store, root, &to).await.unwrap();
    assert_eq!(fs::read(to.join("link")).unwrap(), b"hello");
    assert!(to.join("sub/dir link").is_dir());
    assert!(is_executable(&to.join("absolute/tool")));
    assert!(!to.join("link").is_symlink());
}

#[tokio::test]
async fn symlinks_that_escape_dangle_or_loop_are_refused() {
    let (_dir, store) = new_store().await;
    let outside = sample();
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("sub/link");
    fs::create_dir(dir.path().join("sub")).unwrap();
    let refused = async |target: &Path| {
        symlink(target, &link).unwrap();
        let refused = refusal(put(&store, dir.path()).await);
        fs::remove_file(&link).unwrap();
        refused
    };
    assert!(matches!(refused(&outside.path().join("small")).await, PlanError::Escapes { .. }));
    assert!(matches!(refused(Path::new("../..")).await, PlanError::Escapes { .. }));
    assert!(matches!(refused(Path::new("nowhere")).await, PlanError::Dangling { .. }));
    assert!(matches!(refused(Path::new("..")).await, PlanError::Loop { .. }));
    assert!(matches!(refused(Path::new(".")).await, PlanError::Loop { .. }));
    assert!(matches!(refused(Path::new("link")).await, PlanError::Read { .. }));
}

#[tokio::test]
async fn sockets_strange_names_and_absent_paths_are_refused() {
    let (_dir, store) = new_store().await;
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let refused = refusal(put(&store, dir.path()).await);
    assert!(matches!(refused, PlanError::Unsupported { kind: "a socket", .. }));
    fs::remove_file(socket).unwrap();

    use std::os::unix::ffi::OsStrExt as _;
    let strange = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::write(&strange, "").unwrap();
    assert!(matches!(refusal(put(&store, dir.path()).await), PlanError::NotUtf8 { .. }));

    let absent = dir.path().join("absent");
    assert!(matches!(refusal(put(&store, &absent).await), PlanError::Read { .. }));
}

#[tokio::test]
async fn a_directory_that_is_too_deep_is_refused_on_both_ways() {
    let (dir, store) = new_store().await;
    let source = TempDir::new().unwrap();
    let deepest = (1..MAX_DEPTH).fold(source.path().to_owned(), |path, _| path.join("d"));
    fs::create_dir_all(&deepest).unwrap();
    put(&store, source.path()).await.unwrap();
    fs::create_dir(deepest.join("d")).unwrap();
    assert!(matches!(refusal(put(&store, source.path()).await), PlanError::TooDeep { .. }));

    let mut root = put_tree(&store, Vec::new()).await;
    for _ in 0..MAX_DEPTH {
        let node = Node::Tree(root);
        root =
            put_tree(&store, vec![TreeEntry { name: "d".to_owned(), node, size_bytes: 0 }]).await;
    }
    let to = dir.path().join("out");
    assert!(matches!(write(&store, root, &to).await, Err(MaterializeError::TooDeep)));
    assert!(!to.exists());
}

#[tokio::test]
async fn a_small_tree_that_unfolds_into_millions_of_entries_is_refused() {
    let (dir, store) = new_store().await;
    let mut root = put_tree(&store, Vec::new()).await;
    for _ in 0..20 {
        let entry = |name: char| TreeEntry {
            name: name.to_string(),
            node: Node::Tree(root),
            size_bytes: 0,
        };
        root = put_tree(&store, ('a'..='d').map(entry).collect()).await;
    }
    let to = dir.path().join("out");
    assert!(matches!(write(&store, root, &to).await, Err(MaterializeError::TooManyEntries)));
    assert!(!to.exists());
}

#[tokio::test]
async fn a_tree_with_malicious_names_writes_nothing() {
    let (dir, store) = new_store().await;
    let blob = store.put(&namespace("a"), Bytes::from_static(b"evil")).await.unwrap();
    for names in [&["../evil"][..], &[".."], &["a/b"], &["/evil"], &["a", "a"], &["b", "a"], &[""]]
    {
        use weir_proto::wire;
        let entry = |name: &&str| wire::TreeEntry {
            name: (*name).to_owned(),
            node: Some(wire::tree_entry::Node::Blob(blob.to_wire())),
            size_bytes: 4,
            executable: false,
        };
        let tree = wire::Tree { entries: names.iter().map(entry).collect() };
        let bytes = prost::Message::encode_to_vec(&tree);
        let root = store.put(&namespace("a"), bytes.into()).await.unwrap();
        let to = dir.path().join("out");
        let refused = write(&store, root, &to).await.unwrap_err();
        assert!(matches!(
            refused,
            MaterializeError::NotATree {
                source: TreeError::BadName { .. } | TreeError::Unsorted { .. },
                ..
            }
        ));
        assert!(!to.exists() && !dir.path().join("evil").exists());
    }
}

#[tokio::test]
async fn a_tree_that_lies_about_sizes_is_refused() {
    let (dir, store) = new_store().await;
    let a = namespace("a");
    for size in [1000, 100_000] {
        let digest = store.put(&a, noise(size, 1)).await.unwrap();
        let node = Node::Blob { digest, executable: false };
        for claimed in [1, size as u64 - 1, size as u64 + 1] {
            let entry = TreeEntry { name: "f".to_owned(), node, size_bytes: claimed };
            let root = put_tree(&store, vec![entry]).await;
            let to = dir.path().join(format!("out-{size}-{claimed}"));
            let refused = write(&store, root, &to).await.unwrap_err();
            assert!(
                matches!(
                    refused,
                    MaterializeError::WrongSize { .. }
                        | MaterializeError::Source {
                            source: LocalError::Export(_) | LocalError::Get(_),
                            ..
                        }
                ),
                "{refused:?}"
            );
        }
    }
    let inner = put_tree(&store, Vec::new()).await;
    let entry = TreeEntry { name: "d".to_owned(), node: Node::Tree(inner), size_bytes: 9 };
    let root = put_tree(&store, vec![entry]).await;
    let refused = write(&store, root, &dir.path().join("out")).await.unwrap_err();
    assert!(matches!(refused, MaterializeError::WrongSize { claimed: 9, actual: 0, .. }));
}

#[tokio::test]
async fn a_tree_above_the_callers_bound_writes_nothing() {
    let (dir, store) = new_store().await;
    let put = put(&store, sample().path()).await.unwrap();
    let to = dir.path().join("out");
    let bound = put.size_bytes - 1;
    let refused = materialize(&store, &namespace("a"), put.root, &to, bound).await.unwrap_err();
    assert!(matches!(refused, MaterializeError::TooLarge { max_bytes } if max_bytes == bound));
    assert!(!to.exists());
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten_or_followed() {
    let (dir, store) = new_store().await;
    let put = put(&store, sample().path()).await.unwrap();
    let InputSource::Tree(root) = put.root else { panic!("a directory is a tree") };
    let elsewhere = TempDir::new().unwrap();
    for planted in ["sub", "small", "sub/large"] {
        let to = dir.path().join(planted.replace('/', "-"));
        fs::create_dir_all(to.join(planted).parent().unwrap()).unwrap();
        symlink(elsewhere.path().join("x"), to.join(planted)).unwrap();
        let refused = write(&store, root, &to).await.unwrap_err();
        assert!(matches!(refused, MaterializeError::Exists { .. }), "{refused:?}");
    }
    assert_eq!(listing(elsewhere.path()), []);
}

#[tokio::test]
async fn another_namespaces_tree_is_not_found() {
    let (dir, store) = new_store().await;
    let put = put(&store, sample().path()).await.unwrap();
    let to = dir.path().join("out");
    let refused = materialize(&store, &namespace("b"), put.root, &to, u64::MAX).await.unwrap_err();
    assert!(matches!(
        refused,
        MaterializeError::Source { source: LocalError::Get(GetError::NotFound { .. }), .. }
    ));
}

#[test]
fn random_directories_round_trip() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_dir, store) = runtime.block_on(new_store());
    let file = ("[a-c]{1,2}(/[d-f]{1,2}){0,3}", 0..100_000usize, any::<bool>());
    let files = prop::collection::vec(file, 0..12);
    proptest!(ProptestConfig::with_cases(32), |(files in files)| {
        let source = TempDir::new().unwrap();
        for (seed, (name, size, executable)) in files.iter().enumerate() {
            let path = source.path().join(name);
            // A name that is a file in one path and a directory in another is left out.
            if fs::create_dir_all(path.parent().unwrap()).is_err() || path.is_dir() {
                continue;
            }
            fs::write(&path, noise(*size, seed as u64)).unwrap();
            if *executable {
                make_executable(&path);
            }
        }
        let out = TempDir::new().unwrap();
        let to = out.path().join("out");
        runtime.block_on(async {
            let put = put(&store, source.path()).await.unwrap();
            let bound = put.size_bytes;
            materialize(&store, &namespace("a"), put.root, &to, bound).await.unwrap();
        });
        prop_assert_eq!(listing(&to), listing(source.path()));
    });
}
