//! Which directories hold the inputs of a stage, and where the guest sees them.
//!
//! A guest sees directories, so inputs are put together by the first part of their paths: `/in/a` and
//! `/in/b/c` are beneath one directory that it sees as `/in`. A directory with an input that tasks
//! may change is made anew for each task; the others are made once and shared. Pure; `prepare` and
//! `attempt` do what is said here.

use std::path::{Path, PathBuf};

use weir_proto::job::{Input, InputSource};

/// A directory to be made, and seen by guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Where guests see it.
    pub(super) guest: String,
    /// Whether each task has one of its own, which it may change.
    pub(super) writable: bool,
    /// What is in it.
    pub(super) inputs: Vec<Input>,
}

/// Puts inputs together that are beneath one directory, in the order of their paths.
pub(super) fn groups(inputs: &[Input]) -> Vec<Group> {
    let at_root = inputs.iter().any(|input| mount_point(input) == "/");
    let mut groups: Vec<Group> = Vec::new();
    for input in inputs {
        let guest = if at_root { "/" } else { mount_point(input) };
        match groups.iter_mut().find(|group| group.guest == guest) {
            Some(group) => {
                group.writable |= input.writable;
                group.inputs.push(input.clone());
            }
            None => groups.push(Group {
                guest: guest.to_owned(),
                writable: input.writable,
                inputs: vec![input.clone()],
            }),
        }
    }
    groups.sort_by(|a, b| a.guest.cmp(&b.guest));
    groups
}

impl Group {
    /// Where an input of the group belongs, in the directory that is the group's.
    pub(super) fn place(&self, dir: &Path, input: &Input) -> PathBuf {
        // The spec was checked where it came in: absolute, no `..`, and nothing overlaps.
        let beneath = input.path.strip_prefix(&self.guest).unwrap_or(&input.path);
        match beneath.trim_start_matches('/') {
            "" => dir.to_owned(),
            beneath => dir.join(beneath),
        }
    }
}

/// The directory through which a guest sees an input: the first part of its path, unless that is a
/// file, which is seen through `/`.
fn mount_point(input: &Input) -> &str {
    let path = &input.path[..];
    let end = path[1..].find('/').map_or(path.len(), |at| at + 1);
    match input.source {
        InputSource::Blob(_) if end == path.len() => "/",
        InputSource::Blob(_) | InputSource::Tree(_) => &path[..end],
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::digest::Digest;

    use super::*;

    fn file(path: &str, writable: bool) -> Input {
        let source = InputSource::Blob(Digest::of(b"x"));
        Input { path: path.to_owned(), source, writable }
    }

    fn tree(path: &str) -> Input {
        let source = InputSource::Tree(Digest::of(b"x"));
        Input { path: path.to_owned(), source, writable: false }
    }

    fn mounts(inputs: &[Input]) -> Vec<(String, bool, usize)> {
        let groups = groups(inputs).into_iter();
        groups.map(|group| (group.guest, group.writable, group.inputs.len())).collect()
    }

    #[test]
    fn inputs_beneath_one_directory_are_one_group() {
        let inputs = [file("/in/a", false), file("/data/db", true), tree("/in/b/c"), tree("/lib")];
        let expected = [
            ("/data".to_owned(), true, 1),
            ("/in".to_owned(), false, 2),
            ("/lib".to_owned(), false, 1),
        ];
        assert_eq!(mounts(&inputs), expected);
    }

    #[test]
    fn a_file_at_the_root_makes_the_root_one_group() {
        assert_eq!(
            mounts(&[file("/a", false), file("/in/b", false)]),
            [("/".to_owned(), false, 2)]
        );
        assert_eq!(mounts(&[tree("/")]), [("/".to_owned(), false, 1)]);
    }

    #[test]
    fn an_input_has_its_place_in_its_groups_directory() {
        let dir = Path::new("/scratch/1");
        let place = |input: Input| groups(std::slice::from_ref(&input))[0].place(dir, &input);
        assert_eq!(place(file("/in/b/c", false)), Path::new("/scratch/1/b/c"));
        assert_eq!(place(tree("/lib")), dir);
        assert_eq!(place(tree("/")), dir);
        assert_eq!(place(file("/a", false)), Path::new("/scratch/1/a"));
    }
}
