//! The three streams and those over files: their bytes are there, and nothing in them waits.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamError, StreamResult};

use super::{
    super::{MAX_TRANSFER_BYTES, errors::failed},
    Input, Output, zeroes,
};
use crate::{
    filesystem::FsError,
    profile::price,
    sandbox::{Guest, stdio::OverLimit},
};

impl Guest {
    /// Reads at most `len` bytes, as many as there are and one call moves.
    ///
    /// # Errors
    /// `Closed` at the end.
    pub(super) fn read_own(
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

    /// Writes all of `bytes`, or closes the stream.
    ///
    /// # Errors
    /// Ends the guest where those are more than it was told that it may write.
    pub(super) fn write_own(
        &mut self,
        stream: &Resource<DynOutputStream>,
        bytes: &[u8],
        most: usize,
    ) -> StreamResult<()> {
        self.meter.charge(price::FILE_CALL + price::copied(bytes.len()));
        let output: &mut Output = self.resources.get_mut(stream).map_err(StreamError::Trap)?;
        output.check_open()?;
        if bytes.len() > most {
            let text = format!("it writes {} bytes at once where {most} fit", bytes.len());
            return Err(StreamError::Trap(wasmtime::Error::msg(text)));
        }
        let (node, offset) = match output {
            Output::Stdout => return appended(self.stdout.append(bytes)),
            Output::Stderr => return appended(self.stderr.append(bytes)),
            Output::File(node, position) => (*node, *position),
            Output::Append(node) => (*node, self.files.get().stat(*node).size_bytes),
            Output::Closed => return Err(StreamError::Closed),
        };
        let files = self.files.get();
        match (files.write(node, offset, bytes), &mut *output) {
            (Ok(()), Output::File(_, position)) => *position += bytes.len() as u64,
            (Ok(()), _) => {}
            (Err(error), output) => {
                *output = Output::Closed;
                files.release(node);
                return Err(failed(error));
            }
        }
        Ok(())
    }

    pub(super) fn write_zeroes_own(
        &mut self,
        stream: &Resource<DynOutputStream>,
        len: u64,
        most: usize,
    ) -> StreamResult<()> {
        self.write_own(stream, &zeroes(len, most), most)
    }
}

/// What a write to stdout or stderr comes to: going over the limit ends the attempt.
fn appended(result: Result<(), OverLimit>) -> StreamResult<()> {
    result.map_err(|over| StreamError::Trap(over.into()))
}
