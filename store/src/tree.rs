//! Trees: immutable directories, each a blob that names its entries by digest.
//!
//! Parsed once, a tree is safe to walk: no name in it can leave its directory. `directory` turns
//! host directories into trees and back.

use bytes::Bytes;
use prost::Message as _;
use weir_proto::{digest::Digest, wire};

/// Most entries of one tree.
pub const MAX_TREE_ENTRIES: usize = 100_000;
/// Longest name of an entry, in bytes: what file systems take.
pub const MAX_NAME_BYTES: usize = 255;
/// Largest encoding of a tree, in bytes: all entries with the longest names.
pub const MAX_TREE_BYTES: usize = 32 << 20;

/// An immutable directory.
///
/// Its entries ascend strictly by name, every name is one plain path component, and the sizes add
/// up to at most `u64::MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<TreeEntry>,
    size_bytes: u64,
}

/// A name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// One path component: not empty, `.` or `..`, without `/` and NUL, at most `MAX_NAME_BYTES`.
    pub name: String,
    /// What it names.
    pub node: Node,
    /// Bytes of the blob, or of everything beneath the tree, as its maker claims.
    pub size_bytes: u64,
}

/// What an entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A file.
    Blob {
        /// Its bytes.
        digest: Digest,
        /// Whether it may be run.
        executable: bool,
    },
    /// A directory.
    Tree(Digest),
}

/// Why entries or bytes are not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The encoding is above the bound.
    #[error("the tree has {bytes} encoded bytes; at most {MAX_TREE_BYTES} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// It has more entries than the bound.
    #[error("the tree has {entries} entries; at most {MAX_TREE_ENTRIES} are allowed")]
    TooManyEntries {
        /// How many.
        entries: usize,
    },
    /// The bytes are not protobuf.
    #[error("the tree does not decode")]
    Undecodable {
        /// What prost says.
        source: prost::DecodeError,
    },
    /// The bytes are not what this binary would write for the same tree.
    #[error("the tree is not in its one canonical encoding")]
    NotCanonical,
    /// A name that is no plain path component.
    #[error("the tree has an entry named {name:?}, which is not one plain path component")]
    BadName {
        /// The name.
        name: String,
    },
    /// Two entries out of order, or with one name.
    #[error("the tree has {name:?} after {previous:?}; names must ascend and be unique")]
    Unsorted {
        /// The earlier entry.
        previous: String,
        /// The later one.
        name: String,
    },
    /// An entry names nothing, or something with an impossible digest.
    #[error("the tree's entry {name:?} names neither a blob nor a tree")]
    NoNode {
        /// The entry.
        name: String,
    },
    /// A directory is marked as executable.
    #[error("the tree's entry {name:?} is a directory and marked executable")]
    ExecutableTree {
        /// The entry.
        name: String,
    },
    /// The sizes add up to more than 64 bits hold.
    #[error("the sizes of the tree's entries overflow")]
    SizeOverflow,
}

impl Tree {
    /// A tree of these entries, in any order.
    ///
    /// # Errors
    /// `TooManyEntries`, `BadName`, `Unsorted` for a name that comes twice, `SizeOverflow`.
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Tree, TreeError> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Tree::checked(entries)
    }

    fn checked(entries: Vec<TreeEntry>) -> Result<Tree, TreeError> {
        if entries.len() > MAX_TREE_ENTRIES {
            return Err(TreeError::TooManyEntries { entries: entries.len() });
        }
        let mut size_bytes = 0u64;
        let mut previous: Option<&TreeEntry> = None;
        for entry in &entries {
            if !is_plain(&entry.name) {
                return Err(TreeError::BadName { name: entry.name.clone() });
            }
            if let Some(previous) = previous
                && previous.name >= entry.name
            {
                let (previous, name) = (previous.name.clone(), entry.name.clone());
                return Err(TreeError::Unsorted { previous, name });
            }
            size_bytes = size_bytes.checked_add(entry.size_bytes).ok_or(TreeError::SizeOverflow)?;
            previous = Some(entry);
        }
        Ok(Tree { entries, size_bytes })
    }

    /// The entries, ascending by name.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The entry with a name.
    pub fn get(&self, name: &str) -> Option<&TreeEntry> {
        let found = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name));
        found.ok().map(|index| &self.entries[index])
    }

    /// Bytes of everything beneath, as the entries claim.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes whose digest names the tree.
    pub fn encode(&self) -> Bytes {
        wire::Tree::from(self.clone()).encode_to_vec().into()
    }

    /// The tree's name.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Reads the bytes of a tree; nothing is allocated for bytes above the bound.
    ///
    /// # Errors
    /// What is wrong with them; `NotCanonical` for another encoding of a valid tree, so that one
    /// directory has one digest.
    pub fn decode(bytes: &[u8]) -> Result<Tree, TreeError> {
        if bytes.len() > MAX_TREE_BYTES {
            return Err(TreeError::TooLarge { bytes: bytes.len() });
        }
        let wire = wire::Tree::decode(bytes).map_err(|source| TreeError::Undecodable { source })?;
        let tree = Tree::try_from(wire)?;
        if tree.encode() != bytes {
            return Err(TreeError::NotCanonical);
        }
        Ok(tree)
    }
}

/// Whether a name stays in its directory whatever it is joined to.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains(['/', '\0'])
}

