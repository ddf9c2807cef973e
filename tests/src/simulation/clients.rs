//! Clients: they submit, send again what was not answered, cancel, and read; and they remember what
//! they were told, because it must never change.

use std::{collections::BTreeMap, fmt};

use weir_master::control::{Answer, Control, Event, Refusal};
use weir_proto::{
    digest::Digest,
    id::{JobId, StageId},
    outcome::Outcome,
    page::{Page, TaskResult},
};
use weir_scheduler::state::{ClusterState, JobLife, MAX_AGENT_LOSSES};

use super::{
    Fact, Variant,
    history::{CallId, RequestTold, Shown},
    names::NameCall,
    observer::{self, digest_of, verdict_result},
    workload::{self, Plan},
    world::{Happening, World, trace},
};

/// How many tasks a client looks at in one reading.
const TASKS_READ: usize = 6;

/// What a client asks of the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Submit,
    /// The same request, although it was answered.
    SubmitAgain,
    Cancel,
}

/// What it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Submitted(JobId),
    Cancelled,
    TryAgain,
}

/// A question to a master that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Client {
        job: usize,
        ask: Ask,
        call: CallId,
    },
    /// About a name.
    Name(NameCall),
    Read(Look),
    /// This machine is to become a master.
    Join {
        host: usize,
    },
    /// A yes is worth counting.
    Operation(Fact),
    /// Whatever the answer is.
    Other,
}

/// Somebody looks at a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    job: usize,
    tasks: Vec<u32>,
    /// Everything up to this log entry was committed when it was asked.
    floor: u64,
    /// What the client had learnt by then.
    learnt: u64,
    call: CallId,
}

/// Whoever waits for one job, and what it was told.
pub(super) struct Client {
    pub(super) plan: Plan,
    pub(super) told: Option<JobId>,
    /// The master that it asks next.
    master: usize,
    cancel: Cancel,
    ended: Option<JobLife>,
    done: u32,
    /// Counts up whenever the client learns something.
    learnt: u64,
    results: BTreeMap<u32, Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    NotAsked,
    Asked,
    Told,
}

impl Client {
    pub(super) fn new(plan: Plan) -> Client {
        Client {
            plan,
            told: None,
            master: 0,
            cancel: Cancel::NotAsked,
            ended: None,
            done: 0,
            learnt: 0,
            results: BTreeMap::new(),
        }
    }

    /// Its job has ended, and nothing it asked is open.
    pub(super) fn is_content(&self) -> bool {
        self.ended.is_some() && self.cancel != Cancel::Asked
    }

    /// What it was told about its job holds in this state.
    pub(super) fn check_job(&self, state: &ClusterState) {
        let Some(told) = self.told else { return };
        let job = state.requests.get(&self.plan.request);
        assert_eq!(job, Some(&told), "a client was told {told} for its request");
        let spec = &state.jobs[&told].spec;
        assert_eq!(**spec, self.plan.spec, "{told} is what the client submitted");
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.plan.spec.stages[0].count;
        write!(f, "{:?} of {count} tasks, {} done, {:?}", self.told, self.done, self.cancel)
    }
}

impl World {
    pub(super) fn client_asks(&mut self, job: usize, ask: Ask) {
        let client = &mut self.clients[job];
        match ask {
            Ask::Submit if client.told.is_some() => return,
            Ask::Cancel if client.cancel == Cancel::Told => return,
            Ask::Cancel => client.cancel = Cancel::Asked,
            Ask::Submit => {}
            Ask::SubmitAgain => self.counts.add(Fact::ResentRequest, 1),
        }
        if ask != Ask::SubmitAgain {
            let patience_us = self.random.between(300_000, 3_000_000);
            self.after(patience_us, Happening::ClientAsks { job, ask });
        }
        let told = match ask {
            Ask::Submit | Ask::SubmitAgain => RequestTold::Submitted,
            Ask::Cancel => RequestTold::Cancelled,
        };
        let call = self.history.request_asked(job, told);
        let lost = self.goes_wrong(20);
        let master = self.clients[job].master;
        self.clients[job].master = self.whom_to_ask(master);
        if self.masters[master].control.is_some() && !lost {
            let (boot, delay_us) = (self.masters[master].boot, self.message_delay_us());
            self.after(delay_us, Happening::Asked { boot, job, ask, call });
        }
    }

