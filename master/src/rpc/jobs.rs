//! `Jobs`: submit, look, watch, cancel.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::sync::{broadcast, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use weir_proto::{
    digest::Digest,
    id::{JobId, Namespace, RequestId},
    job::JobSpec,
    limits::Resources,
    wire,
};
use weir_scheduler::{
    explain::explain,
    place::largest_agent,
    state::{ClusterState, Job, JobLife},
};
use weir_store::blobs::{BlobStore, GetError};

use super::{malformed, module, problems, refused, stopping};
use crate::{driver::Handle, watchers::News};

/// Most jobs in one answer.
const MAX_LISTED: usize = 1_000;
/// Events that a watcher has not taken.
const WATCH_QUEUE: usize = 16;
/// Modules whose check is remembered; at this many all are forgotten.
const MAX_CHECKED: usize = 10_000;

/// The service.
#[derive(Clone)]
pub(crate) struct JobsService {
    master: Handle,
    store: BlobStore,
    /// Modules that passed the check.
    checked: Arc<Mutex<HashSet<Digest>>>,
}

impl JobsService {
    pub(crate) fn new(master: Handle, store: BlobStore) -> JobsService {
        JobsService { master, store, checked: Arc::default() }
    }

    async fn check(&self, spec: &JobSpec) -> Result<(), Status> {
        for stage in &spec.stages {
            let digests: Vec<Digest> = stage.digests().collect();
            let missing = self.store.find_missing(&spec.namespace, &digests).await;
            let missing = missing.map_err(|error| Status::internal(error.to_string()))?;
            if let Some(digest) = missing.first() {
                return Err(Status::failed_precondition(format!(
                    "{digest} is not in the store of namespace {}; put it first",
                    spec.namespace
                )));
            }
            self.check_module(&spec.namespace, stage.module).await?;
            self.check_size(stage.resources)?;
        }
        Ok(())
    }

    async fn check_module(&self, namespace: &Namespace, digest: Digest) -> Result<(), Status> {
        if self.checked.lock().expect("nobody panics while holding it").contains(&digest) {
            return Ok(());
        }
        let bytes = self.store.get(namespace, digest).await.map_err(|error| match &error {
            GetError::NotFound { .. } => Status::failed_precondition(error.to_string()),
            _ => Status::internal(error.to_string()),
        })?;
        let found = module::check(&bytes);
        if !found.is_empty() {
            return Err(Status::invalid_argument(found.join("\n")));
        }
        let mut checked = self.checked.lock().expect("nobody panics while holding it");
        if checked.len() >= MAX_CHECKED {
            checked.clear();
        }
        checked.insert(digest);
        Ok(())
    }

    /// A job that no agent could ever run is refused while there are agents to compare with.
    fn check_size(&self, needs: Resources) -> Result<(), Status> {
        let state = self.master.state();
        let agents = state.live_agents().map(|agent| &agent.description);
        match largest_agent(agents) {
            Some(largest) if largest.slots(needs) == 0 => Err(Status::invalid_argument(format!(
                "a task needs {needs}, and no agent is as large: the largest has {largest}; \
                 lower the limits or add a larger agent"
            ))),
            _ => Ok(()),
        }
    }

    fn job(&self, id: JobId) -> Result<Arc<Job>, Status> {
        let job = self.master.state().jobs.get(&id).cloned();
        job.ok_or_else(|| {
            Status::not_found(format!(
                "{id} is not known: it never existed, or ended so long ago that it was forgotten"
            ))
        })
    }

    async fn view(&self, job: Arc<Job>) -> Result<wire::JobView, Status> {
        let id = job.id;
        let advice =
            self.master.inspect(move |control, _| advice(control.state(), control.table(), id));
        let (running, waiting) = advice.await.map_err(stopping)?;
        Ok(wire::JobView { running, waiting, ..view(&job) })
    }
}