impl From<Tree> for wire::Tree {
    fn from(tree: Tree) -> wire::Tree {
        let entry = |entry: TreeEntry| {
            let (node, executable) = match entry.node {
                Node::Blob { digest, executable } => {
                    (wire::tree_entry::Node::Blob(digest.to_wire()), executable)
                }
                Node::Tree(digest) => (wire::tree_entry::Node::Tree(digest.to_wire()), false),
            };
            let (name, size_bytes) = (entry.name, entry.size_bytes);
            wire::TreeEntry { name, node: Some(node), size_bytes, executable }
        };
        wire::Tree { entries: tree.entries.into_iter().map(entry).collect() }
    }
}

impl TryFrom<wire::Tree> for Tree {
    type Error = TreeError;

    /// Reads a tree; its entries must be sorted already.
    fn try_from(wire: wire::Tree) -> Result<Tree, TreeError> {
        let entries = wire.entries.into_iter().map(TreeEntry::try_from);
        Tree::checked(entries.collect::<Result<_, _>>()?)
    }
}

impl TryFrom<wire::TreeEntry> for TreeEntry {
    type Error = TreeError;

    fn try_from(wire: wire::TreeEntry) -> Result<TreeEntry, TreeError> {
        let wire::TreeEntry { name, node, size_bytes, executable } = wire;
        let digest = |bytes: &[u8]| Digest::try_from(bytes).ok();
        let node = match &node {
            Some(wire::tree_entry::Node::Blob(bytes)) => {
                digest(bytes).map(|digest| Node::Blob { digest, executable })
            }
            Some(wire::tree_entry::Node::Tree(_)) if executable => {
                return Err(TreeError::ExecutableTree { name });
            }
            Some(wire::tree_entry::Node::Tree(bytes)) => digest(bytes).map(Node::Tree),
            None => None,
        };
        let Some(node) = node else { return Err(TreeError::NoNode { name }) };
        Ok(TreeEntry { name, node, size_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str) -> TreeEntry {
        let node = Node::Blob { digest: Digest::of(name.as_bytes()), executable: false };
        TreeEntry { name: name.to_owned(), node, size_bytes: 1 }
    }

    fn encoded(names: &[&str]) -> Vec<u8> {
        let entries = names.iter().map(|name| file(name)).collect();
        wire::Tree::from(Tree { entries, size_bytes: 0 }).encode_to_vec()
    }

    #[test]
    fn a_tree_reads_back_as_it_was_made() {
        let sub =
            TreeEntry { name: "sub".to_owned(), node: Node::Tree(Digest::of(b"")), size_bytes: 0 };
        let tree = Tree::new(vec![sub, file("b"), file("a")]).unwrap();
        assert_eq!(Tree::decode(&tree.encode()), Ok(tree.clone()));
        assert_eq!(tree.digest(), Digest::of(&tree.encode()));
        assert_eq!(tree.size_bytes(), 2);
        assert_eq!(tree.get("sub").unwrap().node, Node::Tree(Digest::of(b"")));
        assert_eq!(tree.get("c"), None);
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", ".", "..", "a/b", "/", "../x", "nul\0", &long] {
            let refused = Tree::decode(&encoded(&[name]));
            assert_eq!(refused, Err(TreeError::BadName { name: name.to_owned() }));
            assert!(Tree::new(vec![file(name)]).is_err());
        }
    }

    #[test]
    fn names_out_of_order_or_twice_are_refused() {
        assert!(matches!(Tree::decode(&encoded(&["b", "a"])), Err(TreeError::Unsorted { .. })));
        assert!(matches!(Tree::decode(&encoded(&["a", "a"])), Err(TreeError::Unsorted { .. })));
        assert!(matches!(Tree::new(vec![file("a"), file("a")]), Err(TreeError::Unsorted { .. })));
    }

    #[test]
    fn entries_that_name_nothing_are_refused() {
        let entry = |node| wire::TreeEntry { name: "a".to_owned(), node, ..Default::default() };
        let short = entry(Some(wire::tree_entry::Node::Blob(vec![1; 31])));
        for entry in [entry(None), short] {
            let tree = wire::Tree { entries: vec![entry] };
            assert!(matches!(Tree::try_from(tree), Err(TreeError::NoNode { .. })));
        }
        let mut directory = entry(Some(wire::tree_entry::Node::Tree(vec![1; 32])));
        directory.executable = true;
        let tree = wire::Tree { entries: vec![directory] };
        assert!(matches!(Tree::try_from(tree), Err(TreeError::ExecutableTree { .. })));
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let huge = |name| TreeEntry { size_bytes: u64::MAX, ..file(name) };
        assert_eq!(Tree::new(vec![huge("a"), huge("b")]), Err(TreeError::SizeOverflow));
    }

    #[test]
    fn another_encoding_of_the_same_tree_is_refused() {
        let mut bytes = encoded(&["a"]);
        // An unknown field 15, a varint.
        bytes.extend([15 << 3, 1]);
        assert_eq!(Tree::decode(&bytes), Err(TreeError::NotCanonical));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tree::decode(&bytes);
        }

        #[test]
        fn random_trees_round_trip(names in prop::collection::btree_set("[a-zA-Z0-9 ._-]{1,20}", 0..40)) {
            let plain = names.iter().filter(|name| is_plain(name));
            let tree = Tree::new(plain.map(|name| file(name)).collect()).unwrap();
            prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
        }
    }
}