    /// A master has an answer for a client, which may be lost on its way.
    pub(super) fn answer_client(
        &mut self,
        master: usize,
        (job, call): (usize, CallId),
        ask: Ask,
        answer: Answer,
    ) {
        let reply = match (ask, answer) {
            (_, Err(Refusal::NotLeader(_) | Refusal::Busy)) => Reply::TryAgain,
            (_, Err(why)) => panic!("client {job} is refused {ask:?}: {why}"),
            (Ask::Submit | Ask::SubmitAgain, Ok(id)) => {
                Reply::Submitted(id.expect("a submission makes a job"))
            }
            (Ask::Cancel, Ok(_)) => {
                let id = self.clients[job].told.expect("what is cancelled was told");
                let state = self.masters[master].control.as_ref().map(|control| control.state());
                let ended = state.and_then(|state| state.jobs.get(&id)).map(|job| !job.is_active());
                assert_eq!(ended, Some(true), "{id} goes on although it was cancelled");
                Reply::Cancelled
            }
        };
        if !(self.goes_wrong(20)) {
            let delay_us = self.message_delay_us();
            self.after(delay_us, Happening::ClientHears { job, reply, call });
        }
    }

    pub(super) fn client_hears(&mut self, job: usize, reply: Reply, call: CallId) {
        trace!(self, "client {job} hears {reply:?}");
        let client = &mut self.clients[job];
        client.learnt += 1;
        match reply {
            Reply::TryAgain => {}
            Reply::Cancelled => {
                self.history.request_told(job, call, RequestTold::Cancelled);
                client.cancel = Cancel::Told;
                self.counts.add(Fact::Cancelled, 1);
            }
            Reply::Submitted(id) => {
                self.history.request_told(job, call, RequestTold::Submitted);
                let first = *client.told.get_or_insert(id);
                assert_eq!(id, first, "client {job} was told another job for its request");
                if let Some(after_us) = client.plan.cancel_after_us.take() {
                    self.after(after_us, Happening::ClientAsks { job, ask: Ask::Cancel });
                }
                if self.goes_wrong(3) {
                    let after_us = self.random.mostly_short(100, 5_000_000);
                    self.after(after_us, Happening::ClientAsks { job, ask: Ask::SubmitAgain });
                }
            }
        }
    }

    /// Somebody looks at a job and at some of its results.
    pub(super) fn client_reads(&mut self) {
        let next_us = self.random.mostly_short(50_000, 4_000_000);
        self.after(next_us, Happening::ClientReads);
        let waiting = (0..self.clients.len()).filter(|job| !self.clients[*job].is_content());
        let waiting: Vec<usize> = waiting.collect();
        // In the end whoever waits for a job looks at that.
        let job = match self.is_faulty() || waiting.is_empty() {
            true => self.random.index(self.clients.len()),
            false => self.random.pick(&waiting),
        };
        let count = self.clients[job].plan.spec.stages[0].count;
        let tasks: Vec<u32> =
            (0..TASKS_READ).map(|_| self.random.index(count as usize) as u32).collect();
        let master = self.random.index(self.masters.len());
        if self.masters[master].control.is_none() {
            return;
        }
        let (learnt, floor) = (self.clients[job].learnt, observer::newest());
        let call = self.history.request_asked(job, RequestTold::Shown(None));
        let look = Look { job, tasks, floor, learnt, call };
        if self.variant == Variant::StaleReads && self.is_faulty() {
            // It is to be found by what clients are told, and by nothing else.
            return self.show(master, &look);
        }
        self.ask(master, Question::Read(look), Event::Read);
    }

    /// What a client is shown of its request goes into the history.
    fn show(&mut self, master: usize, look: &Look) {
        let Some(control) = &self.masters[master].control else { return };
        let state = control.state();
        let job = state.requests.get(&self.clients[look.job].plan.request);
        let job = job.and_then(|job| state.jobs.get(job));
        let shown = Shown {
            is_job: job.is_some(),
            done: job.map_or(0, |job| job.stages[0].done.len()),
            has_ended: job.is_some_and(|job| !job.is_active()),
        };
        self.history.request_told(look.job, look.call, RequestTold::Shown(Some(shown)));
    }

