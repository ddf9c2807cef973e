//! A file system as simply as one can be written: absolute paths to numbers, numbers to nodes.

mod op;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use self::op::{Op, Value, op};
use super::super::{FileType, OpenOptions, Refusal, resolve::LastLink};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Is {
    File(Vec<u8>),
    Directory,
    Link(String),
}

#[derive(Debug)]
struct Node {
    is: Is,
    /// The area that it was made in, as a path.
    area: &'static str,
}

#[derive(Debug)]
pub(crate) struct Model {
    paths: BTreeMap<String, usize>,
    nodes: Vec<Node>,
    /// Open nodes; closed ones are absent.
    handles: Vec<Option<usize>>,
}

/// Where a path ends, with or without a name there.
struct Place {
    path: String,
    named: bool,
    needs_directory: bool,
}

pub(crate) type Answer<T> = Result<T, Refusal>;

fn area(path: &str) -> &'static str {
    ["/tmp", "/out"].into_iter().find(|area| path.starts_with(area)).unwrap_or("")
}

fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap_or(0)]
}

impl Model {
    /// With an input at `/in/f`, and others.
    pub(crate) fn new(input: &[u8], others: &[(&str, &[u8])]) -> Model {
        let mut model = Model { paths: BTreeMap::new(), nodes: Vec::new(), handles: Vec::new() };
        for dir in ["", "/in", "/out", "/tmp"] {
            model.add(dir, Is::Directory);
        }
        model.add("/in/f", Is::File(input.to_vec()));
        for (path, bytes) in others {
            model.add(path, Is::File(bytes.to_vec()));
        }
        model
    }

    /// Whether an open handle is one of a directory.
    pub(crate) fn is_directory(&self, handle: usize) -> Option<bool> {
        Some(self.nodes[self.handle(handle)?].is == Is::Directory)
    }

