//! `wasi:io/streams`: the three streams and those over files, in which nothing waits, and those of the
//! network, in which much does. Next: `streams/own.rs` and `streams/library.rs`, what is done on each.

mod library;
mod own;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::{
    error,
    streams::{self, HostInputStream as _},
};

use super::{MAX_TRANSFER_BYTES, poll::Pollable};
use crate::{filesystem::NodeId, profile::price, sandbox::Guest};

/// Most bytes of a write that also flushes, as WASI has it.
const MAX_FLUSHED_BYTES: usize = 4096;

/// A stream that the guest reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// All of these share one position.
    Stdin,
    /// A file that is held open, from here on.
    File(NodeId, u64),
}

/// A stream that the guest writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    Stderr,
    /// A file that is held open, from here on.
    File(NodeId, u64),
    /// The end of such a file, wherever that is at each write.
    Append(NodeId),
    /// Nothing any more: a write has failed.
    Closed,
}

impl Output {
    /// # Errors
    /// `Closed` once a write has failed.
    fn check_open(self) -> StreamResult<()> {
        match self {
            Output::Closed => Err(StreamError::Closed),
            Output::Stdout | Output::Stderr | Output::File(..) | Output::Append(_) => Ok(()),
        }
    }
}

impl streams::Host for Guest {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                Ok(streams::StreamError::LastOperationFailed(self.resources.push(error)?))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl error::Host for Guest {}

impl error::HostError for Guest {
    fn to_debug_string(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<String> {
        let error: &wasmtime::Error = self.resources.get(&error)?;
        let text = error.to_string();
        self.meter.charge(price::CALL + price::copied(text.len()));
        Ok(text)
    }

    fn drop(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        self.resources.remove::<wasmtime::Error, _>(&error)?;
        Ok(())
    }
}

impl streams::HostInputStream for Guest {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        match self.own_input(&stream) {
            Some(_) => self.read_own(&stream, len),
            None => self.read_library(stream, len),
        }
    }

    async fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        match self.own_input(&stream) {
            Some(_) => self.read_own(&stream, len),
            None => self.blocking_read_library(stream, len).await,
        }
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        self.read(stream, len).map(|bytes| bytes.len() as u64)
    }

    async fn blocking_skip(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.blocking_read(stream, len).await.map(|bytes| bytes.len() as u64)
    }

    fn subscribe(
        &mut self,
        stream: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        match self.own_input(&stream) {
            Some(_) => self.resources.push(Pollable::Ready),
            None => streams::HostInputStream::subscribe(&mut self.resources.table, stream),
        }
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        match self.own_input(&stream) {
            Some(input) => {
                self.resources.remove::<Input, _>(&stream)?;
                match input {
                    Input::Stdin => {}
                    Input::File(node, _) => self.files.get().release(node),
                }
                Ok(())
            }
            None => streams::HostInputStream::drop(&mut self.resources.table, stream).await,
        }
    }
}

impl streams::HostOutputStream for Guest {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        match self.own_output(&stream) {
            Some(output) => {
                self.meter.charge(price::CALL);
                output.check_open()?;
                Ok(MAX_TRANSFER_BYTES as u64)
            }
            None => self.check_write_library(stream),
        }
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        match self.own_output(&stream) {
            Some(_) => self.write_own(&stream, &bytes, MAX_TRANSFER_BYTES),
            None => self.write_library(stream, bytes),
        }
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        match self.own_output(&stream) {
            Some(_) => self.write_own(&stream, &bytes, MAX_FLUSHED_BYTES),
            None => self.write_and_flush_library(stream, bytes).await,
        }
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.meter.charge(price::CALL);
        match self.own_output(&stream) {
            Some(output) => output.check_open(),
            None => streams::HostOutputStream::flush(&mut self.resources.table, stream),
        }
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.meter.charge(price::CALL);
        match self.own_output(&stream) {
            Some(output) => output.check_open(),
            None => {
                let table = &mut self.resources.table;
                let flushed = streams::HostOutputStream::blocking_flush(table, stream);
                self.meter.wait(flushed).await
            }
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        match self.own_output(&stream) {
            Some(_) => self.resources.push(Pollable::Ready),
            None => streams::HostOutputStream::subscribe(&mut self.resources.table, stream),
        }
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        match self.own_output(&stream) {
            Some(_) => self.write_zeroes_own(&stream, len, MAX_TRANSFER_BYTES),
            None => self.write_library(stream, zeroes(len, MAX_TRANSFER_BYTES)),
        }
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        match self.own_output(&stream) {
            Some(_) => self.write_zeroes_own(&stream, len, MAX_FLUSHED_BYTES),
            None => self.write_and_flush_library(stream, zeroes(len, MAX_FLUSHED_BYTES)).await,
        }
    }

    fn splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let to = || Resource::<DynOutputStream>::new_borrow(stream.rep());
        let room = self.check_write(to())?;
        let bytes = self.read(from, len.min(room))?;
        let moved = bytes.len() as u64;
        self.write(to(), bytes)?;
        Ok(moved)
    }

    async fn blocking_splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let to = || Resource::<DynOutputStream>::new_borrow(stream.rep());
        if self.own_output(&stream).is_none() {
            let ready = self.resources.table.get_mut(&to())?.write_ready();
            self.meter.wait(ready).await?;
        }
        let room = self.check_write(to())?;
        let bytes = self.blocking_read(from, len.min(room)).await?;
        let moved = bytes.len() as u64;
        self.write(to(), bytes)?;
        Ok(moved)
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        match self.own_output(&stream) {
            Some(output) => {
                self.resources.remove::<Output, _>(&stream)?;
                match output {
                    Output::Stdout | Output::Stderr | Output::Closed => {}
                    Output::File(node, _) | Output::Append(node) => self.files.get().release(node),
                }
                Ok(())
            }
            None => streams::HostOutputStream::drop(&mut self.resources.table, stream).await,
        }
    }
}

impl Guest {
    /// The stream, if it is one of ours.
    fn own_input(&self, stream: &Resource<DynInputStream>) -> Option<Input> {
        self.resources.find(stream).copied()
    }

    /// As `own_input`.
    fn own_output(&self, stream: &Resource<DynOutputStream>) -> Option<Output> {
        self.resources.find(stream).copied()
    }
}

/// One more than fits is refused as any number is.
fn zeroes(len: u64, most: usize) -> Vec<u8> {
    vec![0; len.min(most as u64 + 1) as usize]
}
