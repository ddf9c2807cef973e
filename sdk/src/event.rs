//! What a watch tells: results, verdicts, output of running tasks, and the end.

pub use weir_proto::event::{ClusterEvent, Happened, Position};
use weir_proto::{
    agent::LiveChunk,
    malformed::Malformed,
    outcome::Outcome,
    page::{Page, TaskResult},
    range::{RangeSet, TaskRange},
    wire::{self, job_event::Body},
};

use crate::view::JobView;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// Tasks have results.
    Results(Results),
    /// The scheduler gave tasks an outcome.
    Verdict {
        /// Which tasks.
        range: TaskRange,
        /// The outcome of each.
        outcome: Outcome,
    },
    /// A running task wrote something; advisory, may be lost or repeated.
    Live(LiveChunk),
    /// No more will come.
    Ended(Box<JobView>),
}

/// The results a page brought: those of its tasks whose first result it was.
///
/// The page is private because it may hold results that do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    page: Page,
    accepted: RangeSet,
    /// Whether these are results of the job that this one is a retry of: they cost this job nothing.
    pub kept: bool,
}

impl Results {
    /// The results that count, of an agent's page.
    pub fn new(page: Page, accepted: &RangeSet, kept: bool) -> Results {
        let accepted = accepted.within(page.range());
        Results { page, accepted, kept }
    }

    /// How many tasks.
    pub fn len(&self) -> u32 {
        self.accepted.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Index and result of each task, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &TaskResult)> {
        self.accepted.iter().filter_map(|index| Some((index, self.page.result(index)?)))
    }
}

/// Reads an event, and where in the job's history it stands if it is committed.
pub(crate) fn from_wire(event: wire::JobEvent) -> Result<(Option<Position>, JobEvent), Malformed> {
    let position = event.position.map(Position::from);
    let event = match event.body.ok_or(Malformed::Missing { what: "an event's body" })? {
        Body::Page(wire::PageEvent { page, accepted, kept }) => {
            let accepted = RangeSet::from_wire(&accepted)?;
            JobEvent::Results(Results::new(Page::decode(&page)?, &accepted, kept))
        }
        Body::Verdict(wire::Verdict { range, outcome, .. }) => JobEvent::Verdict {
            range: range.ok_or(Malformed::Missing { what: "a verdict's range" })?.try_into()?,
            outcome: outcome
                .ok_or(Malformed::Missing { what: "a verdict's outcome" })?
                .try_into()?,
        },
        Body::Live(chunk) => JobEvent::Live(chunk.into()),
        Body::Ended(view) => JobEvent::Ended(Box::new(view.try_into()?)),
    };
    Ok((position, event))
}

#[cfg(test)]
mod tests {
    use weir_proto::{
        id::{JobId, StageId},
        outcome::Usage,
    };

    use super::*;

    #[test]
    fn results_that_came_second_are_not_told() {
        let ok = Outcome::Succeeded { exit_code: 0 };
        let result = TaskResult::without_output(ok, Usage::default());
        let stage = StageId { job: JobId(1), stage: 0 };
        let page = Page { stage, first: 10, results: vec![result; 5] };
        let wire = wire::JobEvent {
            position: Some(wire::Position { index: 4, sub: 1 }),
            body: Some(Body::Page(wire::PageEvent {
                page: page.encode(),
                accepted: vec![
                    wire::Range { start: 0, end: 12 },
                    wire::Range { start: 14, end: 99 },
                ],
                kept: false,
            })),
        };
        let (position, event) = from_wire(wire).expect("a valid event");
        let JobEvent::Results(results) = event else { panic!("results") };
        assert_eq!(position, Some(Position { index: 4, sub: 1 }));
        assert_eq!(results.iter().map(|(index, _)| index).collect::<Vec<_>>(), [10, 11, 14]);
        assert_eq!(results.len(), 3);
    }

    #[test]
    fn an_event_that_says_nothing_is_refused() {
        assert!(from_wire(wire::JobEvent::default()).is_err());
    }
}
