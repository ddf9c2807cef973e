//! What host calls cost, and the quantum that they are a part of. To a guest that is metered by epochs
//! they cost the time that they take, and nothing is to be done about it here.
//!
//! A host call notes what it did in `bill`; the wrapper around it takes that from the guest's fuel.
//! Setting a store's fuel restarts Wasmtime's own count to the next yield, so a guest that calls the
//! host often would never yield: the wrapper counts the quantum as well, and yields by itself.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use wasmtime::{AsContextMut, Trap};

use super::{Guest, gauge::Gauge, spent::Spent};
use crate::profile::{FUEL_PER_NANOSECOND, QUANTUM_FUEL, price};

/// The fuel of one attempt, as host calls see it.
#[derive(Debug)]
pub(crate) struct Meter {
    /// What there was at the start.
    limit: u64,
    /// What was left when the current host call began.
    left: u64,
    /// What host calls have cost since fuel was last taken.
    bill: u64,
    /// A priced host call yields when no more fuel than this is left.
    yield_at: u64,
    /// When it last rested, see `rest`.
    rested: Instant,
    /// When a component's host call began.
    called: Instant,
    /// Who shares the cores out is told what is used.
    gauge: Arc<Gauge>,
    /// Of an attempt that is metered by epochs: what it has used. Then nothing above counts.
    spent: Option<Arc<Spent>>,
}

/// How long a guest goes on, at least, that calls what costs nothing and may take long: some quanta.
const REST_AFTER: Duration = Duration::from_millis(1);

impl Meter {
    pub(super) fn new(limit: u64, spent: Option<Arc<Spent>>, gauge: Arc<Gauge>) -> Meter {
        let (yield_at, now) = (limit.saturating_sub(QUANTUM_FUEL), Instant::now());
        Meter { limit, left: limit, bill: 0, yield_at, rested: now, called: now, gauge, spent }
    }

    /// What was used of time, where that is what counts.
    pub(super) fn spent(&self) -> Option<&Arc<Spent>> {
        self.spent.as_ref()
    }

    /// Adds to what the current host call costs.
    pub(super) fn charge(&mut self, fuel: u64) {
        self.bill = self.bill.saturating_add(fuel);
    }

    /// Waits for an event outside the guest, which costs more where it has not happened yet.
    pub(super) async fn wait<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        if let Some(at_once) = poll_once(event.as_mut()).await {
            return at_once;
        }
        self.charge(price::WAIT);
        event.await
    }

    /// Whether anything is to be paid.
    pub(super) fn has_bill(&self) -> bool {
        self.bill > 0
    }

    /// Fuel used until now, what the current host call has cost so far included.
    pub(super) fn used(&self) -> u64 {
        match &self.spent {
            None => self.limit - self.left.saturating_sub(self.bill),
            Some(spent) => spent.fuel(),
        }
    }
}

/// What comes of it if it is there already.
async fn poll_once<T>(mut event: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match event.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Notes how much fuel is left when a component's host call begins, if it is not inside another.
pub(super) fn look(mut store: impl AsContextMut<Data = Guest>) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    if store.data().meter.spent.is_some() {
        return Ok(());
    }
    let left = store.get_fuel()?;
    let meter = &mut store.data_mut().meter;
    if !meter.has_bill() {
        meter.left = left;
    }
    meter.called = Instant::now();
    meter.gauge.at(meter.used());
    meter.gauge.calling(true);
    Ok(())
}

/// Notes that a host call begins, and its fixed price.
pub(super) fn enter(
    mut store: impl AsContextMut<Data = Guest>,
    price: u64,
) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    if store.data().meter.spent.is_some() {
        return Ok(());
    }
    let left = store.get_fuel()?;
    let meter = &mut store.data_mut().meter;
    meter.left = left;
    meter.gauge.at(meter.limit - left);
    meter.gauge.calling(true);
    meter.bill = price;
    Ok(())
}

/// Takes fuel for a host call, and yields if a quantum has gone since the last such yield.
///
/// # Errors
/// `OutOfFuel` when there is not enough left; what there is is taken.
pub(super) async fn settle(mut store: impl AsContextMut<Data = Guest>) -> wasmtime::Result<()> {
    let mut store = store.as_context_mut();
    if store.data().meter.spent.is_some() {
        return Ok(());
    }
    let left = store.get_fuel()?;
    let guest = store.data_mut();
    let steps = guest.files.take_steps();
    let meter = &mut guest.meter;
    meter.charge(steps.saturating_mul(price::STEP));
    let bill = std::mem::take(&mut meter.bill);
    let after = left.saturating_sub(bill);
    meter.left = after;
    meter.gauge.at(meter.limit - after);
    let yields = after <= meter.yield_at;
    if yields {
        meter.yield_at = after.saturating_sub(QUANTUM_FUEL);
    }
    store.set_fuel(after)?;
    if bill > left {
        return Err(Trap::OutOfFuel.into());
    }
    if yields {
        tokio::task::yield_now().await;
    }
    store.data().meter.gauge.calling(false);
    Ok(())
}

/// Yields if it did not for a while, by the clock: where fuel tells nothing. The guest cannot see it.
pub(super) async fn rest(mut store: impl AsContextMut<Data = Guest>) {
    let mut store = store.as_context_mut();
    let meter = &store.data().meter;
    if meter.spent.is_some() {
        return;
    }
    // To the bill it is nothing; to those who wait for this core it is what they would have used.
    let ns = u64::try_from(meter.called.elapsed().as_nanos()).unwrap_or(u64::MAX);
    meter.gauge.beside(ns.saturating_mul(FUEL_PER_NANOSECOND));
    if meter.rested.elapsed() >= REST_AFTER {
        tokio::task::yield_now().await;
        store.data_mut().meter.rested = Instant::now();
    }
    store.data().meter.gauge.calling(false);
}
