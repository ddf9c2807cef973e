//! Clients that point names at things and look where they point, of any master; what they were told
//! is judged at the end.

use weir_master::control::{Answer, Control, Event, Refusal};
use weir_proto::{
    command::Change,
    digest::Digest,
    id::Namespace,
    job::InputSource,
    name::{Expected, Name, SetName},
};
use weir_scheduler::apply::Rejection;

use super::{
    Fact, Variant,
    clients::Question,
    history::{CallId, NameTold, Set, Target},
    world::{Happening, World, trace},
};

/// How many names there are.
const NAMES: usize = 2;
/// Most calls about one simulation's names: more would take long to judge.
const MAX_CALLS: u32 = 60;

/// A call about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameCall {
    name: usize,
    call: CallId,
    asked: NameTold,
}

impl World {
    /// Somebody asks something about a name.
    pub(super) fn name_is_asked(&mut self) {
        self.name_calls += 1;
        if self.name_calls < MAX_CALLS {
            let next_us = self.random.mostly_short(20_000, 3_000_000);
            self.after(next_us, Happening::NameIsAsked);
        }
        let name = self.random.index(NAMES);
        let asked =
            if self.random.one_in(2) { NameTold::Points(None) } else { self.draw_set(name) };
        // Anybody answers a read; what is to change goes to the leader.
        let master = match asked {
            NameTold::Points(_) => self.random.index(self.masters.len()),
            NameTold::Set { .. } => self.whom_to_ask(0),
        };
        let call = self.history.name_asked(name, asked);
        let call = NameCall { name, call, asked };
        if self.masters[master].control.is_some() && !self.goes_wrong(20) {
            let (boot, delay_us) = (self.masters[master].boot, self.message_delay_us());
            self.after(delay_us, Happening::NameCallArrives { boot, call });
        }
    }

    fn draw_set(&mut self, name: usize) -> NameTold {
        let seen = self.history.last_seen(name);
        let new = Digest::of(&self.random.id().to_le_bytes());
        let to = self.random.pick(&[Some(new), Some(new), Some(new), seen, None]);
        let expected = self.random.pick(&[None, Some(seen), Some(seen), Some(None)]);
        NameTold::Set { to, expected, answer: None }
    }

    pub(super) fn name_call_arrives(&mut self, boot: u64, call: NameCall) {
        let Some(master) = self.running(boot) else { return };
        trace!(self, "machine {master} is asked {call:?}");
        let question = Question::Name(call);
        let NameTold::Set { to, expected, .. } = call.asked else {
            // The broken one does not ask anybody.
            return match self.variant {
                Variant::StaleReads => self.name_answered(master, call, Ok(None)),
                _ => self.ask(master, question, Event::Read),
            };
        };
        let (namespace, name) = key(call.name);
        let expected = match expected {
            None => Expected::Anything,
            Some(None) => Expected::Absent,
            Some(Some(target)) => Expected::PointsAt(InputSource::Blob(target)),
        };
        let target = to.map(InputSource::Blob);
        let change = Change::SetName(SetName { namespace, name, target, expected });
        self.ask(master, question, |ticket| Event::Client(ticket, change));
    }

    pub(super) fn name_answered(&mut self, master: usize, call: NameCall, answer: Answer) {
        let control: Option<&Control> = self.masters[master].control.as_ref();
        let told = match (call.asked, answer) {
            (NameTold::Points(_), Ok(_)) => {
                let names = control.map(|control| &control.state().names);
                let record = names.and_then(|names| names.get(&key(call.name)));
                NameTold::Points(Some(record.and_then(|record| target(record.target))))
            }
            (NameTold::Set { to, expected, .. }, Ok(_)) => {
                NameTold::Set { to, expected, answer: Some(Set::Done) }
            }
            (NameTold::Set { to, expected, .. }, Err(Refusal::Rejected(why))) => {
                let answer = Some(match why {
                    Rejection::NameConflict { points_at, .. } => {
                        Set::Conflict(points_at.and_then(target))
                    }
                    Rejection::UnknownName { .. } => Set::Unknown,
                    why => panic!("a name is refused: {why}"),
                });
                NameTold::Set { to, expected, answer }
            }
            // Whether it was done, or will be, nobody knows.
            (_, Err(_)) => return,
        };
        if !self.goes_wrong(20) {
            let delay_us = self.message_delay_us();
            self.after(delay_us, Happening::NameTold { call, told });
        }
        self.maybe_crash_after_promise(master);
    }

    pub(super) fn name_told(&mut self, call: NameCall, told: NameTold) {
        trace!(self, "{call:?} is told {told:?}");
        let fact = match told {
            NameTold::Set { answer: Some(Set::Done), .. } => Fact::NameSet,
            NameTold::Set { .. } => Fact::NameNotSet,
            NameTold::Points(_) => Fact::NameRead,
        };
        self.counts.add(fact, 1);
        self.history.name_told(call.name, call.call, told);
    }
}

fn key(name: usize) -> (Namespace, Name) {
    (Namespace::default_namespace(), format!("name-{name}").parse().expect("a valid name"))
}

fn target(source: InputSource) -> Target {
    match source {
        InputSource::Blob(digest) | InputSource::Tree(digest) => Some(digest),
    }
}
