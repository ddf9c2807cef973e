//! `wasi:io/poll`: waits for the first of some events.
//!
//! As in preview 1, files and streams are always ready. So a guest only ever waits for its clock, and
//! where that is virtual, it waits for nothing: the clock moves on to the earliest time asked for.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::{profile::price, sandbox::Guest};

/// What a guest can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pollable {
    /// Something that is always ready.
    Ready,
    /// When the monotonic clock says so, in nanoseconds.
    At(u64),
}

impl Pollable {
    fn at_ns(self) -> u64 {
        match self {
            Pollable::Ready => 0,
            Pollable::At(ns) => ns,
        }
    }
}

impl poll::Host for Guest {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.meter.charge(price::CALL + pollables.len() as u64 * price::SUBSCRIPTION);
        let times: wasmtime::Result<Vec<u64>> =
            pollables.iter().map(|pollable| self.ready_at_ns(pollable)).collect();
        let times = times?;
        let Some(earliest) = times.iter().copied().min() else {
            wasmtime::bail!("it polls an empty list, which would never end");
        };
        let now = self.wait_until(earliest).await;
        let ready = (0..).zip(times).filter(|(_, time)| *time <= now);
        Ok(ready.map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for Guest {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.meter.charge(price::CALL);
        Ok(self.ready_at_ns(&pollable)? <= self.monotonic_ns())
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        let time = self.ready_at_ns(&pollable)?;
        self.wait_until(time).await;
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        self.resources.remove::<Pollable, _>(&pollable)?;
        Ok(())
    }
}

impl Guest {
    fn ready_at_ns(&self, pollable: &Resource<DynPollable>) -> wasmtime::Result<u64> {
        self.resources.get(pollable).map(|pollable: &Pollable| pollable.at_ns())
    }

    /// Waits until the monotonic clock says so; returns what it then says, at least that.
    async fn wait_until(&mut self, when_ns: u64) -> u64 {
        let now = self.monotonic_ns();
        if when_ns <= now {
            return now;
        }
        self.clock.sleep(when_ns - now).await;
        when_ns
    }
}
