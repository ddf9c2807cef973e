//! `wasi:random`: numbers that follow from the program key, or the machine's.
//!
//! Who asks for insecure ones gets another stream of the same generator, so that how often one kind is
//! drawn does not change the other.

use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::MAX_CALL_BYTES;
use crate::{
    profile::price,
    sandbox::{Guest, key::GuestRandom},
};

/// The generator's streams; what is secure, and preview 1, have the first.
const INSECURE_STREAM: u64 = 1;
const SEED_STREAM: u64 = 2;

impl random::Host for Guest {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = self.random_buffer(len)?;
        self.random.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.meter.charge(price::CALL + price::random(bytes.len()));
        self.random.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure::Host for Guest {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = self.random_buffer(len)?;
        self.insecure().fill(&mut bytes)?;
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.meter.charge(price::CALL + price::random(bytes.len()));
        self.insecure().fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl insecure_seed::Host for Guest {
    /// The same however often it is called.
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let mut halves = [[0; 8]; 2];
        self.meter.charge(price::CALL + price::random(16));
        let mut random = self.random.on_stream(SEED_STREAM);
        for half in &mut halves {
            random.fill(half)?;
        }
        Ok((u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])))
    }
}

impl Guest {
    fn insecure(&mut self) -> &mut GuestRandom {
        let random = &self.random;
        self.resources.insecure.get_or_insert_with(|| random.on_stream(INSECURE_STREAM))
    }

    /// Room for bytes that are paid for.
    ///
    /// # Errors
    /// When it is more than a call may move, which ends the guest: it asked for exactly so many.
    fn random_buffer(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_CALL_BYTES {
            wasmtime::bail!("it asks for {len} random bytes at once; at most {MAX_CALL_BYTES}");
        }
        self.meter.charge(price::CALL + price::random(len));
        Ok(vec![0; len])
    }
}
