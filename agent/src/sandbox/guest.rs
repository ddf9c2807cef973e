//! What a guest's store carries: all that its host calls work on.

use std::sync::Arc;

use wasmtime::Memory;
use weir_store::view::BlobView;

use super::{
    clock::Clock,
    key::GuestRandom,
    limiter::MemoryLimiter,
    meter::Meter,
    preview1::{Descriptors, Listing},
    preview2::Resources,
    stdio::OutputBuffer,
};
use crate::filesystem::{FileSystem, FileSystemSpec, Moved};

/// One attempt's share of the host.
pub(crate) struct Guest {
    /// `argv`, with the stage's name first.
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) stdin: Stdin,
    pub(super) stdout: OutputBuffer,
    pub(super) stderr: OutputBuffer,
    pub(super) files: Files,
    pub(super) clock: Clock,
    pub(super) random: GuestRandom,
    pub(super) limiter: MemoryLimiter,
    pub(super) meter: Meter,
    /// Of preview 1.
    pub(super) descriptors: Descriptors,
    /// Where preview 1's last listing of a directory ended.
    pub(super) listing: Listing,
    /// The memory that preview 1 works on, once it is known.
    pub(super) memory: Option<Memory>,
    /// Of preview 2.
    pub(super) resources: Resources,
}

/// What a guest reads from stdin, and how far it came.
#[derive(Debug)]
pub(super) struct Stdin {
    pub(super) view: BlobView,
    pub(super) position: u64,
}

/// The guest's file system, which is made when it is first asked for: many tasks never do.
pub(super) enum Files {
    /// What it will be made of.
    Unused(Arc<FileSystemSpec>),
    /// In use.
    Made(Box<FileSystem>),
}

impl Files {
    pub(super) fn get(&mut self) -> &mut FileSystem {
        if let Files::Unused(spec) = self {
            *self = Files::Made(Box::new(FileSystem::new(spec)));
        }
        match self {
            Files::Made(files) => files,
            Files::Unused(_) => unreachable!("it was made in the line above"),
        }
    }

    /// What it did since this was last asked, see `FileSystem::take_steps`.
    pub(super) fn take_steps(&mut self) -> u64 {
        match self {
            Files::Made(files) => files.take_steps(),
            Files::Unused(_) => 0,
        }
    }

    /// What was read from files and written to them so far.
    pub(super) fn moved(&self) -> Moved {
        match self {
            Files::Made(files) => files.moved(),
            Files::Unused(_) => Moved::default(),
        }
    }

    /// The file system, made now if it was never used.
    pub(super) fn into_inner(mut self) -> FileSystem {
        self.get();
        match self {
            Files::Made(files) => *files,
            Files::Unused(_) => unreachable!("it was made in the line above"),
        }
    }
}

impl Guest {
    /// Bytes that went into and out of the guest so far, its streams included.
    pub(super) fn moved(&self) -> Moved {
        let files = self.files.moved();
        Moved {
            // It is read from its start to its end, without a way back.
            read_bytes: files.read_bytes + self.stdin.position,
            written_bytes: files.written_bytes + self.stdout.len() + self.stderr.len(),
        }
    }

    /// Fuel used until now, the current host call included.
    pub(super) fn fuel_used(&self) -> u64 {
        self.meter.used()
    }
}
