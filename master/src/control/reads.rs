//! Reads that see all that was acknowledged before they were asked, on any master.
//!
//! A question goes to the leader, which answers with its commit index once a majority has told it
//! that it still leads (Raft dissertation §6.4); when that much is applied here, the read may look
//! at the state. One question is under way at a time; reads that come meanwhile share the next.

use super::{Action, Control, Refusal, Ticket};

/// Most reads that wait; more are refused.
const MAX_READS: usize = 8_192;
/// A question without an answer after so many ticks got lost, or there was no leader: it is asked
/// again.
const ASK_AGAIN_TICKS: u32 = 5;
/// After so many ticks whoever reads is told that there is no majority.
const PATIENCE_TICKS: u32 = 50;

/// A read, and the ticks that it has waited.
type Waiting = (Ticket, u32);

/// Reads that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    last: u64,
    /// For the next question.
    next: Vec<Waiting>,
    /// For the answer to the question of this number, asked so many ticks ago.
    asked: Option<(u64, u32, Vec<Waiting>)>,
    /// For an index to be applied.
    confirmed: Vec<(u64, Vec<Waiting>)>,
}

impl Reads {
    fn waiting(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |(_, _, reads)| reads.len());
        let confirmed = self.confirmed.iter().map(|(_, reads)| reads.len()).sum::<usize>();
        self.next.len() + asked + confirmed
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Vec<Waiting>> {
        let asked = self.asked.iter_mut().map(|(_, _, reads)| reads);
        let confirmed = self.confirmed.iter_mut().map(|(_, reads)| reads);
        std::iter::once(&mut self.next).chain(asked).chain(confirmed)
    }
}

impl Control {
    pub(super) fn read(&mut self, ticket: Ticket, actions: &mut Vec<Action>) {
        if self.reads.waiting() >= MAX_READS {
            return actions.push(Action::Answer(ticket, Err(Refusal::Busy)));
        }
        self.reads.next.push((ticket, 0));
        if self.reads.asked.is_none() {
            self.ask_for_reads();
        }
    }

    fn ask_for_reads(&mut self) {
        if self.reads.next.is_empty() {
            return;
        }
        self.reads.last += 1;
        self.reads.asked = Some((self.reads.last, 0, std::mem::take(&mut self.reads.next)));
        let context = [self.boot.to_le_bytes(), self.reads.last.to_le_bytes()].concat();
        self.node.read(context);
    }

    /// A leader has answered a question; an answer to one that was given up is for nobody.
    pub(super) fn read_confirmed(&mut self, context: &[u8], index: u64) {
        let Some((number, ..)) = &self.reads.asked else { return };
        if context == [self.boot.to_le_bytes(), number.to_le_bytes()].concat()
            && let Some((_, _, reads)) = self.reads.asked.take()
        {
            self.reads.confirmed.push((index, reads));
            self.ask_for_reads();
        }
    }

    /// Answers the reads whose index is applied.
    pub(super) fn answer_reads(&mut self, actions: &mut Vec<Action>) {
        let applied = self.state.applied;
        for (_, reads) in self.reads.confirmed.extract_if(.., |(index, _)| *index <= applied) {
            actions.extend(reads.into_iter().map(|(ticket, _)| Action::Answer(ticket, Ok(None))));
        }
    }

    pub(super) fn tick_reads(&mut self, actions: &mut Vec<Action>) {
        let leader = self.leader();
        for reads in self.reads.each() {
            reads.iter_mut().for_each(|(_, ticks)| *ticks += 1);
            for (ticket, _) in reads.extract_if(.., |(_, ticks)| *ticks > PATIENCE_TICKS) {
                let refusal = Refusal::NoMajority { leader: leader.clone() };
                actions.push(Action::Answer(ticket, Err(refusal)));
            }
        }
        if let Some((_, ticks, reads)) = &mut self.reads.asked {
            *ticks += 1;
            if *ticks >= ASK_AGAIN_TICKS {
                let mut again = std::mem::take(reads);
                again.append(&mut self.reads.next);
                self.reads.next = again;
                self.reads.asked = None;
                self.ask_for_reads();
            }
        }
    }
}
