//! A guest's file descriptors: numbers from 0 up, the lowest free one first.

use wasmtime_wasi::p1::types::{Errno, Fd, Fdflags};

use super::errno::Answer;
use crate::filesystem::NodeId;

/// Most descriptors at once: Linux' usual bound for a process.
pub(super) const MAX_DESCRIPTORS: usize = 1024;

/// What a descriptor stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Descriptor {
    Stdin,
    Stdout,
    Stderr,
    /// The root of the file system, which is there from the start.
    Root,
    Directory(NodeId),
    File(OpenFile),
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub(super) node: NodeId,
    pub(super) position: u64,
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// `append` and `nonblock`, and what was asked of syncing.
    pub(super) flags: Fdflags,
}

/// All descriptors of a guest.
#[derive(Debug)]
pub(crate) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
}

impl Descriptors {
    /// The three streams, and the root.
    pub(crate) fn new() -> Descriptors {
        let open = [Descriptor::Stdin, Descriptor::Stdout, Descriptor::Stderr, Descriptor::Root];
        Descriptors { slots: open.into_iter().map(Some).collect() }
    }

    /// # Errors
    /// `badf`.
    pub(super) fn get(&self, fd: Fd) -> Answer<&Descriptor> {
        let slot = self.slots.get(number(fd)).and_then(Option::as_ref);
        slot.ok_or_else(|| Errno::Badf.into())
    }

    /// # Errors
    /// `badf`.
    pub(super) fn get_mut(&mut self, fd: Fd) -> Answer<&mut Descriptor> {
        let slot = self.slots.get_mut(number(fd)).and_then(Option::as_mut);
        slot.ok_or_else(|| Errno::Badf.into())
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `badf` for anything else.
    pub(super) fn file_mut(&mut self, fd: Fd) -> Answer<&mut OpenFile> {
        match self.get_mut(fd)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Stdin
            | Descriptor::Stdout
            | Descriptor::Stderr
            | Descriptor::Root
            | Descriptor::Directory(_) => Err(Errno::Badf.into()),
        }
    }

    /// Whether there is room for another.
    ///
    /// # Errors
    /// `mfile`.
    pub(super) fn check_room(&self) -> Answer<()> {
        if self.slots.len() == MAX_DESCRIPTORS && self.slots.iter().all(Option::is_some) {
            return Err(Errno::Mfile.into());
        }
        Ok(())
    }

    /// Opens the lowest free number; there must be room.
    pub(super) fn add(&mut self, descriptor: Descriptor) -> Fd {
        let free = self.slots.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[number] = Some(descriptor);
        Fd::from(number as u32)
    }

    /// # Errors
    /// `badf`.
    pub(super) fn remove(&mut self, fd: Fd) -> Answer<Descriptor> {
        let slot = self.slots.get_mut(number(fd)).and_then(Option::take);
        slot.ok_or_else(|| Errno::Badf.into())
    }

    /// Gives a descriptor another number, which must be open and is returned.
    ///
    /// # Errors
    /// `badf`, and nothing has changed.
    pub(super) fn renumber(&mut self, from: Fd, to: Fd) -> Answer<Option<Descriptor>> {
        self.get(from)?;
        self.get(to)?;
        if number(from) == number(to) {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        Ok(Some(std::mem::replace(self.get_mut(to)?, moved)))
    }
}

fn number(fd: Fd) -> usize {
    u32::from(fd) as usize
}
