//! Who waits for news of which job.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::broadcast;
use weir_proto::{agent::LiveChunk, id::JobId};

/// Live chunks a slow client may lag behind before it misses some; they are advisory.
const LIVE_BACKLOG: usize = 256;

/// News of a job.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// State about it changed.
    Changed,
    /// One of its tasks wrote something.
    Live(LiveChunk),
}

/// Subscribers by job.
#[derive(Clone, Default)]
pub(crate) struct Watchers {
    jobs: Arc<Mutex<HashMap<JobId, broadcast::Sender<News>>>>,
}

impl Watchers {
    /// News of a job from now on.
    pub(crate) fn subscribe(&self, job: JobId) -> broadcast::Receiver<News> {
        let mut jobs = self.jobs();
        // Those of jobs that nobody watches any more go whenever somebody new comes.
        jobs.retain(|_, news| news.receiver_count() > 0);
        jobs.entry(job).or_insert_with(|| broadcast::channel(LIVE_BACKLOG).0).subscribe()
    }

    /// How many subscribers there are.
    pub(crate) fn count(&self) -> usize {
        self.jobs().values().map(broadcast::Sender::receiver_count).sum()
    }

    pub(crate) fn changed(&self, job: JobId) {
        self.tell(job, || News::Changed);
    }

    pub(crate) fn live(&self, chunk: LiveChunk) {
        self.tell(chunk.task.stage.job, || News::Live(chunk.clone()));
    }

    fn tell(&self, job: JobId, news: impl Fn() -> News) {
        if let Some(watchers) = self.jobs().get(&job) {
            // Nobody there any more: nobody to tell.
            let _none = watchers.send(news());
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, broadcast::Sender<News>>> {
        self.jobs.lock().expect("nobody panics while holding the watchers")
    }
}
