//! Paths: from a directory and a text to a node, never out of that directory.

use super::{
    FileSystem,
    error::{FsResult, Refusal},
    node::{Kind, NodeId},
};

/// Longest name, in bytes, as the store's trees have it.
const MAX_NAME_BYTES: usize = 255;

/// Longest path, in bytes: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// How much of a link's text takes as long to read as a step.
const LINK_BYTES_PER_STEP: u64 = 8;

/// Most symbolic links on one way: Linux' own bound.
const MAX_LINKS: u32 = 40;

/// What is done with a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLink {
    /// It is followed.
    Follow,
    /// It is followed only where a `/` behind it asks for a directory.
    Keep,
    /// It stays, whatever is behind it: a name is made, removed or moved, and the link has it.
    Name,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory of the last name.
    pub(super) dir: NodeId,
    /// The last name; none when the path ends at a directory without naming it, by `.` or `..`.
    pub(super) name: Option<Box<str>>,
    /// What is there.
    pub(super) node: Option<NodeId>,
    /// Whether the path ends by `/`, so that only a directory will do.
    pub(super) needs_directory: bool,
}

impl From<bool> for LastLink {
    /// From whether it is to be followed.
    fn from(follow: bool) -> LastLink {
        if follow { LastLink::Follow } else { LastLink::Keep }
    }
}

impl Place {
    /// What is there.
    ///
    /// # Errors
    /// `NoEntry`, or `NotDirectory` where the path asks for one.
    pub(super) fn found(&self, fs: &FileSystem) -> FsResult<NodeId> {
        let node = self.node.ok_or(Refusal::NoEntry)?;
        if self.needs_directory && fs.nodes.directory(node).is_none() {
            return Err(Refusal::NotDirectory.into());
        }
        Ok(node)
    }

    /// The last name, where one is needed.
    pub(super) fn name(&self, unnamed: Refusal) -> FsResult<&str> {
        self.name.as_deref().ok_or_else(|| unnamed.into())
    }
}

impl FileSystem {
    /// Follows a path from a directory.
    ///
    /// # Errors
    /// `NoEntry`, `NotDirectory` on the way; `NotPermitted` when it leads above `from`; `Loop`,
    /// `NameTooLong`, `Invalid` for a path that none can be.
    pub(super) fn resolve(
        &mut self,
        from: NodeId,
        path: &str,
        last_link: LastLink,
    ) -> FsResult<Place> {
        self.resolve_within(from, from, path, last_link)
    }

    /// As `resolve`, but the way may lead above `from`, though not above `top`.
    pub(super) fn resolve_within(
        &mut self,
        top: NodeId,
        from: NodeId,
        path: &str,
        last_link: LastLink,
    ) -> FsResult<Place> {
        check(path)?;
        if self.nodes.directory(from).is_none() {
            return Err(Refusal::NotDirectory.into());
        }
        let mut needs_directory = path.ends_with('/');
        // What is left of the way, the next name last.
        let mut way: Vec<Box<str>> = Vec::new();
        push(&mut way, path);
        let mut links = 0;
        let mut at = Place { dir: from, name: None, node: Some(from), needs_directory };
        while let Some(name) = way.pop() {
            let dir = at.node.ok_or(Refusal::NoEntry)?;
            let Some(directory) = self.nodes.directory(dir) else {
                return Err(Refusal::NotDirectory.into());
            };
            self.steps += 1;
            if &*name == "." {
                at = Place { dir, name: None, node: Some(dir), needs_directory };
                continue;
            }
            if &*name == ".." {
                if dir == top {
                    return Err(Refusal::NotPermitted.into());
                }
                let parent = directory.parent;
                at = Place { dir: parent, name: None, node: Some(parent), needs_directory };
                continue;
            }
            if name.len() > MAX_NAME_BYTES {
                return Err(Refusal::NameTooLong.into());
            }
            let node = self.nodes.entry(dir, &name);
            let last = way.is_empty();
            let follows = match last_link {
                LastLink::Follow => true,
                LastLink::Keep => !last || needs_directory,
                LastLink::Name => !last,
            };
            if let Some(target) = node.and_then(|node| self.link_target(node))
                && follows
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Refusal::Loop.into());
                }
                check(target)?;
                let read = target.len() as u64 / LINK_BYTES_PER_STEP;
                needs_directory |= last && target.ends_with('/');
                push(&mut way, target);
                self.steps += read;
                at = Place { dir, name: None, node: Some(dir), needs_directory };
                continue;
            }
            at = Place { dir, name: Some(name), node, needs_directory };
        }
        Ok(at)
    }

    pub(super) fn link_target(&self, node: NodeId) -> Option<&str> {
        match &self.nodes.get(node).kind {
            Kind::Link(target) => Some(target),
            Kind::Input(..) | Kind::File(_) | Kind::Directory(_) => None,
        }
    }
}

/// # Errors
/// What no path can be.
fn check(path: &str) -> FsResult<()> {
    if path.is_empty() {
        return Err(Refusal::NoEntry.into());
    }
    if path.starts_with('/') {
        return Err(Refusal::NotPermitted.into());
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(Refusal::NameTooLong.into());
    }
    if path.contains('\0') {
        return Err(Refusal::Invalid.into());
    }
    Ok(())
}

/// Puts a path's names before what is left of the way. A `.` at its end stays: what is before it
/// must be a directory, and has no name there.
fn push(way: &mut Vec<Box<str>>, path: &str) {
    let names = path.split('/').rev().filter(|name| !name.is_empty());
    let names = names.enumerate().filter(|(from_end, name)| *from_end == 0 || *name != ".");
    way.extend(names.map(|(_, name)| Box::from(name)));
}
