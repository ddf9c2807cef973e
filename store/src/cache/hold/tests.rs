//! Holding blobs and trees over a real loopback connection to a service that counts.

use std::fs;

use bytes::Bytes;

use super::*;
use crate::{
    blobs::MAX_BLOB_BYTES,
    cache::tests::{Fixture, new_cache},
    directory::{MAX_DEPTH, put_path},
    testing::{namespace, noise},
    tree::{Tree, TreeEntry},
};

fn entry(name: &str, node: Node, size_bytes: u64) -> TreeEntry {
    TreeEntry { name: name.to_owned(), node, size_bytes }
}

fn file(digest: Digest) -> Node {
    Node::Blob { digest, executable: false }
}

impl Fixture {
    async fn put(&self, blob: Bytes) -> Digest {
        self.behind.put(&namespace("a"), blob).await.unwrap()
    }

    async fn put_tree(&self, entries: Vec<TreeEntry>) -> InputSource {
        InputSource::Tree(self.put(Tree::new(entries).unwrap().encode()).await)
    }

    /// Spawned, as an agent does it: the future can move between threads.
    async fn hold(&self, source: InputSource) -> Result<Image, HoldError> {
        let cache = self.cache.clone();
        let held = async move { cache.hold(&namespace("a"), source, MAX_BLOB_BYTES).await };
        tokio::spawn(held).await.unwrap()
    }

