//! `poll_oneoff`: waits for the first of some events.
//!
//! Files and streams are always ready. So a guest only ever waits for its clock, and where that is
//! virtual, it waits for nothing: the clock moves on to the earliest time that it asked for.

use wasmtime_wasi::p1::types::{
    Clockid, Errno, Event, EventFdReadwrite, Eventrwflags, Eventtype, Fd, Size, Subclockflags,
    Subscription, SubscriptionClock, SubscriptionU, Userdata,
};
use wiggle::{GuestMemory, GuestPtr};

use super::{descriptors::Descriptor, errno::Answer};
use crate::{profile::price, sandbox::Guest};

/// Most subscriptions of one call; more than any event loop has.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// What a subscription comes to.
enum Outcome {
    /// It is an event now.
    Ready(Event),
    /// It will be, so many nanoseconds from now.
    After(Userdata, u64),
}

impl Guest {
    pub(super) async fn poll(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: GuestPtr<Subscription>,
        events: GuestPtr<Event>,
        count: Size,
    ) -> Answer<Size> {
        if count == 0 || count > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        self.meter.charge(u64::from(count) * price::SUBSCRIPTION);
        let mut outcomes = Vec::with_capacity(count as usize);
        for subscription in subscriptions.as_array(count).iter() {
            outcomes.push(self.outcome(memory.read(subscription?)?)?);
        }
        let after = |outcome: &Outcome| match outcome {
            Outcome::Ready(_) => 0,
            Outcome::After(_, ns) => *ns,
        };
        let wait_ns = outcomes.iter().map(after).min().unwrap_or(0);
        if wait_ns > 0 {
            self.meter.wait(self.clock.sleep(wait_ns)).await;
        }
        let mut written = 0;
        for outcome in outcomes {
            let event = match outcome {
                Outcome::Ready(event) => event,
                Outcome::After(userdata, ns) if ns <= wait_ns => clock_event(userdata),
                Outcome::After(..) => continue,
            };
            memory.write(events.add(written)?, event)?;
            written += 1;
        }
        Ok(written)
    }

    fn outcome(&mut self, subscription: Subscription) -> Answer<Outcome> {
        let userdata = subscription.userdata;
        match subscription.u {
            SubscriptionU::Clock(clock) => Ok(match self.nanoseconds_until(&clock)? {
                0 => Outcome::Ready(clock_event(userdata)),
                ns => Outcome::After(userdata, ns),
            }),
            SubscriptionU::FdRead(on) => {
                Ok(Outcome::Ready(self.fd_event(userdata, Eventtype::FdRead, on.file_descriptor)))
            }
            SubscriptionU::FdWrite(on) => {
                Ok(Outcome::Ready(self.fd_event(userdata, Eventtype::FdWrite, on.file_descriptor)))
            }
        }
    }

    fn nanoseconds_until(&self, clock: &SubscriptionClock) -> Answer<u64> {
        let fuel = self.fuel_used();
        let now = match clock.id {
            Clockid::Realtime => self.clock.realtime_ns(fuel),
            Clockid::Monotonic => self.clock.monotonic_ns(fuel),
            Clockid::ProcessCputimeId | Clockid::ThreadCputimeId => {
                return Err(Errno::Notsup.into());
            }
        };
        if clock.flags.contains(Subclockflags::SUBSCRIPTION_CLOCK_ABSTIME) {
            Ok(clock.timeout.saturating_sub(now))
        } else {
            Ok(clock.timeout)
        }
    }

    /// The event of a descriptor: it is ready, or it is one that can never be, which is told in the
    /// event itself.
    fn fd_event(&mut self, userdata: Userdata, type_: Eventtype, fd: Fd) -> Event {
        let (error, nbytes) = match (self.descriptors.get(fd), type_) {
            (Ok(Descriptor::File(file)), Eventtype::FdRead) => {
                let (node, position) = (file.node, file.position);
                let size = self.files.get().stat(node).size_bytes;
                (Errno::Success, size.saturating_sub(position))
            }
            (Ok(Descriptor::Stdin), Eventtype::FdRead) => {
                (Errno::Success, self.stdin.view.len().saturating_sub(self.stdin.position))
            }
            (
                Ok(Descriptor::File(_) | Descriptor::Stdout | Descriptor::Stderr),
                Eventtype::FdWrite,
            ) => (Errno::Success, 0),
            _ => (Errno::Badf, 0),
        };
        let fd_readwrite = EventFdReadwrite { nbytes, flags: Eventrwflags::empty() };
        Event { userdata, error, type_, fd_readwrite }
    }
}

fn clock_event(userdata: Userdata) -> Event {
    let fd_readwrite = EventFdReadwrite { nbytes: 0, flags: Eventrwflags::empty() };
    Event { userdata, error: Errno::Success, type_: Eventtype::Clock, fd_readwrite }
}
