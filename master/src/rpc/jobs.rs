//! `Jobs`: submit, look, watch, pause, cancel, retry, remove. Lists are made in `list`.

mod precompile;

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use weir_proto::{
    command::Change,
    digest::Digest,
    id::{JobId, Namespace, RequestId},
    job::{JobSpec, StageSpec, TaskKind},
    manifest::Manifest,
    range::RangeSet,
    wire,
};
use weir_scheduler::{place::most_of_each, state::Job};
use weir_store::blobs::GetError;

use super::{
    list, malformed, module, problems, read, refused, stopping,
    view::{advice, view},
    watch::Watch,
};
use crate::{
    blobs::Blobs,
    driver::{Handle, unix_ms},
};

/// Events that a watcher has not taken.
const WATCH_QUEUE: usize = 16;
/// Modules whose check is remembered; at this many all are forgotten.
const MAX_CHECKED: usize = 10_000;

/// The service.
#[derive(Clone)]
pub(crate) struct JobsService {
    master: Handle,
    blobs: Blobs,
    /// Modules that passed the check.
    checked: Arc<Mutex<HashSet<Digest>>>,
}

impl JobsService {
    pub(crate) fn new(master: Handle, blobs: Blobs) -> JobsService {
        JobsService { master, blobs, checked: Arc::default() }
    }

    async fn check(&self, spec: &JobSpec) -> Result<(), Status> {
        for stage in &spec.stages {
            let digests: Vec<Digest> = stage.digests().collect();
            self.check_there(&spec.namespace, &digests).await?;
            self.check_manifest(&spec.namespace, stage).await?;
            self.check_module(&spec.namespace, stage.module).await?;
            self.check_feasible(stage)?;
        }
        Ok(())
    }

    async fn check_there(&self, namespace: &Namespace, digests: &[Digest]) -> Result<(), Status> {
        let missing = self.blobs.require(namespace, digests).await?;
        match missing.first() {
            Some(digest) => Err(Status::failed_precondition(format!(
                "{digest} is not in the store of namespace {namespace}; put it first"
            ))),
            None => Ok(()),
        }
    }

    /// A manifest that is not one, or not of this stage, is refused here; items that are not in the
    /// store are their own tasks' failure.
    async fn check_manifest(&self, namespace: &Namespace, stage: &StageSpec) -> Result<(), Status> {
        let TaskKind::Foreach { manifest } = stage.kind else { return Ok(()) };
        let bytes = self.blobs.get(namespace, manifest).await;
        let bytes = bytes.map_err(|error| Status::internal(error.to_string()))?;
        let manifest = Manifest::decode(&bytes).map_err(|error| malformed(&error))?;
        if manifest.count != stage.count {
            return Err(Status::invalid_argument(format!(
                "stage {:?} has {} tasks, and its manifest {} items",
                stage.name, stage.count, manifest.count
            )));
        }
        let missing = self.blobs.require(namespace, &manifest.chunks).await?;
        match missing.first() {
            Some(digest) => Err(Status::failed_precondition(format!(
                "{digest}, a part of the manifest, is not in the store; put it first"
            ))),
            None => Ok(()),
        }
    }

