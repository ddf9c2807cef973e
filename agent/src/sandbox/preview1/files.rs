//! Preview 1's functions on open files and streams.

use wasmtime_wasi::p1::types::{
    self, Advice, Errno, Fd, Fdflags, Fdstat, Filesize, Filestat, Filetype, Fstflags, Rights, Size,
    Timestamp, Whence,
};
use wiggle::{GuestMemory, GuestPtr};

use super::{
    descriptors::{Descriptor, OpenFile},
    errno::{Answer, refused},
};
use crate::{
    filesystem::{FileType, FsError, MAX_MADE_NODES, NewTime, NodeId, Stat},
    profile::price,
    sandbox::{Guest, stdio::OverLimit},
};

/// Most buffers of one call: Linux' `IOV_MAX`.
const MAX_BUFFERS: u32 = 1024;

/// Most bytes that one call moves: some quantum's worth. A guest sees a short read or write.
const MAX_TRANSFER_BYTES: usize = 1 << 20;

/// Bytes of a directory's entry before its name, as preview 1 lays it out.
const DIRENT_BYTES: usize = 24;

/// Where in a file something is read or written.
#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    /// At the descriptor's position, which moves on.
    Position,
    /// Here, and the position stays.
    Offset(u64),
}

/// The part of the guest's memory that a buffer names.
struct Buffer {
    start: GuestPtr<u8>,
    len: u32,
}

impl Guest {
    /// The node of a descriptor that has one.
    ///
    /// # Errors
    /// `badf` for none, and for streams.
    pub(super) fn node(&mut self, fd: Fd) -> Answer<NodeId> {
        match self.descriptors.get(fd)? {
            Descriptor::Root => Ok(self.files.get().root()),
            Descriptor::Directory(node) => Ok(*node),
            Descriptor::File(file) => Ok(file.node),
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Err(Errno::Badf.into()),
        }
    }

    /// The directory of a descriptor.
    ///
    /// # Errors
    /// `badf`; `notdir` for a file.
    pub(super) fn directory(&mut self, fd: Fd) -> Answer<NodeId> {
        match self.descriptors.get(fd)? {
            Descriptor::File(_) => Err(Errno::Notdir.into()),
            _ => self.node(fd),
        }
    }

    pub(super) fn close(&mut self, descriptor: Descriptor) {
        match descriptor {
            Descriptor::File(OpenFile { node, .. }) | Descriptor::Directory(node) => {
                self.files.get().release(node);
            }
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr | Descriptor::Root => {}
        }
    }