#[tonic::async_trait]
impl wire::jobs_server::Jobs for JobsService {
    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitResponse>, Status> {
        let wire::SubmitRequest { request, spec } = request.into_inner();
        let request = RequestId::try_from(&request[..]).map_err(|error| malformed(&error))?;
        let spec = spec.ok_or_else(|| Status::invalid_argument("the job's spec is missing"))?;
        let spec = JobSpec::try_from(spec).map_err(|error| problems(&error))?;
        self.check(&spec).await?;
        let submitted = self.master.submit(request, spec).await.map_err(stopping)?;
        let job = submitted.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::SubmitResponse { job: job.0 }))
    }

    async fn get(
        &self,
        request: Request<wire::GetJobRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        let job = self.job(JobId(request.into_inner().job))?;
        Ok(Response::new(self.view(job).await?))
    }

    async fn list(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        let namespace = request.into_inner().namespace;
        let state = self.master.state();
        let jobs = state.jobs.values().rev();
        let jobs =
            jobs.filter(|job| namespace.is_empty() || job.spec.namespace.as_str() == namespace);
        let jobs: Vec<Arc<Job>> = jobs.take(MAX_LISTED).cloned().collect();
        let mut views = Vec::with_capacity(jobs.len());
        for job in jobs {
            views.push(if job.is_active() { self.view(job).await? } else { view(&job) });
        }
        Ok(Response::new(wire::ListJobsResponse { jobs: views }))
    }

    async fn cancel(
        &self,
        request: Request<wire::CancelRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        let job = JobId(request.into_inner().job);
        let cancelled = self.master.cancel(job).await.map_err(stopping)?;
        let job = self.job(cancelled.map_err(|refusal| refused(&refusal))?)?;
        Ok(Response::new(self.view(job).await?))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let job = JobId(request.job);
        let news = self.master.watchers.subscribe(job);
        self.job(job)?;
        let (events, stream) = mpsc::channel(WATCH_QUEUE);
        let watch = Watch {
            master: self.master.clone(),
            job,
            position: request.after.unwrap_or_default(),
            live: request.live,
            follow: request.follow,
            events,
        };
        // Ends with its stream: nobody reads, the job has ended, or the master stops.
        tokio::spawn(watch.run(news));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// One client's view of a job's history.
struct Watch {
    master: Handle,
    job: JobId,
    /// Of the last event sent.
    position: wire::Position,
    live: bool,
    follow: bool,
    events: mpsc::Sender<Result<wire::JobEvent, Status>>,
}

/// The client has gone, or has everything.
struct Over;

impl Watch {
    async fn run(mut self, mut news: broadcast::Receiver<News>) {
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
                Committed::Page(digest, accepted) => {
                    match self.master.pages.get(&job.spec.namespace, digest).await {
                        Ok(page) => wire::job_event::Body::Page(wire::PageEvent {
                            page: page.to_vec(),
                            accepted,
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
    Page(Digest, Vec<wire::Range>),
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
            let committed = Committed::Page(page.digest, page.accepted.to_wire());
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

/// What only the leader's soft state knows: running tasks, and why others wait.
fn advice(
    state: &ClusterState,
    table: Option<&weir_scheduler::lease::LeaseTable>,
    id: JobId,
) -> (u32, Vec<String>) {
    let (Some(table), Some(job)) = (table, state.jobs.get(&id)) else { return (0, Vec::new()) };
    let stages =
        (0..job.stages.len() as u32).map(|stage| weir_proto::id::StageId { job: id, stage });
    let mut running = 0;
    let mut waiting = Vec::new();
    for stage in stages {
        running += table.slots(stage);
        waiting.extend(explain(state, table, stage).map(|reason| reason.to_string()));
    }
    (running, waiting)
}

/// A job as state has it.
fn view(job: &Job) -> wire::JobView {
    let succeeded = job.stages.iter().map(|stage| stage.succeeded).sum();
    let failed = job.stages.iter().map(|stage| stage.failed()).sum();
    let (status, ended_ms) = match job.life {
        JobLife::Active => (wire::JobStatus::Active, None),
        JobLife::Ended { at_ms, cancelled: true } => (wire::JobStatus::Cancelled, Some(at_ms)),
        JobLife::Ended { at_ms, cancelled: false } => {
            let status =
                if failed == 0 { wire::JobStatus::Succeeded } else { wire::JobStatus::Failed };
            (status, Some(at_ms))
        }
    };
    wire::JobView {
        job: job.id.0,
        spec: Some((*job.spec).clone().into()),
        status: status.into(),
        submitted_ms: job.submitted_ms,
        ended_ms,
        tasks: job.tasks(),
        succeeded,
        failed,
        running: 0,
        fuel: job.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.fuel)),
        peak_memory_bytes: job.stages.iter().map(|s| s.peak_memory_bytes).max().unwrap_or(0),
        waiting: Vec::new(),
    }
}
