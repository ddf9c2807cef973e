//! Watching a job: the last stop of a task's way.
//!
//! A watch tells every committed event once and in order, across broken connections and masters
//! that start again: it keeps the position of the last one and asks for what came after.

use std::time::Duration;

use tonic::{Code, Streaming};
use weir_proto::{id::JobId, wire};

use crate::{
    Client,
    client::JobError,
    event::{self, JobEvent, Position},
    rpc::{self, RpcError},
};

/// How often in a row a watch tries to get its connection back; about 30 s with the pauses between.
pub const WATCH_ATTEMPTS: u32 = 12;

/// What a watch shall tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Only committed events after this one; from the beginning when absent.
    pub after: Option<Position>,
    /// Also what running tasks write.
    pub live: bool,
    /// Stay until the job has ended; otherwise only what has happened.
    pub follow: bool,
}

/// Why a watch ended before its job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The connection broke, and did not come back.
    #[error(
        "the watch of {job} broke, and {attempts} tries did not bring it back; the job itself may go on"
    )]
    Broken {
        /// Of which job.
        job: JobId,
        /// How often it was tried.
        attempts: u32,
        /// What the last try said.
        source: RpcError,
    },
    /// There is nothing to watch, or the master refuses.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    job: JobId,
    options: WatchOptions,
    stream: Option<Streaming<wire::JobEvent>>,
    resume: Resume,
    ended: bool,
}

impl Client {
    /// Watches a job. Connects when the first event is asked for.
    pub fn watch(&self, job: JobId, options: WatchOptions) -> Watch {
        let resume = Resume { after: options.after, failures: 0 };
        Watch { client: self.clone(), job, options, stream: None, resume, ended: false }
    }
}

impl Watch {
    /// The next event, or none after the last. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// `Job` when there is no such job or the master refuses, `Broken` when the connection is lost
    /// for good; `position` tells where to begin again.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, WatchError> {
        while !self.ended {
            match self.next_message().await {
                Ok(Some(message)) => {
                    let (position, event) = event::from_wire(message)
                        .map_err(|m| RpcError::answer(self.client.address(), m))
                        .map_err(JobError::from)?;
                    self.ended = matches!(event, JobEvent::Ended(_));
                    if self.resume.admits(position) || self.ended {
                        return Ok(Some(event));
                    }
                }
                Ok(None) if !self.options.follow => self.ended = true,
                // A master that shuts down closes its streams without an error.
                Ok(None) => self.pause(&tonic::Status::unavailable("the watch was closed")).await?,
                Err(status) => self.pause(&status).await?,
            }
        }
        Ok(None)
    }

    /// The place of the last committed event told.
    pub fn position(&self) -> Option<Position> {
        self.resume.after
    }

    async fn next_message(&mut self) -> Result<Option<wire::JobEvent>, tonic::Status> {
        if self.stream.is_none() {
            let after = self.resume.after;
            let request = wire::WatchRequest {
                job: self.job.0,
                after: after.map(|Position { index, sub }| wire::Position { index, sub }),
                live: self.options.live,
                follow: self.options.follow,
            };
            self.stream = Some(self.client.jobs_rpc().watch(request).await?.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await,
            None => Ok(None),
        }
    }

    /// After a failure: waits until it is time to try again, or gives up.
    async fn pause(&mut self, status: &tonic::Status) -> Result<(), WatchError> {
        self.stream = None;
        let lasting = !rpc::may_pass(status) && !matches!(status.code(), Code::Unknown);
        if lasting {
            return Err(self.client.job_failed(self.job, status).into());
        }
        let Some(pause) = self.resume.failed() else {
            return Err(WatchError::Broken {
                job: self.job,
                attempts: self.resume.failures,
                source: self.client.failed(status),
            });
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Where to begin again, and how often it has been tried; no clock and no connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Resume {
    after: Option<Position>,
    failures: u32,
}

impl Resume {
    /// Whether an event is new; the position moves on to it.
    fn admits(&mut self, position: Option<Position>) -> bool {
        self.failures = 0;
        if position.is_some() && position <= self.after {
            return false;
        }
        self.after = position.or(self.after);
        true
    }

    /// Notes a failure; how long to wait before the next try, or none when it was the last.
    fn failed(&mut self) -> Option<Duration> {
        self.failures += 1;
        (self.failures < WATCH_ATTEMPTS).then(|| rpc::pause_after(self.failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, sub: u32) -> Option<Position> {
        Some(Position { index, sub })
    }

    #[test]
    fn a_repeated_event_is_told_once() {
        let mut resume = Resume::default();
        assert!(resume.admits(at(5, 0)));
        assert!(resume.admits(at(5, 1)));
        assert!(!resume.admits(at(5, 0)));
        assert!(!resume.admits(at(5, 1)));
        assert!(resume.admits(at(6, 0)));
    }

    #[test]
    fn advisory_events_do_not_move_the_position() {
        let mut resume = Resume::default();
        assert!(resume.admits(at(5, 0)));
        assert!(resume.admits(None));
        assert_eq!(resume.after, at(5, 0));
    }

    #[test]
    fn a_watch_gives_up_after_its_attempts_and_any_event_renews_them() {
        let mut resume = Resume::default();
        for _ in 1..WATCH_ATTEMPTS {
            assert!(resume.failed().is_some());
        }
        assert!(resume.failed().is_none());
        assert!(resume.admits(None));
        assert!(resume.failed().is_some());
    }
}