    pub(super) fn advise(&mut self, fd: Fd, offset: u64, len: u64, _: Advice) -> Answer<()> {
        self.descriptors.file_mut(fd)?;
        if offset.checked_add(len).is_none() {
            return Err(Errno::Inval.into());
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, fd: Fd, offset: Filesize, len: Filesize) -> Answer<()> {
        let file = self.descriptors.file_mut(fd)?;
        if !file.writes {
            return Err(Errno::Badf.into());
        }
        let node = file.node;
        let end = offset.checked_add(len).filter(|_| len > 0).ok_or(Errno::Inval)?;
        let files = self.files.get();
        if files.stat(node).size_bytes < end {
            files.set_size(node, end).map_err(refused)?;
        }
        Ok(())
    }

    pub(super) fn set_size(&mut self, fd: Fd, size: Filesize) -> Answer<()> {
        let file = self.descriptors.file_mut(fd)?;
        if !file.writes {
            return Err(Errno::Inval.into());
        }
        let node = file.node;
        self.files.get().set_size(node, size).map_err(refused)
    }

    /// What preview 1 calls the attributes of a descriptor.
    pub(super) fn fdstat(&mut self, fd: Fd) -> Answer<Fdstat> {
        let (fs_filetype, fs_flags, rights) = match self.descriptors.get(fd)? {
            Descriptor::Stdin => {
                (Filetype::Unknown, Fdflags::empty(), Rights::FD_READ | Rights::POLL_FD_READWRITE)
            }
            Descriptor::Stdout | Descriptor::Stderr => {
                (Filetype::Unknown, Fdflags::empty(), Rights::FD_WRITE | Rights::POLL_FD_READWRITE)
            }
            Descriptor::Root | Descriptor::Directory(_) => {
                (Filetype::Directory, Fdflags::empty(), directory_rights())
            }
            Descriptor::File(file) => {
                let mut rights = file_rights();
                rights.set(Rights::FD_READ, file.reads);
                rights.set(Rights::FD_WRITE, file.writes);
                rights.set(Rights::FD_ALLOCATE, file.writes);
                rights.set(Rights::FD_FILESTAT_SET_SIZE, file.writes);
                (Filetype::RegularFile, file.flags, rights)
            }
        };
        let inheriting = match fs_filetype {
            Filetype::Directory => rights | file_rights(),
            _ => rights,
        };
        Ok(Fdstat {
            fs_filetype,
            fs_flags,
            fs_rights_base: rights,
            fs_rights_inheriting: inheriting,
        })
    }

    pub(super) fn set_flags(&mut self, fd: Fd, flags: Fdflags) -> Answer<()> {
        let file = self.descriptors.file_mut(fd)?;
        if flags.intersects(Fdflags::DSYNC | Fdflags::SYNC | Fdflags::RSYNC) {
            return Err(Errno::Inval.into());
        }
        file.flags = flags;
        Ok(())
    }

    pub(super) fn filestat(&mut self, fd: Fd) -> Answer<Filestat> {
        match self.descriptors.get(fd)? {
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => Ok(Filestat {
                dev: 0,
                ino: 0,
                filetype: Filetype::Unknown,
                nlink: 0,
                size: 0,
                atim: 0,
                mtim: 0,
                ctim: 0,
            }),
            Descriptor::Root | Descriptor::Directory(_) | Descriptor::File(_) => {
                let node = self.node(fd)?;
                Ok(filestat(&self.files.get().stat(node)))
            }
        }
    }

    /// The times that preview 1's four flags ask for.
    pub(super) fn new_times(
        &self,
        atim: Timestamp,
        mtim: Timestamp,
        flags: Fstflags,
    ) -> Answer<(NewTime, NewTime)> {
        let now = self.clock.realtime_ns(self.fuel_used());
        let time = |set, now_too, ns| match (flags.contains(set), flags.contains(now_too)) {
            (true, true) => Err(Errno::Inval),
            (true, false) => Ok(NewTime::Set(ns)),
            (false, true) => Ok(NewTime::Set(now)),
            (false, false) => Ok(NewTime::Keep),
        };
        Ok((
            time(Fstflags::ATIM, Fstflags::ATIM_NOW, atim)?,
            time(Fstflags::MTIM, Fstflags::MTIM_NOW, mtim)?,
        ))
    }

    pub(super) fn read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffers: types::IovecArray,
        at: At,
    ) -> Answer<Size> {
        let offset = match (self.descriptors.get(fd)?, at) {
            (Descriptor::File(file), At::Position) if file.reads => file.position,
            (Descriptor::File(file), At::Offset(offset)) if file.reads => offset,
            (Descriptor::Stdin, At::Position) => self.stdin.position,
            (Descriptor::Stdin, At::Offset(_)) => return Err(Errno::Spipe.into()),
            (Descriptor::Root | Descriptor::Directory(_), _) => return Err(Errno::Isdir.into()),
            _ => return Err(Errno::Badf.into()),
        };
        let mut total = 0;
        for buffer in self.buffers(buffers.len())? {
            let iovec = memory.read(buffers.get(buffer).ok_or(Errno::Fault)?)?;
            let buffer = Buffer { start: iovec.buf, len: iovec.buf_len };
            let Some(into) = buffer.in_memory(memory, total)? else { break };
            let read = self.read_one(fd, offset.saturating_add(total as u64), into)?;
            total += read;
            if read < into.len() {
                break;
            }
        }
        self.meter.charge(price::copied(total));
        let moved = offset.saturating_add(total as u64);
        match (self.descriptors.get_mut(fd)?, at) {
            (Descriptor::File(file), At::Position) => file.position = moved,
            (Descriptor::Stdin, _) => self.stdin.position = moved,
            _ => {}
        }
        Ok(total as Size)
    }

    fn read_one(&mut self, fd: Fd, offset: u64, into: &mut [u8]) -> Answer<usize> {
        match self.descriptors.get(fd)? {
            Descriptor::File(file) => {
                self.files.get().read(file.node, offset, into).map_err(refused)
            }
            _ => {
                let read = self.stdin.view.read_at(offset, into);
                read.map_err(|error| refused(FsError::Disk(error)))
            }
        }
    }

