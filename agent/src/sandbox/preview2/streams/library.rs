//! Streams that the library of sockets or that of HTTP made: the bytes are on the network, so their
//! blocking functions wait, until the attempt's deadline if it comes to that.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamResult};
use wasmtime_wasi_io::bindings::wasi::io::streams::{HostInputStream, HostOutputStream};

use super::super::MAX_TRANSFER_BYTES;
use crate::{profile::price, sandbox::Guest};

impl Guest {
    pub(super) fn read_library(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        self.meter.charge(price::SOCKET_CALL);
        let bytes = HostInputStream::read(&mut self.resources.table, stream, at_once(len))?;
        self.meter.charge(price::transferred(bytes.len()));
        Ok(bytes)
    }

    pub(super) async fn blocking_read_library(
        &mut self,
        stream: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<Vec<u8>> {
        self.meter.charge(price::SOCKET_CALL);
        let table = &mut self.resources.table;
        let read = HostInputStream::blocking_read(table, stream, at_once(len));
        let bytes = self.meter.wait(read).await?;
        self.meter.charge(price::transferred(bytes.len()));
        Ok(bytes)
    }

    pub(super) fn check_write_library(
        &mut self,
        stream: Resource<DynOutputStream>,
    ) -> StreamResult<u64> {
        self.meter.charge(price::SOCKET_CALL);
        HostOutputStream::check_write(&mut self.resources.table, stream).map(at_once)
    }

    pub(super) fn write_library(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.meter.charge(price::SOCKET_CALL + price::transferred(bytes.len()));
        HostOutputStream::write(&mut self.resources.table, stream, bytes)
    }

    pub(super) async fn write_and_flush_library(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.meter.charge(price::SOCKET_CALL + price::transferred(bytes.len()));
        let table = &mut self.resources.table;
        let written = HostOutputStream::blocking_write_and_flush(table, stream, bytes);
        self.meter.wait(written).await
    }
}

/// As much as one call moves.
fn at_once(len: u64) -> u64 {
    len.min(MAX_TRANSFER_BYTES as u64)
}
