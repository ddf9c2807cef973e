//! What a guest has open in its file system, and what all functions on it share.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::{
    clocks::wall_clock::Datetime,
    filesystem::{
        preopens,
        types::{
            Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode,
            MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
};

use super::{
    clocks::{datetime, nanoseconds},
    errors::{Answer, refused, trapped},
};
use crate::{
    filesystem::{FileType, NewTime, NodeId, OpenOptions, Stat},
    profile::price,
    sandbox::Guest,
};

/// What the root is called among the directories that are open from the start.
const ROOT: &str = "/";

/// An open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) node: NodeId,
    pub(super) is_directory: bool,
    pub(super) flags: DescriptorFlags,
}

/// How far a guest has read a directory.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) dir: NodeId,
    /// The last entry that it got, by name: others may be gone or new when it asks again.
    pub(super) after: Option<Box<str>>,
}

/// What a guest wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Reading,
    Writing,
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.meter.charge(price::CALL);
        let node = self.files.get().root();
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let root = self.open_node(node, flags)?;
        Ok(vec![(root, ROOT.to_owned())])
    }
}

impl Guest {
    /// Opens a node, which is held until the descriptor is dropped.
    fn open_node(
        &mut self,
        node: NodeId,
        flags: DescriptorFlags,
    ) -> wasmtime::Result<Resource<Descriptor>> {
        let files = self.files.get();
        let is_directory = files.stat(node).file_type == FileType::Directory;
        files.hold(node);
        // Libraries ask for all of them wherever they open something to write.
        let of_others = match is_directory {
            true => DescriptorFlags::WRITE,
            false => DescriptorFlags::MUTATE_DIRECTORY,
        };
        let flags = flags & !of_others;
        self.resources.push(Opened { node, is_directory, flags })
    }

    pub(super) fn opened(&self, descriptor: &Resource<Descriptor>) -> Answer<Opened> {
        self.resources.get(descriptor).copied().map_err(trapped)
    }

    /// The file of a descriptor.
    ///
    /// # Errors
    /// `is-directory`; `bad-descriptor` where it was not opened for that.
    pub(super) fn file(&self, descriptor: &Resource<Descriptor>, what: For) -> Answer<NodeId> {
        let opened = self.opened(descriptor)?;
        let needed = match what {
            For::Reading => DescriptorFlags::READ,
            For::Writing => DescriptorFlags::WRITE,
        };
        match opened.is_directory {
            true => Err(ErrorCode::IsDirectory.into()),
            false if opened.flags.contains(needed) => Ok(opened.node),
            false => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// The directory of a descriptor.
    ///
    /// # Errors
    /// `not-directory`.
    pub(super) fn directory_of(&self, descriptor: &Resource<Descriptor>) -> Answer<NodeId> {
        let opened = self.opened(descriptor)?;
        match opened.is_directory {
            true => Ok(opened.node),
            false => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// The directory of a descriptor, for a call with a path, which is paid for.
    ///
    /// # Errors
    /// As `directory`.
    pub(super) fn at(&mut self, descriptor: &Resource<Descriptor>, path: &str) -> Answer<NodeId> {
        self.meter.charge(price::PATH_CALL + path.len() as u64 * price::PATH_BYTE);
        self.directory_of(descriptor)
    }

    /// Opens a path. Whether the directory may be changed through its descriptor is not looked at, here
    /// and where something is made or removed: libraries open directories without `mutate-directory`
    /// and change them all the same, and Wasmtime lets them.
    pub(super) fn open_path(
        &mut self,
        dir: NodeId,
        path: &str,
        (path_flags, open, flags): (PathFlags, OpenFlags, DescriptorFlags),
    ) -> Answer<Resource<Descriptor>> {
        let options = OpenOptions {
            follow: path_flags.contains(PathFlags::SYMLINK_FOLLOW),
            create: open.contains(OpenFlags::CREATE),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            truncate: open.contains(OpenFlags::TRUNCATE),
            directory: open.contains(OpenFlags::DIRECTORY),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        let node = self.files.get().open(dir, path, options).map_err(refused)?;
        let opened = self.open_node(node, flags).map_err(trapped)?;
        // The descriptor holds it by itself.
        self.files.get().release(node);
        Ok(opened)
    }

    /// What a path leads to.
    pub(super) fn lookup_at(
        &mut self,
        dir: NodeId,
        path: &str,
        flags: PathFlags,
    ) -> Answer<NodeId> {
        let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
        self.files.get().lookup(dir, path, follow).map_err(refused)
    }

    pub(super) fn stat_of(&mut self, node: NodeId) -> DescriptorStat {
        let Stat { file_type, size_bytes, links, times, .. } = self.files.get().stat(node);
        DescriptorStat {
            type_: descriptor_type(file_type),
            link_count: links,
            size: size_bytes,
            data_access_timestamp: Some(datetime(times.accessed_ns)),
            data_modification_timestamp: Some(datetime(times.modified_ns)),
            status_change_timestamp: Some(datetime(times.modified_ns)),
        }
    }

    /// Names the node, and nothing of what is in it: guests take it for an inode's number.
    pub(super) fn hash_of(&mut self, node: NodeId) -> MetadataHashValue {
        MetadataHashValue { lower: self.files.get().stat(node).inode, upper: 1 }
    }

    pub(super) fn set_times_of(
        &mut self,
        node: NodeId,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Answer<()> {
        let (accessed, modified) = (self.new_time(accessed)?, self.new_time(modified)?);
        self.files.get().set_times(node, accessed, modified).map_err(refused)
    }

    fn new_time(&self, time: NewTimestamp) -> Answer<NewTime> {
        let set = |time: Datetime| nanoseconds(time).ok_or(ErrorCode::Overflow);
        Ok(match time {
            NewTimestamp::NoChange => NewTime::Keep,
            NewTimestamp::Now => NewTime::Set(self.clock.realtime_ns(self.fuel_used())),
            NewTimestamp::Timestamp(time) => NewTime::Set(set(time)?),
        })
    }
}

pub(super) fn descriptor_type(file_type: FileType) -> DescriptorType {
    match file_type {
        FileType::File => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Link => DescriptorType::SymbolicLink,
    }
}
