//! What clients asked and were told, in order, and whether it could have come from one master that
//! does one thing at a time: for each name and each request by itself.

use std::fmt::Debug;

use weir_proto::digest::Digest;

use super::linearizable::{Call, Model, is_linearizable};

/// What a name points at, if there is one.
pub(super) type Target = Option<Digest>;

/// All that clients asked.
#[derive(Default)]
pub(super) struct History {
    last: u64,
    names: Vec<Vec<Call<NameTold>>>,
    requests: Vec<Vec<Call<RequestTold>>>,
}

/// A call about a name or a request that may be answered: its number among those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallId(usize);

/// What a client asked about a name, and was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameTold {
    /// To point at something, or at nothing, if it points where it is expected to.
    Set { to: Target, expected: Option<Target>, answer: Option<Set> },
    /// Where it points; nothing before there is an answer.
    Points(Option<Target>),
}

/// What became of setting a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Done,
    /// It points here, which was not expected.
    Conflict(Target),
    /// There is none to be removed.
    Unknown,
}

/// What a client asked about its request, and was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestTold {
    /// It is a job now.
    Submitted,
    /// Its job has ended.
    Cancelled,
    /// What a read shows; nothing before there is an answer.
    Shown(Option<Shown>),
}

/// What a read shows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// It has a job.
    pub(super) is_job: bool,
    /// So many of its tasks are done.
    pub(super) done: u32,
    /// It has ended.
    pub(super) has_ended: bool,
}

impl History {
    /// A client asks about a name.
    pub(super) fn name_asked(&mut self, name: usize, told: NameTold) -> CallId {
        self.last += 1;
        begin(&mut self.names, name, told, self.last)
    }

    /// It is told something.
    pub(super) fn name_told(&mut self, name: usize, call: CallId, told: NameTold) {
        self.last += 1;
        end(&mut self.names[name][call.0], told, self.last);
    }

    /// A client asks about a request.
    pub(super) fn request_asked(&mut self, request: usize, told: RequestTold) -> CallId {
        self.last += 1;
        begin(&mut self.requests, request, told, self.last)
    }

    /// It is told something.
    pub(super) fn request_told(&mut self, request: usize, call: CallId, told: RequestTold) {
        self.last += 1;
        end(&mut self.requests[request][call.0], told, self.last);
    }

    /// What a name was last said to point at, as far as clients know.
    pub(super) fn last_seen(&self, name: usize) -> Target {
        let calls = self.names.get(name).into_iter().flatten();
        let told = calls.filter(|call| call.ended.is_some()).max_by_key(|call| call.ended);
        match told?.told {
            NameTold::Points(target) => target.flatten(),
            NameTold::Set { to, answer: Some(Set::Done), .. } => to,
            NameTold::Set { answer: Some(Set::Conflict(points_at)), .. } => points_at,
            NameTold::Set { .. } => None,
        }
    }

    /// # Panics
    /// When no order of the calls explains what clients were told.
    pub(super) fn check(&self) {
        self.names.iter().for_each(|calls| check::<Points>("a name", calls));
        self.requests.iter().for_each(|calls| check::<Request>("a request", calls));
    }
}

fn begin<O>(histories: &mut Vec<Vec<Call<O>>>, key: usize, told: O, began: u64) -> CallId {
    if histories.len() <= key {
        histories.resize_with(key + 1, Vec::new);
    }
    histories[key].push(Call { told, began, ended: None });
    CallId(histories[key].len() - 1)
}

/// An answer that comes again says nothing new.
fn end<O>(call: &mut Call<O>, told: O, ended: u64) {
    if call.ended.is_none() {
        *call = Call { told, ended: Some(ended), ..*call };
    }
}

fn check<M: Model>(of: &str, calls: &[Call<M::Told>])
where
    M::Told: Debug,
{
    assert!(is_linearizable::<M>(calls), "what was told of {of} is not linearizable: {calls:#?}");
}

/// Where a name points.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Points(Target);

impl Model for Points {
    type Told = NameTold;

    fn after(&self, told: &NameTold) -> Option<Points> {
        let (to, expected, answer) = match *told {
            NameTold::Points(None) => return Some(self.clone()),
            NameTold::Points(Some(target)) => return (target == self.0).then(|| self.clone()),
            NameTold::Set { to, expected, answer } => (to, expected, answer),
        };
        let done = if to.is_some() && to == self.0 {
            Set::Done
        } else if expected.is_some_and(|expected| expected != self.0) {
            Set::Conflict(self.0)
        } else if to == self.0 {
            Set::Unknown
        } else {
            Set::Done
        };
        let after = if done == Set::Done { Points(to) } else { self.clone() };
        answer.is_none_or(|answer| answer == done).then_some(after)
    }

    fn only_looks(told: &NameTold) -> bool {
        match told {
            NameTold::Points(_) => true,
            NameTold::Set { answer, .. } => answer.is_some_and(|answer| answer != Set::Done),
        }
    }
}

/// What has become of a request. Tasks end by themselves, so what is shown only grows.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Request {
    is_job: bool,
    done: u32,
    /// It was cancelled, or shown as ended.
    has_ended: bool,
}

impl Model for Request {
    type Told = RequestTold;

    fn after(&self, told: &RequestTold) -> Option<Request> {
        let mut after = self.clone();
        match *told {
            RequestTold::Submitted => after.is_job = true,
            RequestTold::Cancelled => after.has_ended = true,
            RequestTold::Shown(None) => {}
            RequestTold::Shown(Some(shown)) => {
                let older = shown.is_job != self.is_job
                    || shown.done < self.done
                    || (self.has_ended && !shown.has_ended);
                if older {
                    return None;
                }
                (after.done, after.has_ended) = (shown.done, shown.has_ended);
            }
        }
        Some(after)
    }

    /// Nothing is ever taken back.
    fn only_looks(_told: &RequestTold) -> bool {
        true
    }
}