    /// A master says that its state shows everything that was committed when it was asked.
    pub(super) fn reads(&mut self, master: usize, look: &Look) {
        let state = self.masters[master].control.as_ref().map(Control::state);
        let applied = state.map_or(0, |state| state.applied);
        self.show(master, look);
        let floor = look.floor;
        assert!(applied >= floor, "a read saw {applied}, and {floor} was committed before it");
        self.counts.add(Fact::Read, 1);
        if !self.masters[master].leads() {
            self.counts.add(Fact::FollowerRead, 1);
        }
        // What was learnt while the answer was on its way may be newer than the answer.
        if self.clients[look.job].learnt == look.learnt {
            self.read(master, look.job, look.tasks.iter().copied());
        }
    }

    /// Reads a whole job, which has ended.
    pub(super) fn read_all(&mut self, master: usize, job: usize) {
        let count = self.clients[job].plan.spec.stages[0].count;
        self.read(master, job, 0..count);
        assert_eq!(self.clients[job].done, count, "client {job}'s job has ended");
        assert_eq!(self.clients[job].results.len(), count as usize);
    }

    fn read(&mut self, master: usize, job: usize, tasks: impl Iterator<Item = u32>) {
        let (client, master) = (&mut self.clients[job], &self.masters[master]);
        let state = master.control.as_ref().map(Control::state);
        let (Some(id), Some(state)) = (client.told, state) else { return };
        client.check_job(state);
        client.learnt += 1;
        let body = &state.jobs[&id];
        let stage = &body.stages[0];
        assert!(stage.done.len() >= client.done, "{id} has fewer results than a client saw");
        client.done = stage.done.len();
        if let Some(told) = client.ended {
            assert_eq!(body.life, told, "{id} ended otherwise than a client was told");
        }
        client.ended = Some(body.life).filter(|life| matches!(life, JobLife::Ended { .. }));
        let id = StageId { job: id, stage: 0 };
        for index in tasks {
            let found = find_result(state, id, index, |digest| master.page(digest));
            let told = client.results.get(&index);
            let Some(result) = found else {
                assert_eq!(told, None, "{} had a result", id.task(index));
                continue;
            };
            check_expected(client, id, index, &result);
            let digest = digest_of(id, index, result);
            assert!(told.is_none_or(|told| *told == digest), "{}'s changed", id.task(index));
            client.results.insert(index, digest);
        }
    }
}

/// The result of a task as a client gets it: from the page that state names, or a verdict.
fn find_result<'a>(
    state: &ClusterState,
    id: StageId,
    index: u32,
    page: impl Fn(Digest) -> Option<&'a [u8]>,
) -> Option<TaskResult> {
    let (stage, _) = state.stage(id)?;
    if let Some(entry) = stage.pages.iter().find(|page| page.accepted.contains(index)) {
        let bytes = page(entry.digest).expect("a page that state names can be read");
        let page = Page::decode(bytes).expect("a kept page decodes");
        return page.result(index).cloned();
    }
    let holds = |range: weir_proto::range::TaskRange| (range.start..range.end).contains(&index);
    let verdict = stage.verdicts.iter().find(|verdict| holds(verdict.range))?;
    Some(verdict_result(&verdict.outcome))
}

/// A result is what the task computes wherever it runs, or a verdict that there is a reason for.
fn check_expected(client: &Client, id: StageId, index: u32, result: &TaskResult) {
    let task = id.task(index);
    match &result.outcome {
        Outcome::Cancelled => {
            assert_ne!(client.cancel, Cancel::NotAsked, "{task} was cancelled by nobody");
        }
        Outcome::AgentLostTooOften { losses } => {
            let once = client.plan.spec.stages[0].once;
            assert_eq!(*losses, if once { 1 } else { MAX_AGENT_LOSSES }, "{task}");
        }
        _ => {
            let spec = &client.plan.spec.stages[0];
            let expected = workload::result(spec, index, result.usage.wall_us);
            assert_eq!(*result, expected, "{task} has the result of another");
        }
    }
}
