//! What a guest may do, done to the file system and to the model of it.

use proptest::prelude::*;

use super::{Answer, Is, Model};
use crate::filesystem::{
    FileSystem, FileType, FsResult, NodeId, OpenOptions, Refusal, error::FsError, resolve::LastLink,
};

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Open(String, OpenOptions),
    Read(usize, u64, usize),
    Write(usize, u64, Vec<u8>),
    SetSize(usize, u64),
    Close(usize),
    CreateDirectory(String),
    CreateDirectoryIn(usize, String),
    RemoveDirectory(String),
    Unlink(String),
    Symlink(String, String),
    ReadLink(String),
    Link(String, bool, String),
    Rename(String, String),
    List(usize),
    Stat(String, bool),
}

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Nothing,
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Text(String),
    Stat(FileType, u64, u64),
}

/// Names in few directories, so that they often meet; now and then with dots and slashes.
fn path() -> impl Strategy<Value = String> {
    let dir = prop_oneof![
        8 => Just("tmp"), 3 => Just("out"), 2 => Just("tmp/a"), 2 => Just("tmp/b"),
        1 => Just("in"), 1 => Just("tmp/a/a"), 1 => Just("."), 1 => Just("tmp/b/.."),
        1 => Just("out/a"), 1 => Just("in/f"),
    ];
    let name = prop_oneof![
        12 => Just("/a"), 12 => Just("/b"), 8 => Just("/c"), 1 => Just(""), 1 => Just("/.."),
        1 => Just("/."), 1 => Just("/a/"), 1 => Just("/b/"), 1 => Just("/a//b"), 1 => Just("/f"),
        1 => Just("/b/./c"), 1 => Just("/a/."), 1 => Just("/c/.."),
    ];
    (dir, name).prop_map(|(dir, name)| format!("{dir}{name}"))
}

fn target() -> impl Strategy<Value = String> {
    let targets =
        ["a", "b", "c", "a/", "b/.", "../tmp/b", "a/b", ".", "..", "../..", "../in/f", "b/../c"];
    proptest::sample::select(targets.to_vec()).prop_map(String::from)
}

fn options() -> impl Strategy<Value = OpenOptions> {
    let often = prop_oneof![3 => Just(true), 1 => Just(false)];
    let seldom = || prop_oneof![1 => Just(true), 6 => Just(false)];
    (often, any::<bool>(), seldom(), seldom(), seldom(), any::<bool>()).prop_map(
        |(follow, create, exclusive, truncate, directory, write)| OpenOptions {
            follow,
            create,
            exclusive,
            truncate,
            directory,
            write,
        },
    )
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let (handle, at) = (0..12usize, 0..200_000u64);
    let bytes = (any::<u8>(), 0..150_000usize).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        8 => (path(), options()).prop_map(|(path, options)| Op::Open(path, options)),
        2 => (handle.clone(), at.clone(), 0..100_000usize).prop_map(|(h, o, l)| Op::Read(h, o, l)),
        6 => (handle.clone(), at.clone(), bytes).prop_map(|(h, o, b)| Op::Write(h, o, b)),
        2 => (handle.clone(), at).prop_map(|(handle, size)| Op::SetSize(handle, size)),
        3 => handle.clone().prop_map(Op::Close),
        4 => path().prop_map(Op::CreateDirectory),
        1 => (handle.clone(), "[ab]").prop_map(|(h, name)| Op::CreateDirectoryIn(h, name)),
        3 => path().prop_map(Op::RemoveDirectory),
        3 => path().prop_map(Op::Unlink),
        3 => (target(), path()).prop_map(|(target, path)| Op::Symlink(target, path)),
        1 => path().prop_map(Op::ReadLink),
        3 => (path(), any::<bool>(), path()).prop_map(|(a, follow, b)| Op::Link(a, follow, b)),
        6 => (path(), path()).prop_map(|(old, new)| Op::Rename(old, new)),
        2 => handle.prop_map(Op::List),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat(path, follow)),
    ]
}

fn nothing(_: ()) -> Value {
    Value::Nothing
}

impl Op {
    /// What it answers; nothing of a handle that is not open.
    pub(crate) fn on_file_system(
        &self,
        fs: &mut FileSystem,
        handles: &mut Vec<Option<NodeId>>,
    ) -> Option<Answer<Value>> {
        let root = fs.root();
        let open = |handle: &usize| handles.get(*handle).copied().flatten();
        Some(told(match self {
            Op::Open(path, options) => fs.open(root, path, *options).map(|node| {
                handles.push(Some(node));
                Value::Nothing
            }),
            Op::Read(handle, offset, len) => {
                let mut buffer = vec![9; *len];
                fs.read(open(handle)?, *offset, &mut buffer).map(|read| {
                    buffer.truncate(read);
                    Value::Bytes(buffer)
                })
            }
            Op::Write(handle, offset, bytes) => {
                fs.write(open(handle)?, *offset, bytes).map(nothing)
            }
            Op::SetSize(handle, size) => fs.set_size(open(handle)?, *size).map(nothing),
            Op::Close(handle) => {
                fs.release(open(handle)?);
                handles[*handle] = None;
                Ok(Value::Nothing)
            }
            Op::CreateDirectory(path) => fs.create_directory(root, path).map(nothing),
            Op::CreateDirectoryIn(handle, name) => {
                fs.create_directory(open(handle)?, name).map(nothing)
            }
            Op::RemoveDirectory(path) => fs.remove_directory(root, path).map(nothing),
            Op::Unlink(path) => fs.unlink(root, path).map(nothing),
            Op::Symlink(target, path) => fs.symlink(target, root, path).map(nothing),
            Op::ReadLink(path) => {
                fs.read_link(root, path).map(|target| Value::Text(target.to_owned()))
            }
            Op::Link(old, follow, new) => fs.link((root, old), *follow, (root, new)).map(nothing),
            Op::Rename(old, new) => fs.rename((root, old), (root, new)).map(nothing),
            Op::List(handle) => fs
                .list(open(handle)?, None)
                .map(|entries| Value::Names(entries.map(|entry| entry.name.to_owned()).collect())),
            Op::Stat(path, follow) => fs.lookup(root, path, *follow).map(|node| {
                let stat = fs.stat(node);
                Value::Stat(stat.file_type, stat.size_bytes, stat.links)
            }),
        }))
    }

