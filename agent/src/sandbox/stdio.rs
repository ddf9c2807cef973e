//! What a guest writes to stdout or stderr: kept in memory up to a limit, readable while it runs.
//!
//! Going over the limit ends the attempt at that write; what fitted stays. Next: `limiter`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};
use weir_proto::outcome::Exceeded;

/// Most bytes that Wasmtime may hand over in one write.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// One stream's bytes; clones share them.
#[derive(Debug, Clone)]
pub struct OutputBuffer {
    shared: Arc<Mutex<Written>>,
}

#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    limit: u64,
    exceeded: Option<Exceeded>,
}

/// Why a write ended the attempt.
#[derive(Debug, thiserror::Error)]
#[error("wrote {} of {} bytes of output", .0.used, .0.limit)]
struct OverLimit(Exceeded);

impl OutputBuffer {
    /// An empty stream that takes `limit` bytes.
    pub fn new(limit: u64) -> OutputBuffer {
        let written = Written { bytes: Vec::new(), limit, exceeded: None };
        OutputBuffer { shared: Arc::new(Mutex::new(written)) }
    }

    /// At most `most` bytes from `offset` on, of those written so far.
    pub fn read_from(&self, offset: u64, most: usize) -> Vec<u8> {
        let written = self.lock();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(written.bytes.len());
        let to = from.saturating_add(most).min(written.bytes.len());
        written.bytes[from..to].to_vec()
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> u64 {
        self.lock().bytes.len() as u64
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the bytes out; for when the guest has ended.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().bytes)
    }

    /// What the guest tried to write, if that was more than the limit.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        self.lock().exceeded
    }

    fn append(&self, bytes: &[u8]) -> Result<(), OverLimit> {
        let mut written = self.lock();
        let used = written.bytes.len() as u64 + bytes.len() as u64;
        let limit = written.limit;
        if used <= limit {
            written.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        let room = (limit - written.bytes.len() as u64) as usize;
        written.bytes.extend_from_slice(&bytes[..room]);
        let exceeded = Exceeded { used, limit };
        written.exceeded = Some(exceeded);
        Err(OverLimit(exceeded))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        // Bytes are bytes, whoever panicked while holding them.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for OutputBuffer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputBuffer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for OutputBuffer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for OutputBuffer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes).map_err(|over| StreamError::Trap(over.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

impl AsyncWrite for OutputBuffer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let all = self.append(bytes).map(|()| bytes.len());
        Poll::Ready(all.map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_by_offset_while_it_grows() {
        let output = OutputBuffer::new(10);
        output.append(b"hello").expect("room");
        assert_eq!(output.read_from(1, 3), b"ell");
        output.append(b"you").expect("room");
        assert_eq!(output.read_from(4, 99), b"oyou");
        assert_eq!(output.read_from(99, 99), b"");
    }

    #[test]
    fn what_fitted_stays_when_a_write_goes_over() {
        let output = OutputBuffer::new(7);
        output.append(b"hello").expect("room");
        output.append(b"world").expect_err("no room");
        assert_eq!(output.exceeded(), Some(Exceeded { used: 10, limit: 7 }));
        assert_eq!(output.take(), b"hellowo");
    }
}
