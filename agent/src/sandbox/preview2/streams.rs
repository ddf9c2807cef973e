//! `wasi:io/streams`: the three streams and those over files. Nothing in them waits.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::{error, streams};

use super::{MAX_TRANSFER_BYTES, errors::failed, poll::Pollable};
use crate::{
    filesystem::{FsError, NodeId},
    profile::price,
    sandbox::Guest,
};

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
        self.read_stream(&stream, len)
    }

    async fn blocking_read(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        self.read_stream(&stream, len)
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        self.read_stream(&stream, len).map(|bytes| bytes.len() as u64)
    }

    async fn blocking_skip(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        self.read_stream(&stream, len).map(|bytes| bytes.len() as u64)
    }

    fn subscribe(
        &mut self,
        _: Resource<DynInputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        self.resources.push(Pollable::Ready)
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        match self.resources.remove(&stream)? {
            Input::Stdin => {}
            Input::File(node, _) => self.files.get().release(node),
        }
        Ok(())
    }
}

impl streams::HostOutputStream for Guest {
    fn check_write(&mut self, _: Resource<DynOutputStream>) -> StreamResult<u64> {
        self.meter.charge(price::CALL);
        Ok(MAX_TRANSFER_BYTES as u64)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.write_stream(&stream, &bytes, MAX_TRANSFER_BYTES)
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.write_stream(&stream, &bytes, MAX_FLUSHED_BYTES)
    }

    fn flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        self.meter.charge(price::CALL);
        Ok(())
    }

    async fn blocking_flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        self.meter.charge(price::CALL);
        Ok(())
    }

    fn subscribe(
        &mut self,
        _: Resource<DynOutputStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        self.resources.push(Pollable::Ready)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.write_zeroes_within(&stream, len, MAX_TRANSFER_BYTES)
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        self.write_zeroes_within(&stream, len, MAX_FLUSHED_BYTES)
    }

    fn splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let bytes = self.read_stream(&from, len)?;
        self.write_stream(&stream, &bytes, MAX_TRANSFER_BYTES)?;
        Ok(bytes.len() as u64)
    }

    async fn blocking_splice(
        &mut self,
        stream: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        streams::HostOutputStream::splice(self, stream, from, len)
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        match self.resources.remove(&stream)? {
            Output::Stdout | Output::Stderr => {}
            Output::File(node, _) | Output::Append(node) => self.files.get().release(node),
        }
        Ok(())
    }
}

impl Guest {
    /// Reads at most `len` bytes, as many as there are and one call moves.
    ///
    /// # Errors
    /// `Closed` at the end.
    fn read_stream(
        &mut self,
        stream: &Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        self.meter.charge(price::FILE_CALL);
        let input = *self.resources.get(stream).map_err(StreamError::Trap)?;
        let left = match input {
            Input::Stdin => self.stdin.view.len().saturating_sub(self.stdin.position),
            Input::File(node, position) => {
                self.files.get().stat(node).size_bytes.saturating_sub(position)
            }
        };
        if len == 0 {
            return Ok(Vec::new());
        }
        if left == 0 {
            return Err(StreamError::Closed);
        }
        let mut bytes = vec![0; len.min(left).min(MAX_TRANSFER_BYTES as u64) as usize];
        let read = match input {
            Input::Stdin => {
                self.stdin.view.read_at(self.stdin.position, &mut bytes).map_err(FsError::Disk)
            }
            Input::File(node, position) => self.files.get().read(node, position, &mut bytes),
        };
        let read = read.map_err(failed)?;
        bytes.truncate(read);
        self.meter.charge(price::copied(read));
        match self.resources.get_mut(stream).map_err(StreamError::Trap)? {
            Input::Stdin => self.stdin.position += read as u64,
            Input::File(_, position) => *position += read as u64,
        }
        Ok(bytes)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Ends the guest where those are more than it was told that it may write.
    fn write_stream(
        &mut self,
        stream: &Resource<DynOutputStream>,
        bytes: &[u8],
        most: usize,
    ) -> StreamResult<()> {
        self.meter.charge(price::FILE_CALL + price::copied(bytes.len()));
        if bytes.len() > most {
            let text = format!("it writes {} bytes at once where {most} fit", bytes.len());
            return Err(StreamError::Trap(wasmtime::Error::msg(text)));
        }
        let output = self.resources.get_mut(stream).map_err(StreamError::Trap)?;
        match output {
            Output::Stdout => {
                self.stdout.append(bytes).map_err(|over| StreamError::Trap(over.into()))
            }
            Output::Stderr => {
                self.stderr.append(bytes).map_err(|over| StreamError::Trap(over.into()))
            }
            Output::File(node, position) => {
                self.files.get().write(*node, *position, bytes).map_err(failed)?;
                *position += bytes.len() as u64;
                Ok(())
            }
            Output::Append(node) => {
                let files = self.files.get();
                let end = files.stat(*node).size_bytes;
                files.write(*node, end, bytes).map_err(failed)
            }
        }
    }

    fn write_zeroes_within(
        &mut self,
        stream: &Resource<DynOutputStream>,
        len: u64,
        most: usize,
    ) -> StreamResult<()> {
        // One more than fits is refused as any number is.
        let len = len.min(most as u64 + 1) as usize;
        self.write_stream(stream, &vec![0; len], most)
    }
}