    pub(super) fn write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffers: types::CiovecArray,
        at: At,
    ) -> Answer<Size> {
        let mut offset = match (self.descriptors.get(fd)?, at) {
            (Descriptor::File(file), _) if !file.writes => return Err(Errno::Badf.into()),
            // Preview 1 says what POSIX says, Linux does otherwise: the offset counts.
            (Descriptor::File(_), At::Offset(offset)) => offset,
            (Descriptor::File(file), At::Position) if file.flags.contains(Fdflags::APPEND) => {
                let node = file.node;
                self.files.get().stat(node).size_bytes
            }
            (Descriptor::File(file), At::Position) => file.position,
            (Descriptor::Stdout | Descriptor::Stderr, At::Position) => 0,
            (Descriptor::Stdout | Descriptor::Stderr, At::Offset(_)) => {
                return Err(Errno::Spipe.into());
            }
            (Descriptor::Root | Descriptor::Directory(_), _) => return Err(Errno::Isdir.into()),
            (Descriptor::Stdin, _) => return Err(Errno::Badf.into()),
        };
        let mut total = 0;
        for buffer in self.buffers(buffers.len())? {
            let iovec = memory.read(buffers.get(buffer).ok_or(Errno::Fault)?)?;
            let buffer = Buffer { start: iovec.buf, len: iovec.buf_len };
            let Some(from) = buffer.in_memory(memory, total)? else { break };
            self.meter.charge(price::copied(from.len()));
            self.write_one(fd, offset, from)?;
            total += from.len();
            offset = offset.saturating_add(from.len() as u64);
        }
        if let (Descriptor::File(file), At::Position) = (self.descriptors.get_mut(fd)?, at) {
            file.position = offset;
        }
        Ok(total as Size)
    }

    fn write_one(&mut self, fd: Fd, offset: u64, from: &[u8]) -> Answer<()> {
        match self.descriptors.get(fd)? {
            Descriptor::File(file) => {
                self.files.get().write(file.node, offset, from).map_err(refused)
            }
            Descriptor::Stdout => self.stdout.append(from).map_err(ended),
            _ => self.stderr.append(from).map_err(ended),
        }
    }

    /// The indexes of a call's buffers, which are paid for.
    fn buffers(&mut self, count: u32) -> Answer<std::ops::Range<u32>> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval.into());
        }
        self.meter.charge(u64::from(count) * price::BUFFER);
        Ok(0..count)
    }

    pub(super) fn seek(&mut self, fd: Fd, offset: i64, whence: Whence) -> Answer<Filesize> {
        let file = match self.descriptors.get(fd)? {
            Descriptor::File(file) => file,
            Descriptor::Stdin | Descriptor::Stdout | Descriptor::Stderr => {
                return Err(Errno::Spipe.into());
            }
            Descriptor::Root | Descriptor::Directory(_) => return Err(Errno::Badf.into()),
        };
        let from = match whence {
            Whence::Set => 0,
            Whence::Cur => file.position,
            Whence::End => self.files.get().stat(file.node).size_bytes,
        };
        let to = from.checked_add_signed(offset).filter(|to| i64::try_from(*to).is_ok());
        let to = to.ok_or(Errno::Inval)?;
        self.descriptors.file_mut(fd)?.position = to;
        Ok(to)
    }

    pub(super) fn tell(&mut self, fd: Fd) -> Answer<Filesize> {
        self.seek(fd, 0, Whence::Cur)
    }

    /// Writes entries of a directory from `cookie` on, the last one cut off where the buffer ends:
    /// preview 1 tells by a full buffer that there is more.
    pub(super) fn readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: Fd,
        buffer: GuestPtr<u8>,
        len: Size,
        cookie: u64,
    ) -> Answer<Size> {
        let dir = self.directory(fd)?;
        let files = self.files.get();
        let mut bytes = DirectoryBytes { bytes: Vec::new(), room: len as usize, next: cookie };
        if cookie == 0 {
            bytes.push(".", dir.inode(), FileType::Directory);
        }
        if cookie <= 1 {
            bytes.push("..", files.parent(dir).inode(), FileType::Directory);
        }
        let after = self.listing.name(dir, cookie);
        let skipped = match after {
            Some(_) => 0,
            None => usize::try_from(cookie.saturating_sub(2)).unwrap_or(usize::MAX),
        };
        let mut names = Vec::new();
        let first = bytes.next;
        let entries = files.list(dir, after).map_err(refused)?;
        for entry in entries.skip(skipped) {
            if bytes.is_full() {
                break;
            }
            bytes.push(entry.name, entry.inode, entry.file_type);
            names.push(entry.name.into());
        }
        self.meter.charge(
            (skipped.min(MAX_MADE_NODES as usize) / 16 + names.len()) as u64 * price::ENTRY,
        );
        self.listing = Listing { dir: Some(dir), first, names };
        let bytes = bytes.bytes;
        self.meter.charge(price::copied(bytes.len()));
        memory.copy_from_slice(&bytes, buffer.as_array(bytes.len() as u32))?;
        Ok(bytes.len() as Size)
    }
}