    async fn check_module(&self, namespace: &Namespace, digest: Digest) -> Result<(), Status> {
        if self.checked.lock().expect("nobody panics while holding it").contains(&digest) {
            return Ok(());
        }
        let bytes = self.blobs.get(namespace, digest).await.map_err(|error| match &error {
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
    fn check_feasible(&self, stage: &StageSpec) -> Result<(), Status> {
        let state = self.master.state();
        let staying = || {
            let staying = state.live_agents().filter(|agent| !agent.draining);
            staying.map(|agent| &agent.description)
        };
        if staying().next().is_none() || staying().any(|agent| agent.slots(stage) > 0) {
            return Ok(());
        }
        let (metering, needs) = (stage.metering, &stage.resources);
        let metered = staying().filter(|agent| agent.profile_for(metering).is_some());
        let Some(most) = most_of_each(metered) else {
            return Err(Status::invalid_argument(format!(
                "no agent runs tasks with `metering = \"{metering}\"`; leave it out or add an agent \
                 that does"
            )));
        };
        // One may have the memory, and another one what has a name.
        let there = match most.slots(needs) {
            0 => format!("the largest has {most}"),
            _ => format!("the most that one has of each is {most}, but none has it all"),
        };
        Err(Status::invalid_argument(format!(
            "a task needs {needs}, and no agent is as large: {there}; lower the limits or add a \
             larger agent"
        )))
    }

    async fn job(&self, id: JobId, call: &MetadataMap) -> Result<Arc<Job>, Status> {
        let job = read(&self.master, call).await?.jobs.get(&id).cloned();
        job.ok_or_else(|| {
            Status::not_found(format!(
                "{id} is not known: it never existed, or ended so long ago that it was forgotten"
            ))
        })
    }

    async fn view(&self, job: Arc<Job>) -> Result<wire::JobView, Status> {
        let id = job.id;
        let advice = self
            .master
            .inspect(move |control, _| advice(control.state(), control.table(), id, unix_ms()));
        Ok(advice.await.map_err(stopping)?.add_to(view(&job)))
    }

    /// Proposes a change and waits until it is committed.
    async fn change(&self, change: Change) -> Result<Option<JobId>, Status> {
        let answer = self.master.change(change).await.map_err(stopping)?;
        answer.map_err(|refusal| refused(&refusal))
    }

    /// Proposes a change that makes a job.
    async fn make_job(&self, change: Change) -> Result<Response<wire::SubmitResponse>, Status> {
        let job = self.change(change).await?;
        let job = job.ok_or_else(|| Status::internal("the change made no job"))?;
        Ok(Response::new(wire::SubmitResponse { job: job.0 }))
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
        self.make_job(Change::SubmitJob { request, spec }).await
    }

    async fn get(
        &self,
        request: Request<wire::GetJobRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        let job = self.job(JobId(request.get_ref().job), request.metadata()).await?;
        Ok(Response::new(self.view(job).await?))
    }

    async fn list(
        &self,
        request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        let state = read(&self.master, request.metadata()).await?;
        let (mut jobs, matched) = list::jobs(&state, request.get_ref());
        let active = wire::JobStatus::Active as i32;
        let active: Vec<JobId> =
            jobs.iter().filter(|job| job.status == active).map(|job| JobId(job.job)).collect();
        let running = self.master.inspect(move |control, _| {
            let (state, table) = (control.state(), control.table());
            let running = |id: JobId| (id.0, advice(state, table, id, unix_ms()).all_running());
            active.into_iter().map(running).collect::<HashMap<u64, u32>>()
        });
        let running = running.await.map_err(stopping)?;
        for job in &mut jobs {
            job.running = running.get(&job.job).copied().unwrap_or(0);
        }
        Ok(Response::new(wire::ListJobsResponse { jobs, matched }))
    }

    async fn cancel(
        &self,
        request: Request<wire::CancelRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        let job = JobId(request.into_inner().job);
        self.change(Change::CancelJob(job)).await?;
        let job = self.job(job, &MetadataMap::new()).await?;
        Ok(Response::new(self.view(job).await?))
    }

    async fn pause(
        &self,
        request: Request<wire::PauseRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        let wire::PauseRequest { job, ref tasks, paused } = *request.get_ref();
        let tasks = RangeSet::from_wire(tasks).map_err(|error| malformed(&error))?;
        let job = JobId(job);
        let count = self.job(job, request.metadata()).await?.tasks();
        if let Some(last) = tasks.ranges().last().filter(|last| last.end > count) {
            return Err(Status::invalid_argument(format!(
                "{job} has {count} tasks, so none is numbered {}",
                last.end - 1
            )));
        }
        self.change(Change::PauseTasks { job, tasks, paused }).await?;
        let job = self.job(job, &MetadataMap::new()).await?;
        Ok(Response::new(self.view(job).await?))
    }

    async fn retry(
        &self,
        request: Request<wire::RetryRequest>,
    ) -> Result<Response<wire::SubmitResponse>, Status> {
        let wire::RetryRequest { request, job } = request.into_inner();
        let request = RequestId::try_from(&request[..]).map_err(|error| malformed(&error))?;
        self.make_job(Change::RetryJob { request, job: JobId(job) }).await
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveJobRequest>,
    ) -> Result<Response<wire::RemoveJobResponse>, Status> {
        self.change(Change::RemoveJob(JobId(request.into_inner().job))).await?;
        Ok(Response::new(wire::RemoveJobResponse {}))
    }

    async fn precompile(
        &self,
        request: Request<wire::PrecompileRequest>,
    ) -> Result<Response<wire::PrecompileResponse>, Status> {
        Ok(Response::new(self.precompile_module(request.into_inner()).await?))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let job = JobId(request.get_ref().job);
        let news = self.master.watchers.subscribe(job);
        self.job(job, request.metadata()).await?;
        let request = request.into_inner();
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
