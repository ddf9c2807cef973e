//! From a plan to the cluster's spec: puts what the store lacks, and has digests for it. Stop 1 of a
//! task's way; the next is [`crate::submit`].

use bytes::Bytes;
use weir_proto::{
    digest::Digest,
    job::{Input, InputSource, JobSpec, Keep, StageSpec, Stdin, TaskKind},
    manifest::{Item, Manifest},
};

use crate::{
    Client,
    data::PutError,
    names::NameError,
    plan::{FileItem, JobPlan, OutputsPlan, StagePlan, StdinPlan, TasksPlan},
    source::Source,
};

/// Why a plan did not become a spec.
#[derive(Debug, thiserror::Error)]
pub enum PutJobError {
    /// Something on this machine was not put.
    #[error("cannot put {what}")]
    Put {
        /// What of the job: `the module`, `input /in/text`.
        what: String,
        /// Why.
        source: PutError,
    },
    /// A name was not found.
    #[error("cannot find {what}")]
    Name {
        /// What of the job.
        what: String,
        /// Why.
        source: NameError,
    },
    /// A directory where a file must be.
    #[error("{what} cannot be {found}, which is a directory; name a file")]
    Directory {
        /// What of the job.
        what: String,
        /// The source.
        found: Source,
    },
}

impl Client {
    /// Puts everything a job needs that the store does not have, and says what to submit. Nothing is
    /// sent twice.
    ///
    /// # Errors
    /// Each variant names which thing of the job; what was put by then stays in the store.
    pub async fn put_job(&self, plan: &JobPlan) -> Result<JobSpec, PutJobError> {
        let client = match &plan.namespace {
            Some(namespace) => self.in_namespace(namespace.clone()),
            None => self.clone(),
        };
        let stage = client.put_stage(&plan.stage).await?;
        Ok(JobSpec {
            name: plan.name.clone(),
            namespace: client.namespace().clone(),
            stages: vec![stage],
            priority: plan.priority,
        })
    }

    async fn put_stage(&self, plan: &StagePlan) -> Result<StageSpec, PutJobError> {
        let module = self.put_file_source("the module", &plan.module).await?;
        let mut inputs = Vec::with_capacity(plan.inputs.len());
        for input in &plan.inputs {
            let what = format!("input {}", input.path);
            let source = self.put_source(&what, &input.source).await?;
            inputs.push(Input { path: input.path.clone(), source, writable: input.writable });
        }
        let stdin = match &plan.stdin {
            StdinPlan::Nothing => Stdin::Empty,
            StdinPlan::Item => Stdin::Item,
            StdinPlan::Source(source) => Stdin::Blob(self.put_file_source("stdin", source).await?),
            StdinPlan::Text(text) => {
                let put = self.put(Bytes::from(text.clone())).await;
                Stdin::Blob(put.map_err(|error| not_put("stdin", error))?)
            }
        };
        let (count, kind) = self.put_tasks(&plan.tasks).await?;
        Ok(StageSpec {
            name: plan.name.clone(),
            module,
            args: plan.args.clone(),
            env: plan.env.clone(),
            stdin,
            inputs,
            count,
            kind,
            limits: plan.limits,
            resources: plan.resources.clone(),
            success_codes: plan.success_codes.clone(),
            retries: plan.retries,
            keep: match &plan.outputs {
                OutputsPlan::Nothing => Keep::Nothing,
                OutputsPlan::All => Keep::Out,
                OutputsPlan::Paths(paths) => Keep::Paths(paths.clone()),
            },
            seed: plan.seed,
            capabilities: plan.capabilities.clone(),
            coredump: plan.coredump,
            once: plan.once,
            metering: plan.metering,
        })
    }

    async fn put_tasks(&self, tasks: &TasksPlan) -> Result<(u32, TaskKind), PutJobError> {
        let items = match tasks {
            TasksPlan::One => return Ok((1, TaskKind::Plain)),
            TasksPlan::Count(count) => return Ok((*count, TaskKind::Array)),
            TasksPlan::Files(files) => self.put_items(files).await?,
            TasksPlan::Lines(lines) => {
                lines.iter().map(|line| Item { text: line.clone(), source: None }).collect()
            }
        };
        let (manifest, chunks) = Manifest::of(&items);
        let chunks = chunks.into_iter().map(Bytes::from).collect();
        let put = self.put_batch(chunks).await;
        put.map_err(|error| not_put("the list of items", error))?;
        let put = self.put(Bytes::from(manifest.encode())).await;
        let digest = put.map_err(|error| not_put("the list of items", error))?;
        Ok((manifest.count, TaskKind::Foreach { manifest: digest }))
    }

    async fn put_items(&self, files: &[FileItem]) -> Result<Vec<Item>, PutJobError> {
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let digests = self.put_files(paths).await.map_err(|error| not_put("the items", error))?;
        let items = files.iter().zip(digests).map(|(file, digest)| Item {
            text: file.text.clone(),
            source: Some(InputSource::Blob(digest)),
        });
        Ok(items.collect())
    }

    async fn put_source(&self, what: &str, source: &Source) -> Result<InputSource, PutJobError> {
        match source {
            Source::Stored(source) => Ok(*source),
            Source::Path(path) => self.put_path(path).await.map_err(|error| not_put(what, error)),
            Source::Name(name) => {
                let found = self.name(name).await;
                let found =
                    found.map_err(|source| PutJobError::Name { what: what.to_owned(), source });
                Ok(found?.target)
            }
        }
    }

    /// As `put_source`, of what must be a file.
    async fn put_file_source(&self, what: &str, source: &Source) -> Result<Digest, PutJobError> {
        match self.put_source(what, source).await? {
            InputSource::Blob(digest) => Ok(digest),
            InputSource::Tree(_) => {
                let (what, found) = (what.to_owned(), source.clone());
                Err(PutJobError::Directory { what, found })
            }
        }
    }
}

fn not_put(what: &str, error: impl Into<PutError>) -> PutJobError {
    PutJobError::Put { what: what.to_owned(), source: error.into() }
}
