//! Files and directories as they are named by trees, read and checked: what a guest sees of its inputs.
//!
//! An image holds names and digests, no bytes: those come from a view of each file, see `view`.
//! `CachedStore::hold` makes one of a blob or tree.

use std::sync::Arc;

use weir_proto::digest::Digest;

/// A file or a directory; a clone shares all that is beneath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A file.
    File(ImageFile),
    /// A directory; equal ones may be one in memory.
    Directory(Arc<ImageDirectory>),
}

/// A file whose bytes are a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFile {
    /// The blob.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// Whether it may be run.
    pub executable: bool,
}

/// What a directory has in it: names, each once, ascending by their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDirectory {
    entries: Vec<(Box<str>, Image)>,
}

impl ImageDirectory {
    /// A directory of these entries, in any order.
    ///
    /// # Panics
    /// When a name comes twice. Names of a tree never do; who composes others sees to it.
    pub fn new(mut entries: Vec<(Box<str>, Image)>) -> ImageDirectory {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in entries.windows(2) {
            assert!(pair[0].0 != pair[1].0, "a directory has {:?} twice", pair[0].0);
        }
        ImageDirectory { entries }
    }

    /// The entries, ascending by the bytes of their names.
    pub fn entries(&self) -> &[(Box<str>, Image)] {
        &self.entries
    }

    /// The entry with a name.
    pub fn get(&self, name: &str) -> Option<&Image> {
        let found = self.entries.binary_search_by(|(entry, _)| (**entry).cmp(name));
        found.ok().map(|index| &self.entries[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> (Box<str>, Image) {
        let digest = Digest::of(name.as_bytes());
        (name.into(), Image::File(ImageFile { digest, size_bytes: 1, executable: false }))
    }

    #[test]
    fn entries_are_found_by_name_and_listed_in_order() {
        let names = ["b", "B", "é", "a.b", "a"];
        let directory = ImageDirectory::new(names.map(entry).to_vec());
        let listed: Vec<&str> = directory.entries().iter().map(|(name, _)| &**name).collect();
        assert_eq!(listed, ["B", "a", "a.b", "b", "é"]);
        for name in names {
            assert_eq!(directory.get(name), Some(&entry(name).1));
        }
        assert_eq!(directory.get("c"), None);
        assert_eq!(ImageDirectory::default().get(""), None);
    }

    #[test]
    #[should_panic(expected = "a directory has \"a\" twice")]
    fn a_name_that_comes_twice_is_a_bug() {
        ImageDirectory::new(["a", "b", "a"].map(entry).to_vec());
    }
}
