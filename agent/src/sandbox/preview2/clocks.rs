//! `wasi:clocks`: the guest's own clock, see `sandbox/clock.rs`.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynPollable,
    bindings::clocks::{
        monotonic_clock,
        wall_clock::{self, Datetime},
    },
};

use super::poll::Pollable;
use crate::{
    profile::{CLOCK_RESOLUTION_NS, price},
    sandbox::Guest,
};

const NS_PER_SECOND: u64 = 1_000_000_000;

impl monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.meter.charge(price::CALL);
        Ok(self.monotonic_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.meter.charge(price::CALL);
        Ok(CLOCK_RESOLUTION_NS)
    }

    fn subscribe_instant(&mut self, when_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        self.resources.push(Pollable::At(when_ns))
    }

    fn subscribe_duration(&mut self, ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.meter.charge(price::CALL);
        let when_ns = self.monotonic_ns().saturating_add(ns);
        self.resources.push(Pollable::At(when_ns))
    }
}

impl wall_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        self.meter.charge(price::CALL);
        Ok(datetime(self.clock.realtime_ns(self.fuel_used())))
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        self.meter.charge(price::CALL);
        Ok(datetime(CLOCK_RESOLUTION_NS))
    }
}

impl Guest {
    pub(super) fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns(self.fuel_used())
    }
}

/// Nanoseconds since 1970 as preview 2 has them.
pub(super) fn datetime(ns: u64) -> Datetime {
    Datetime { seconds: ns / NS_PER_SECOND, nanoseconds: (ns % NS_PER_SECOND) as u32 }
}

/// The other way round; nothing where it does not fit, some 580 years from 1970.
pub(super) fn nanoseconds(time: Datetime) -> Option<u64> {
    time.seconds.checked_mul(NS_PER_SECOND)?.checked_add(time.nanoseconds.into())
}
