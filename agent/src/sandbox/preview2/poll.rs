//! `wasi:io/poll`: waits for the first of some events.
//!
//! As in preview 1, files and streams over them are always ready. So a guest without the network only
//! ever waits for its clock, and where that is virtual, it waits for nothing: the clock moves on to the
//! earliest time asked for. What the network makes is waited for as it comes, beside a real clock.

use std::future;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll;

use crate::{profile::price, sandbox::Guest};

/// What a guest can wait for, beside what the library of sockets and that of HTTP make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pollable {
    /// Something that is always ready.
    Ready,
    /// When the monotonic clock says so, in nanoseconds.
    At(u64),
}

/// What one poll waits for, each with its place in the list.
#[derive(Default)]
struct Awaited {
    /// When the monotonic clock says so, in nanoseconds.
    times: Vec<(u32, u64)>,
    /// What is a library's.
    places: Vec<u32>,
    library: Vec<Resource<DynPollable>>,
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
        if pollables.is_empty() {
            wasmtime::bail!("it polls an empty list, which would never end");
        }
        let mut awaited = Awaited::default();
        for (place, pollable) in (0..).zip(pollables) {
            match self.own_ready_at_ns(&pollable) {
                Some(ns) => awaited.times.push((place, ns)),
                None => {
                    awaited.places.push(place);
                    awaited.library.push(pollable);
                }
            }
        }
        let mut ready = self.wait_for_first(&mut awaited).await?;
        let now = self.monotonic_ns();
        ready.extend(awaited.times.iter().filter(|(_, ns)| *ns <= now).map(|(place, _)| place));
        ready.sort_unstable();
        Ok(ready)
    }
}

impl poll::HostPollable for Guest {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        match self.own_ready_at_ns(&pollable) {
            Some(ns) => {
                self.meter.charge(price::CALL);
                Ok(ns <= self.monotonic_ns())
            }
            None => {
                self.meter.charge(price::SOCKET_CALL);
                poll::HostPollable::ready(&mut self.resources.table, pollable).await
            }
        }
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        match self.own_ready_at_ns(&pollable) {
            Some(ns) => {
                self.meter.charge(price::CALL);
                self.wait_until(ns).await;
                Ok(())
            }
            None => {
                self.meter.charge(price::SOCKET_CALL);
                let ready = poll::HostPollable::block(&mut self.resources.table, pollable);
                self.meter.wait(ready).await
            }
        }
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.meter.charge(price::CALL);
        match self.own_ready_at_ns(&pollable) {
            Some(_) => self.resources.remove::<Pollable, _>(&pollable).map(drop),
            None => poll::HostPollable::drop(&mut self.resources.table, pollable),
        }
    }
}

impl Guest {
    /// When the monotonic clock says so, of a pollable that is ours.
    fn own_ready_at_ns(&self, pollable: &Resource<DynPollable>) -> Option<u64> {
        self.resources.find(pollable).map(|pollable: &Pollable| pollable.at_ns())
    }

    /// Waits until something is ready; returns the places of those that are a library's.
    async fn wait_for_first(&mut self, awaited: &mut Awaited) -> wasmtime::Result<Vec<u32>> {
        let earliest = awaited.times.iter().map(|(_, ns)| *ns).min();
        if awaited.library.is_empty() {
            self.wait_until(earliest.unwrap_or(0)).await;
            return Ok(Vec::new());
        }
        self.meter.charge(awaited.library.len() as u64 * price::SOCKET_CALL);
        let left_ns = earliest.map(|ns| ns.saturating_sub(self.monotonic_ns()));
        let library = std::mem::take(&mut awaited.library);
        let events = poll::Host::poll(&mut self.resources.table, library);
        let clock = &mut self.clock;
        let alarm = async {
            match left_ns {
                Some(0) => {}
                Some(ns) => clock.sleep(ns).await,
                None => future::pending().await,
            }
        };
        let first = async {
            tokio::select! {
                biased;
                ready = events => ready,
                () = alarm => Ok(Vec::new()),
            }
        };
        let ready = self.meter.wait(first).await?;
        Ok(ready.into_iter().map(|index| awaited.places[index as usize]).collect())
    }

    /// Waits until the monotonic clock says so.
    async fn wait_until(&mut self, when_ns: u64) {
        let now = self.monotonic_ns();
        if when_ns > now {
            self.meter.wait(self.clock.sleep(when_ns - now)).await;
        }
    }
}
