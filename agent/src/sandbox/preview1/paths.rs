//! Preview 1's functions on paths.

use wasmtime_wasi::p1::types::{Errno, Fd, Fdflags, Lookupflags, Oflags, Rights};
use wiggle::{GuestMemory, GuestPtr};

use super::{
    descriptors::{Descriptor, OpenFile},
    errno::{Answer, refused},
};
use crate::{
    filesystem::{FileType, NodeId, OpenOptions},
    profile::price,
    sandbox::Guest,
};

/// Longest path that is read from the guest's memory: longer ones are refused anyway.
const MAX_PATH_BYTES: u32 = 4096;

impl Guest {
    /// A path in the guest's memory, which is paid for.
    ///
    /// # Errors
    /// `nametoolong`; `ilseq` where it is not UTF-8.
    pub(super) fn path(&mut self, memory: &GuestMemory<'_>, path: GuestPtr<str>) -> Answer<String> {
        if path.len() > MAX_PATH_BYTES {
            return Err(Errno::Nametoolong.into());
        }
        self.meter.charge(u64::from(path.len()) * price::PATH_BYTE);
        Ok(memory.as_cow_str(path)?.into_owned())
    }

    pub(super) fn open(
        &mut self,
        dir: Fd,
        path: &str,
        (lookup, open, flags): (Lookupflags, Oflags, Fdflags),
        rights: Rights,
    ) -> Answer<Fd> {
        let dir = self.directory(dir)?;
        self.descriptors.check_room()?;
        let (reads, writes) = (rights.contains(Rights::FD_READ), rights.contains(Rights::FD_WRITE));
        let options = OpenOptions {
            follow: lookup.contains(Lookupflags::SYMLINK_FOLLOW),
            create: open.contains(Oflags::CREAT),
            exclusive: open.contains(Oflags::EXCL),
            truncate: open.contains(Oflags::TRUNC),
            directory: open.contains(Oflags::DIRECTORY),
            write: writes,
        };
        let files = self.files.get();
        let node = files.open(dir, path, options).map_err(refused)?;
        let descriptor = match files.stat(node).file_type {
            FileType::Directory => Descriptor::Directory(node),
            FileType::File | FileType::Link => {
                Descriptor::File(OpenFile { node, position: 0, reads, writes, flags })
            }
        };
        Ok(self.descriptors.add(descriptor))
    }

    /// What a path leads to.
    pub(super) fn lookup(&mut self, dir: Fd, flags: Lookupflags, path: &str) -> Answer<NodeId> {
        let dir = self.directory(dir)?;
        let follow = flags.contains(Lookupflags::SYMLINK_FOLLOW);
        self.files.get().lookup(dir, path, follow).map_err(refused)
    }
}
