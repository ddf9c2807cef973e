//! What a guest writes to stdout or stderr: kept in memory up to a limit, readable while it runs.
//!
//! Going over the limit ends the attempt at that write; what fitted stays. Next: `limiter`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_proto::outcome::Exceeded;

/// One stream's bytes; clones share them.
#[derive(Debug, Clone)]
pub struct OutputBuffer {
    shared: Arc<Mutex<Written>>,
}

#[derive(Debug)]
struct Written {
    bytes: Vec<u8>,
    limit: u64,
}

/// Why a write ended the attempt.
#[derive(Debug, thiserror::Error)]
#[error("wrote {} of {} bytes of output", .0.used, .0.limit)]
pub(super) struct OverLimit(pub(super) Exceeded);

impl OutputBuffer {
    /// An empty stream that takes `limit` bytes.
    pub fn new(limit: u64) -> OutputBuffer {
        let written = Written { bytes: Vec::new(), limit };
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

    /// Adds what the guest wrote.
    ///
    /// # Errors
    /// `OverLimit`, which ends the attempt; what fitted is kept.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<(), OverLimit> {
        let mut written = self.lock();
        let used = written.bytes.len() as u64 + bytes.len() as u64;
        let limit = written.limit;
        if used <= limit {
            written.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        let room = (limit - written.bytes.len() as u64) as usize;
        written.bytes.extend_from_slice(&bytes[..room]);
        Err(OverLimit(Exceeded { used, limit }))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        // Bytes are bytes, whoever panicked while holding them.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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
        let OverLimit(exceeded) = output.append(b"world").expect_err("no room");
        assert_eq!(exceeded, Exceeded { used: 10, limit: 7 });
        assert_eq!(output.take(), b"hellowo");
    }
}