    pub(crate) fn on_model(&self, model: &mut Model) -> Option<Answer<Value>> {
        Some(match self {
            Op::Open(path, options) => model.open(path, *options).map(nothing),
            Op::Read(handle, offset, len) => match &model.nodes[model.handle(*handle)?].is {
                Is::Directory => Err(Refusal::IsDirectory),
                Is::Link(_) => Err(Refusal::Invalid),
                Is::File(bytes) => {
                    let bytes = bytes.iter().skip(*offset as usize).take(*len);
                    Ok(Value::Bytes(bytes.copied().collect()))
                }
            },
            Op::Write(handle, offset, new) => {
                model.bytes_mut(model.handle(*handle)?).map(|bytes| {
                    let end = *offset as usize + new.len();
                    if !new.is_empty() {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[*offset as usize..end].copy_from_slice(new);
                    }
                    Value::Nothing
                })
            }
            Op::SetSize(handle, size) => model.bytes_mut(model.handle(*handle)?).map(|bytes| {
                bytes.resize(*size as usize, 0);
                Value::Nothing
            }),
            Op::Close(handle) => {
                model.handle(*handle)?;
                model.handles[*handle] = None;
                Ok(Value::Nothing)
            }
            Op::CreateDirectory(path) => {
                let place = model.walk(path, LastLink::Name);
                place.and_then(|place| model.make(&place, Is::Directory)).map(|_| Value::Nothing)
            }
            Op::CreateDirectoryIn(handle, name) => {
                let id = model.handle(*handle)?;
                model.create_in(id, name).map(|_| Value::Nothing)
            }
            Op::RemoveDirectory(path) => model.remove_directory(path).map(nothing),
            Op::Unlink(path) => model.unlink(path).map(nothing),
            Op::Symlink(target, path) => model.symlink(target, path).map(|_| Value::Nothing),
            Op::ReadLink(path) => {
                let id = model.walk(path, LastLink::Keep).and_then(|place| model.found(&place));
                id.and_then(|id| match &model.nodes[id].is {
                    Is::Link(target) => Ok(Value::Text(target.clone())),
                    _ => Err(Refusal::Invalid),
                })
            }
            Op::Link(old, follow, new) => model.link(old, *follow, new).map(nothing),
            Op::Rename(old, new) => model.rename(old, new).map(nothing),
            Op::List(handle) => model.list(model.handle(*handle)?).map(Value::Names),
            Op::Stat(path, follow) => {
                let id = model.walk(path, (*follow).into()).and_then(|place| model.found(&place));
                id.map(|id| {
                    let (file_type, size, links) = model.stat(id);
                    Value::Stat(file_type, size, links)
                })
            }
        })
    }
}

impl Model {
    fn create_in(&mut self, id: usize, name: &str) -> Answer<usize> {
        if self.nodes[id].is != Is::Directory {
            return Err(Refusal::NotDirectory);
        }
        let dir = self.paths.iter().find(|(_, other)| **other == id);
        let Some(dir) = dir.map(|(path, _)| path.clone()) else { return Err(Refusal::NoEntry) };
        let place = self.walk_from(&dir, name, LastLink::Name)?;
        self.make(&place, Is::Directory)
    }

    fn remove_directory(&mut self, path: &str) -> Answer<()> {
        let place = self.walk(path, LastLink::Name)?;
        let id = self.found(&place)?;
        if self.nodes[id].is != Is::Directory {
            return Err(Refusal::NotDirectory);
        }
        if !place.named {
            return Err(Refusal::Invalid);
        }
        Model::check_not_root(&place)?;
        self.check_writable(&place)?;
        if !self.is_empty(&place.path) {
            return Err(Refusal::NotEmpty);
        }
        self.paths.remove(&place.path);
        Ok(())
    }

    fn unlink(&mut self, path: &str) -> Answer<()> {
        let place = self.walk(path, LastLink::Name)?;
        let id = self.found(&place)?;
        if self.nodes[id].is == Is::Directory {
            return Err(Refusal::IsDirectory);
        }
        self.check_writable(&place)?;
        self.paths.remove(&place.path);
        Ok(())
    }

    fn symlink(&mut self, target: &str, path: &str) -> Answer<usize> {
        let place = self.walk(path, LastLink::Name)?;
        if place.needs_directory && !self.paths.contains_key(&place.path) {
            return Err(Refusal::NoEntry);
        }
        self.make(&place, Is::Link(target.to_owned()))
    }
}

fn told<T>(result: FsResult<T>) -> Answer<T> {
    result.map_err(|error| match error {
        FsError::Refused(refusal) => refusal,
        error => panic!("the attempt ends: {error}"),
    })
}