    fn add(&mut self, path: &str, is: Is) -> usize {
        self.nodes.push(Node { is, area: area(path) });
        self.paths.insert(path.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn at(&self, path: &str) -> Option<&Is> {
        self.paths.get(path).map(|id| &self.nodes[*id].is)
    }

    fn links(&self, id: usize) -> usize {
        self.paths.values().filter(|other| **other == id).count()
    }

    fn is_live(&self, id: usize) -> bool {
        self.links(id) > 0 || self.handles.contains(&Some(id))
    }

    /// Bytes of all that is left of what was made in an area.
    pub(super) fn bytes(&self, area: &str) -> u64 {
        let size = |id: usize| match &self.nodes[id].is {
            Is::File(bytes) => bytes.len() as u64,
            Is::Link(target) => target.len() as u64,
            Is::Directory => 0,
        };
        let live = (0..self.nodes.len()).filter(|id| self.is_live(*id));
        live.filter(|id| self.nodes[*id].area == area).map(size).sum()
    }

    /// How many names and nameless nodes were made and are left, without the five of the start.
    pub(super) fn made(&self) -> u32 {
        let live = (5..self.nodes.len()).filter(|id| self.is_live(*id));
        live.map(|id| self.links(id).max(1) as u32).sum()
    }

    pub(super) fn files(&self) -> Vec<(usize, String)> {
        let is_file = |id: usize| matches!(self.nodes[id].is, Is::File(_));
        let paths = self.paths.iter().filter(|(_, id)| is_file(**id));
        paths.map(|(path, id)| (*id, path.clone())).collect()
    }

    pub(super) fn file(&self, id: usize) -> Vec<u8> {
        match &self.nodes[id].is {
            Is::File(bytes) => bytes.clone(),
            other => panic!("{other:?} is no file"),
        }
    }

    pub(super) fn removing_everything(&self, handles: usize) -> Vec<Op> {
        let made = self.paths.iter().rev().filter(|(path, _)| path.matches('/').count() > 1);
        let made = made.filter(|(path, _)| !path.starts_with("/in"));
        let remove = made.map(|(path, id)| match self.nodes[*id].is {
            Is::Directory => Op::RemoveDirectory(path[1..].to_owned()),
            _ => Op::Unlink(path[1..].to_owned()),
        });
        (0..handles).map(Op::Close).chain(remove).collect()
    }

    fn handle(&self, handle: usize) -> Option<usize> {
        *self.handles.get(handle)?
    }

    fn walk(&self, path: &str, last_link: LastLink) -> Answer<Place> {
        self.walk_from("", path, last_link)
    }

    fn walk_from(&self, from: &str, path: &str, last_link: LastLink) -> Answer<Place> {
        let mut needs_directory = path.ends_with('/');
        let (mut cur, mut named, mut links) = (from.to_owned(), false, 0);
        let mut way: VecDeque<String> = path.split('/').map(String::from).collect();
        while let Some(name) = way.pop_front() {
            let last = way.iter().all(|name| name.is_empty());
            match self.at(&cur) {
                _ if name.is_empty() => continue,
                None => return Err(Refusal::NoEntry),
                Some(Is::Directory) => {}
                Some(_) => return Err(Refusal::NotDirectory),
            }
            match &*name {
                "." => named = false,
                ".." if cur == from => return Err(Refusal::NotPermitted),
                ".." => (cur, named) = (parent(&cur).to_owned(), false),
                name => {
                    let next = format!("{cur}/{name}");
                    match self.at(&next) {
                        Some(Is::Link(target))
                            if !last
                                || last_link == LastLink::Follow
                                || (last_link == LastLink::Keep && needs_directory) =>
                        {
                            links += 1;
                            if links > 40 {
                                return Err(Refusal::Loop);
                            }
                            needs_directory |= last && target.ends_with('/');
                            for name in target.split('/').rev() {
                                way.push_front(name.to_owned());
                            }
                        }
                        _ => (cur, named) = (next, true),
                    }
                }
            }
        }
        Ok(Place { path: cur, named, needs_directory })
    }

    fn found(&self, place: &Place) -> Answer<usize> {
        let id = *self.paths.get(&place.path).ok_or(Refusal::NoEntry)?;
        if place.needs_directory && self.nodes[id].is != Is::Directory {
            return Err(Refusal::NotDirectory);
        }
        Ok(id)
    }

    fn make(&mut self, place: &Place, is: Is) -> Answer<usize> {
        if self.paths.contains_key(&place.path) {
            return Err(Refusal::Exists);
        }
        self.check_writable(place)?;
        Ok(self.add(&place.path, is))
    }

    /// The area in which a name at a place can be made or removed.
    fn check_writable(&self, place: &Place) -> Answer<&'static str> {
        let dir = if place.named { parent(&place.path) } else { &place.path };
        match area(dir) {
            "" => Err(Refusal::ReadOnly),
            area => Ok(area),
        }
    }

    fn check_not_root(place: &Place) -> Answer<()> {
        match &*place.path {
            "/tmp" | "/out" if place.named => Err(Refusal::Busy),
            _ => Ok(()),
        }
    }

    fn is_empty(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        !self.paths.keys().any(|other| other.starts_with(&inside))
    }

    fn open(&mut self, path: &str, options: OpenOptions) -> Answer<()> {
        let OpenOptions { follow, create, exclusive, truncate, directory, write } = options;
        if directory && (create || exclusive || truncate) {
            return Err(Refusal::Invalid);
        }
        let place = self.walk(path, (follow && !(create && exclusive)).into())?;
        let id = match self.paths.get(&place.path).copied() {
            None if create && place.needs_directory => return Err(Refusal::IsDirectory),
            None if create => self.make(&place, Is::File(Vec::new()))?,
            None => return Err(Refusal::NoEntry),
            Some(_) if create && exclusive => return Err(Refusal::Exists),
            Some(id) => id,
        };
        let fixed = self.nodes[id].area.is_empty();
        match &mut self.nodes[id].is {
            Is::Link(_) if directory => return Err(Refusal::NotDirectory),
            Is::Link(_) => return Err(Refusal::Loop),
            Is::Directory if create || truncate || (write && !directory) => {
                return Err(Refusal::IsDirectory);
            }
            Is::Directory => {}
            Is::File(_) if directory || place.needs_directory => return Err(Refusal::NotDirectory),
            Is::File(_) if (write || truncate) && fixed => return Err(Refusal::ReadOnly),
            Is::File(bytes) if truncate => bytes.clear(),
            Is::File(_) => {}
        }
        self.handles.push(Some(id));
        Ok(())
    }

    fn bytes_mut(&mut self, id: usize) -> Answer<&mut Vec<u8>> {
        let fixed = self.nodes[id].area.is_empty();
        match &mut self.nodes[id].is {
            Is::Directory => Err(Refusal::IsDirectory),
            Is::Link(_) => Err(Refusal::Invalid),
            Is::File(_) if fixed => Err(Refusal::ReadOnly),
            Is::File(bytes) => Ok(bytes),
        }
    }

    fn link(&mut self, old: &str, follow: bool, new: &str) -> Answer<()> {
        let old = self.walk(old, follow.into())?;
        let id = self.found(&old)?;
        let new = self.walk(new, LastLink::Name)?;
        if self.paths.contains_key(&new.path) {
            return Err(Refusal::Exists);
        }
        if new.needs_directory {
            return Err(Refusal::NoEntry);
        }
        if self.nodes[id].is == Is::Directory {
            return Err(Refusal::NotPermitted);
        }
        if self.check_writable(&new)? != self.nodes[id].area {
            return Err(Refusal::CrossDevice);
        }
        self.paths.insert(new.path, id);
        Ok(())
    }

    fn rename(&mut self, old: &str, new: &str) -> Answer<()> {
        let old = self.walk(old, LastLink::Name)?;
        let id = self.found(&old)?;
        let new = self.walk(new, LastLink::Name)?;
        Model::check_not_root(&old)?;
        Model::check_not_root(&new)?;
        if self.check_writable(&old)? != self.check_writable(&new)? {
            return Err(Refusal::CrossDevice);
        }
        if !old.named || !new.named {
            return Err(Refusal::Busy);
        }
        let directory = self.nodes[id].is == Is::Directory;
        if !directory && new.needs_directory {
            return Err(Refusal::NotDirectory);
        }
        if directory && format!("{}/", parent(&new.path)).starts_with(&format!("{}/", old.path)) {
            return Err(Refusal::Invalid);
        }
        match self.at(&new.path) {
            None => {}
            Some(_) if self.paths[&new.path] == id => return Ok(()),
            Some(Is::Directory) if !directory => return Err(Refusal::IsDirectory),
            Some(Is::Directory) if !self.is_empty(&new.path) => return Err(Refusal::NotEmpty),
            Some(Is::Directory) => {}
            Some(_) if directory => return Err(Refusal::NotDirectory),
            Some(_) => {}
        }
        let inside = format!("{}/", old.path);
        let moves = |path: &&String| **path == old.path || path.starts_with(&inside);
        for path in self.paths.keys().filter(moves).cloned().collect::<Vec<_>>() {
            let id = self.paths.remove(&path).expect("it was listed");
            self.paths.insert(format!("{}{}", new.path, &path[old.path.len()..]), id);
        }
        Ok(())
    }

    fn stat(&self, id: usize) -> (FileType, u64, u64) {
        let links = self.links(id) as u64;
        match &self.nodes[id].is {
            Is::File(bytes) => (FileType::File, bytes.len() as u64, links),
            Is::Directory => (FileType::Directory, 0, links),
            Is::Link(target) => (FileType::Link, target.len() as u64, links),
        }
    }

    fn list(&self, id: usize) -> Answer<Vec<String>> {
        if self.nodes[id].is != Is::Directory {
            return Err(Refusal::NotDirectory);
        }
        let Some((dir, _)) = self.paths.iter().find(|(_, other)| **other == id) else {
            return Ok(Vec::new());
        };
        let names = self.paths.keys().filter(|path| !path.is_empty() && parent(path) == dir);
        Ok(names.map(|path| path[dir.len() + 1..].to_owned()).collect())
    }
}