    fn read(&self, digest: Digest) -> Vec<u8> {
        let view = self.cache.open_view_blocking(&namespace("a"), digest).unwrap();
        let mut bytes = vec![0; view.len() as usize];
        assert_eq!(view.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    }

    /// Where a large blob's copy is.
    fn copy(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir.path().join("blobs").join(&hex[..2]).join(&hex)
    }

    /// The same disk and store, seen by a new process.
    fn restart(&mut self) {
        let CachedStore { local, remote, .. } = self.cache.clone();
        self.cache = CachedStore::new(local, remote);
    }
}

fn directory_of(image: Image) -> Arc<ImageDirectory> {
    match image {
        Image::Directory(directory) => directory,
        Image::File(file) => panic!("{file:?} is a file"),
    }
}

#[tokio::test]
async fn a_held_tree_is_here_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let it = new_cache().await;
    let source = it.dir.path().join("source");
    for sub in ["one", "two"] {
        fs::create_dir_all(source.join(sub).join("empty")).unwrap();
        fs::write(source.join(sub).join("small"), "hello").unwrap();
        fs::write(source.join(sub).join("large"), noise(3 << 20, 1)).unwrap();
    }
    fs::write(source.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(source.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let put = put_path(&it.behind, &namespace("a"), &source).await.unwrap();

    let root = directory_of(it.hold(put.root).await.unwrap());
    let gets = it.gets();
    let names: Vec<&str> = root.entries().iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["one", "tool", "two"]);
    let digest = Digest::of(b"#!/bin/sh\n");
    let tool = ImageFile { digest, size_bytes: 10, executable: true };
    assert_eq!(root.get("tool"), Some(&Image::File(tool)));
    let [one, two] = ["one", "two"].map(|name| directory_of(root.get(name).unwrap().clone()));
    assert!(Arc::ptr_eq(&one, &two), "equal directories are one in memory");
    assert_eq!(one.get("empty"), Some(&Image::Directory(Arc::default())));
    for (name, bytes) in [("small", Bytes::from("hello")), ("large", noise(3 << 20, 1))] {
        let Some(Image::File(file)) = one.get(name) else { panic!("{name} is a file") };
        let size_bytes = bytes.len() as u64;
        assert_eq!(*file, ImageFile { digest: Digest::of(&bytes), size_bytes, executable: false });
        assert_eq!(it.read(file.digest), bytes);
    }
    assert_eq!(it.hold(put.root).await.unwrap(), Image::Directory(root));
    assert_eq!(it.gets(), gets, "the second time all is here");
}

#[tokio::test]
async fn a_held_blob_is_a_file() {
    let it = new_cache().await;
    for size in [0, 1000, 1 << 20] {
        let bytes = noise(size, 1);
        let (digest, size_bytes) = (it.put(bytes.clone()).await, size as u64);
        let held = it.hold(InputSource::Blob(digest)).await.unwrap();
        assert_eq!(held, Image::File(ImageFile { digest, size_bytes, executable: false }));
        assert_eq!(it.read(digest), bytes);
    }
}

#[tokio::test]
async fn a_corrupt_large_copy_is_repaired_by_the_first_hold() {
    let mut it = new_cache().await;
    let bytes = noise(1 << 20, 1);
    let digest = it.put(bytes.clone()).await;
    let tree = it.put_tree(vec![entry("f", file(digest), 1 << 20)]).await;
    it.hold(tree).await.unwrap();
    for source in [tree, InputSource::Blob(digest)] {
        fs::write(it.copy(digest), noise(1 << 20, 2)).unwrap();
        it.restart();
        let gets = it.gets();
        it.hold(source).await.unwrap();
        assert_eq!((it.gets(), it.read(digest)), (gets + 1, bytes.to_vec()));
    }
}

#[tokio::test]
async fn a_copy_is_hashed_once_in_a_process() {
    let it = new_cache().await;
    let digest = it.put(noise(1 << 20, 1)).await;
    it.hold(InputSource::Blob(digest)).await.unwrap();
    // Nobody looks again, so nobody sees the change: that is how the test sees who looks.
    fs::write(it.copy(digest), noise(1 << 20, 2)).unwrap();
    it.hold(InputSource::Blob(digest)).await.unwrap();
    assert_eq!((it.gets(), it.read(digest)), (1, noise(1 << 20, 2).to_vec()));
}

#[tokio::test]
async fn a_copy_found_corrupt_when_opened_is_repaired_by_the_next_hold() {
    let it = new_cache().await;
    let digest = it.put(noise(1 << 20, 1)).await;
    it.hold(InputSource::Blob(digest)).await.unwrap();
    fs::remove_file(it.copy(digest)).unwrap();
    let failed = it.cache.open_view_blocking(&namespace("a"), digest).unwrap_err();
    assert!(
        matches!(failed, FetchError::Local(error) if matches!(*error, GetError::Corrupt { .. }))
    );
    it.hold(InputSource::Blob(digest)).await.unwrap();
    assert_eq!(it.read(digest), noise(1 << 20, 1));
}

#[tokio::test]
async fn another_namespaces_blobs_are_not_found() {
    let it = new_cache().await;
    let b = namespace("b");
    for size in [1000, 1 << 20] {
        let digest = it.put(noise(size, 1)).await;
        let tree = it.put_tree(vec![entry("f", file(digest), size as u64)]).await;
        it.hold(tree).await.unwrap();
        // The tree itself is theirs, what it names is not.
        let encoded = it.behind.get(&namespace("a"), tree.digest()).await.unwrap();
        it.behind.put(&b, encoded).await.unwrap();
        for source in [tree, InputSource::Blob(digest)] {
            let refused = it.cache.hold(&b, source, MAX_BLOB_BYTES).await.unwrap_err();
            assert!(matches!(refused, HoldError::Fetch { source: FetchError::Remote(error), .. }
                if matches!(*error, RemoteError::NotFound { .. })));
        }
        let refused = it.cache.open_view_blocking(&b, digest).unwrap_err();
        assert!(matches!(refused, FetchError::Local(error)
            if matches!(*error, GetError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_tree_that_lies_about_sizes_is_refused() {
    let it = new_cache().await;
    for size in [1000, 100_000] {
        let digest = it.put(noise(size, 1)).await;
        let size = size as u64;
        for here_already in [false, true] {
            for claimed in [1, size - 1, size + 1] {
                let tree = it.put_tree(vec![entry("f", file(digest), claimed)]).await;
                if here_already {
                    it.cache.fetch(&namespace("a"), digest).await.unwrap();
                }
                match it.hold(tree).await.unwrap_err() {
                    HoldError::WrongSize { path, claimed: told, actual } => {
                        assert_eq!((path, told, actual), (PathBuf::from("f"), claimed, size));
                    }
                    HoldError::LargerThanClaimed { claimed: told, .. } => {
                        assert_eq!((told, here_already), (claimed, false));
                        assert!(claimed > SMALL_BLOB_BYTES && claimed < size);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    let inner = it.put_tree(Vec::new()).await.digest();
    let tree = it.put_tree(vec![entry("d", Node::Tree(inner), 9)]).await;
    let refused = it.hold(tree).await.unwrap_err();
    assert!(matches!(refused, HoldError::WrongSize { claimed: 9, actual: 0, .. }));
}

#[tokio::test]
async fn large_blobs_that_a_tree_claims_to_be_small_are_refused_and_the_first_is_named() {
    let it = new_cache().await;
    let mut entries = Vec::new();
    for seed in 0..8 {
        let digest = it.put(noise(1 << 20, seed)).await;
        entries.push(entry(&format!("f{seed}"), file(digest), 10));
    }
    let refused = it.hold(it.put_tree(entries).await).await.unwrap_err();
    assert!(
        matches!(&refused, HoldError::LargerThanClaimed { path, claimed: 10 } if path == Path::new("f0")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_that_the_store_lacks_is_named() {
    let it = new_cache().await;
    let there = it.put(noise(1000, 1)).await;
    let inner =
        vec![entry("gone", file(Digest::of(b"gone")), 4), entry("there", file(there), 1000)];
    let inner = it.put_tree(inner).await.digest();
    let entries = vec![entry("a", file(there), 1000), entry("d", Node::Tree(inner), 1004)];
    let refused = it.hold(it.put_tree(entries).await).await.unwrap_err();
    assert!(matches!(&refused, HoldError::Fetch { path, .. } if path == Path::new("d/gone")));
    assert_eq!(refused.to_string(), "cannot fetch d/gone");
}

#[tokio::test]
async fn what_is_above_the_callers_bound_is_refused() {
    let it = new_cache().await;
    let digest = it.put(noise(100_000, 1)).await;
    let tree = it.put_tree(vec![entry("f", file(digest), 100_000)]).await;
    let a = namespace("a");
    let refused = it.cache.hold(&a, tree, 99_999).await.unwrap_err();
    assert!(matches!(refused, HoldError::TooLarge { max_bytes: 99_999 }));
    for _fetched in [false, true] {
        let refused = it.cache.hold(&a, InputSource::Blob(digest), 99_999).await.unwrap_err();
        assert!(matches!(refused, HoldError::TooLarge { max_bytes: 99_999 }));
        it.cache.hold(&a, tree, 100_000).await.unwrap();
    }
}

#[tokio::test]
async fn trees_that_are_no_trees_too_deep_or_unfold_too_far_are_refused() {
    let it = new_cache().await;
    let blob = it.put(Bytes::from_static(b"no tree")).await;
    let refused = it.hold(InputSource::Tree(blob)).await.unwrap_err();
    assert!(matches!(&refused, HoldError::NotATree { digest, .. } if *digest == blob));
    assert!(refused.to_string().ends_with("which belongs at ., is not a tree"));

    let (mut deep, mut wide) = (it.put_tree(Vec::new()).await, it.put_tree(Vec::new()).await);
    for _ in 1..MAX_DEPTH {
        deep = it.put_tree(vec![entry("d", Node::Tree(deep.digest()), 0)]).await;
    }
    it.hold(deep).await.unwrap();
    deep = it.put_tree(vec![entry("d", Node::Tree(deep.digest()), 0)]).await;
    assert!(matches!(it.hold(deep).await, Err(HoldError::TooDeep)));
    for _ in 0..20 {
        let names = ["a", "b", "c", "d"];
        wide =
            it.put_tree(names.map(|name| entry(name, Node::Tree(wide.digest()), 0)).into()).await;
    }
    assert!(matches!(it.hold(wide).await, Err(HoldError::TooManyEntries)));
}