/// The names that the last `fd_readdir` gave, so that the next goes on behind the right one though
/// the guest may have removed some in between.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    dir: Option<NodeId>,
    /// The cookie of the first name.
    first: u64,
    names: Vec<Box<str>>,
}

impl Listing {
    /// The name that the entries from `cookie` on come after.
    fn name(&self, dir: NodeId, cookie: u64) -> Option<&str> {
        let index =
            cookie.checked_sub(self.first)?.checked_sub(1).filter(|_| self.dir == Some(dir))?;
        self.names.get(usize::try_from(index).ok()?).map(|name| &**name)
    }
}

/// Entries of a directory as preview 1 lays them out.
struct DirectoryBytes {
    bytes: Vec<u8>,
    room: usize,
    /// The cookie of the entry that is pushed next.
    next: u64,
}

impl DirectoryBytes {
    fn is_full(&self) -> bool {
        self.bytes.len() >= self.room
    }

    fn push(&mut self, name: &str, inode: u64, file_type: FileType) {
        self.next = self.next.saturating_add(1);
        let mut entry = [0; DIRENT_BYTES];
        entry[..8].copy_from_slice(&self.next.to_le_bytes());
        entry[8..16].copy_from_slice(&inode.to_le_bytes());
        entry[16..20].copy_from_slice(&(name.len() as u32).to_le_bytes());
        entry[20] = filetype(file_type) as u8;
        self.bytes.extend_from_slice(&entry);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.truncate(self.room);
    }
}

impl Buffer {
    /// Its bytes, as far as one call moves them; nothing where it has moved enough.
    fn in_memory<'a>(
        &self,
        memory: &'a mut GuestMemory<'_>,
        moved: usize,
    ) -> Answer<Option<&'a mut [u8]>> {
        let room = MAX_TRANSFER_BYTES.saturating_sub(moved);
        if room == 0 {
            return Ok(None);
        }
        // All of it must be there, whatever part is used.
        let bytes = memory.as_slice_mut(self.start.as_array(self.len))?.ok_or(Errno::Fault)?;
        let len = bytes.len().min(room);
        Ok(Some(&mut bytes[..len]))
    }
}

/// Too much output ends the attempt.
fn ended(over: OverLimit) -> types::Error {
    types::Error::trap(over.into())
}

/// What WASI text calls the attributes of a file; all are on one device.
pub(super) fn filestat(stat: &Stat) -> Filestat {
    Filestat {
        dev: 1,
        ino: stat.inode,
        filetype: filetype(stat.file_type),
        nlink: stat.links,
        size: stat.size_bytes,
        atim: stat.times.accessed_ns,
        mtim: stat.times.modified_ns,
        ctim: stat.times.modified_ns,
    }
}

fn filetype(file_type: FileType) -> Filetype {
    match file_type {
        FileType::File => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Link => Filetype::SymbolicLink,
    }
}

/// Rights mean nothing any more, but C libraries look at some of them.
fn directory_rights() -> Rights {
    Rights::PATH_CREATE_DIRECTORY
        | Rights::PATH_CREATE_FILE
        | Rights::PATH_LINK_SOURCE
        | Rights::PATH_LINK_TARGET
        | Rights::PATH_OPEN
        | Rights::FD_READDIR
        | Rights::PATH_READLINK
        | Rights::PATH_RENAME_SOURCE
        | Rights::PATH_RENAME_TARGET
        | Rights::PATH_SYMLINK
        | Rights::PATH_REMOVE_DIRECTORY
        | Rights::PATH_UNLINK_FILE
        | Rights::PATH_FILESTAT_GET
        | Rights::PATH_FILESTAT_SET_TIMES
        | Rights::FD_FILESTAT_GET
        | Rights::FD_FILESTAT_SET_TIMES
}

fn file_rights() -> Rights {
    Rights::FD_DATASYNC
        | Rights::FD_READ
        | Rights::FD_SEEK
        | Rights::FD_FDSTAT_SET_FLAGS
        | Rights::FD_SYNC
        | Rights::FD_TELL
        | Rights::FD_WRITE
        | Rights::FD_ADVISE
        | Rights::FD_ALLOCATE
        | Rights::FD_FILESTAT_GET
        | Rights::FD_FILESTAT_SET_SIZE
        | Rights::FD_FILESTAT_SET_TIMES
        | Rights::POLL_FD_READWRITE
}
