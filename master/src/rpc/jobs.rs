//! `Jobs`: submit, look, watch, cancel.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use weir_proto::{
    digest::Digest,
    id::{JobId, Namespace, RequestId},
    job::JobSpec,
    limits::Resources,
    wire,
};
use weir_scheduler::{place::largest_agent, state::Job};
use weir_store::blobs::{BlobStore, GetError};

use super::{
    malformed, module, problems, refused, stopping,
    view::{advice, view},
    watch::Watch,
};
use crate::driver::Handle;

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
