//! One client's watch of a job: what is committed after a position, then what comes.
//!
//! Everything is read from published state, so no event is missed however slow the client is; news
//! only tell when to look.

use tokio::sync::{broadcast, mpsc};
use tonic::Status;
use weir_proto::{digest::Digest, id::JobId, wire};
use weir_scheduler::state::Job;

use super::view::view;
use crate::{driver::Handle, watchers::News};

/// One client's view of a job's history.
pub(super) struct Watch {
    pub(super) master: Handle,
    pub(super) job: JobId,
    /// Of the last event sent.
    pub(super) position: wire::Position,
    /// Also output of running tasks.
    pub(super) live: bool,
    /// Stay until the job has ended.
    pub(super) follow: bool,
    pub(super) events: mpsc::Sender<Result<wire::JobEvent, Status>>,
}

/// The client has gone, or has everything.
struct Over;

impl Watch {
    pub(super) async fn run(mut self, mut news: broadcast::Receiver<News>) {
        // `Over` is how it ends, either way.
        let _over = self.follow(&mut news).await;
    }

    async fn follow(&mut self, news: &mut broadcast::Receiver<News>) -> Result<(), Over> {
        self.catch_up().await?;
        loop {
            match news.recv().await {
                Ok(News::Live(chunk)) => {
                    if self.live {
                        let body = wire::job_event::Body::Live(chunk.into());
                        self.send(wire::JobEvent { position: None, body: Some(body) }).await?;
                    }
                }
                // Live chunks may be missed; what is committed is read from the state.
                Ok(News::Changed) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.catch_up().await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Err(Over),
            }
        }
    }

    /// Sends what is committed and was not sent.
    async fn catch_up(&mut self) -> Result<(), Over> {
        let state = self.master.state();
        let Some(job) = state.jobs.get(&self.job).cloned() else {
            let gone = Status::not_found(format!("{} was forgotten", self.job));
            return self.fail(gone).await;
        };
        for (position, event) in events_after(&job, &self.position) {
            let body = match event {
                Committed::Verdict(verdict) => wire::job_event::Body::Verdict(verdict),
                Committed::Page { digest, accepted, kept } => {
                    match self.master.pages.get(&job.spec.namespace, digest).await {
                        Ok(page) => wire::job_event::Body::Page(wire::PageEvent {
                            page: page.to_vec(),
                            accepted,
                            kept,
                        }),
                        Err(error) => return self.fail(Status::data_loss(error.to_string())).await,
                    }
                }
            };
            self.position = position;
            self.send(wire::JobEvent { position: Some(position), body: Some(body) }).await?;
        }
        if !job.is_active() {
            let ended = wire::job_event::Body::Ended(view(&job));
            let position = Some(wire::Position { index: state.applied, sub: u32::MAX });
            self.send(wire::JobEvent { position, body: Some(ended) }).await?;
            return Err(Over);
        }
        if self.follow { Ok(()) } else { Err(Over) }
    }

    async fn send(&self, event: wire::JobEvent) -> Result<(), Over> {
        self.events.send(Ok(event)).await.map_err(|_| Over)
    }

    async fn fail(&self, status: Status) -> Result<(), Over> {
        // Whether the client hears it or has gone, the watch is over.
        let _gone = self.events.send(Err(status)).await;
        Err(Over)
    }
}

enum Committed {
    Page { digest: Digest, accepted: Vec<wire::Range>, kept: bool },
    Verdict(wire::Verdict),
}

/// Committed events of a job after a position, in the order of the log. `sub` counts the events of
/// one log entry.
fn events_after(job: &Job, after: &wire::Position) -> Vec<(wire::Position, Committed)> {
    let mut events = Vec::new();
    for stage in &job.stages {
        // Pages are in the order of the log: a watcher that is up to date skips all but the last.
        let from = stage.pages.binary_search_by(|page| {
            page.index.cmp(&after.index).then(std::cmp::Ordering::Greater)
        });
        let from = from.unwrap_or_else(|from| from);
        for page in stage.pages.iter().skip(from) {
            let accepted = page.accepted.to_wire();
            let committed = Committed::Page { digest: page.digest, accepted, kept: page.kept };
            events.push((page.index, committed));
        }
        for verdict in stage.verdicts.iter().filter(|verdict| verdict.index >= after.index) {
            events.push((verdict.index, Committed::Verdict(verdict.clone().into())));
        }
    }
    events.sort_by_key(|(index, _)| *index);
    let mut sub = 0;
    let mut last = 0;
    let numbered = events.into_iter().map(|(index, event)| {
        sub = if index == last { sub + 1 } else { 1 };
        last = index;
        (wire::Position { index, sub }, event)
    });
    numbered
        .filter(|(position, _)| (position.index, position.sub) > (after.index, after.sub))
        .collect()
}
