//! The client against a master that breaks off, repeats itself and refuses, as scripted.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use weir_sdk::{
    Client,
    client::{ConnectError, JobError},
    event::JobEvent,
    proto::{
        digest::Digest,
        id::{JobId, Namespace, StageId},
        job::{JobSpec, StageSpec, TaskKind},
        outcome::{Outcome, Usage},
        page::{Page, TaskResult},
        wire::{
            self,
            jobs_server::{Jobs, JobsServer},
            store_server::{Store, StoreServer},
        },
    },
    query::JobQuery,
    submit::SubmitError,
    watch::{WatchError, WatchOptions},
};

type Events = Vec<Result<wire::JobEvent, Status>>;

/// What the master does with the next calls, and what it was asked.
#[derive(Default)]
struct Script {
    greeting: Option<Status>,
    submits: VecDeque<Result<u64, Status>>,
    watches: VecDeque<Result<Events, Status>>,
    requests: Vec<Vec<u8>>,
    positions: Vec<Option<wire::Position>>,
}

#[derive(Clone, Default)]
struct BrokenMaster(Arc<Mutex<Script>>);

#[tonic::async_trait]
impl Jobs for BrokenMaster {
    type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<wire::JobEvent, Status>> + Send>>;

    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitResponse>, Status> {
        let mut script = self.0.lock().expect("no test panics with the lock");
        script.requests.push(request.into_inner().request);
        let next = script.submits.pop_front().expect("a scripted submit");
        next.map(|job| Response::new(wire::SubmitResponse { job }))
    }

    async fn get(
        &self,
        _: Request<wire::GetJobRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        Err(Status::not_found("no such job"))
    }

    async fn list(
        &self,
        _: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsResponse>, Status> {
        Err(Status::permission_denied("not yours"))
    }

    async fn cancel(
        &self,
        _: Request<wire::CancelRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        Err(Status::not_found("no such job"))
    }

    async fn pause(
        &self,
        _: Request<wire::PauseRequest>,
    ) -> Result<Response<wire::JobView>, Status> {
        Err(Status::failed_precondition("job-1 has ended"))
    }

    async fn retry(
        &self,
        _: Request<wire::RetryRequest>,
    ) -> Result<Response<wire::SubmitResponse>, Status> {
        Err(Status::failed_precondition("job-1 is still active"))
    }

    async fn remove(
        &self,
        _: Request<wire::RemoveJobRequest>,
    ) -> Result<Response<wire::RemoveJobResponse>, Status> {
        Err(Status::failed_precondition("job-1 is still active"))
    }

    async fn precompile(
        &self,
        _: Request<wire::PrecompileRequest>,
    ) -> Result<Response<wire::PrecompileResponse>, Status> {
        Err(Status::failed_precondition("it is not in the store"))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut script = self.0.lock().expect("no test panics with the lock");
        script.positions.push(request.into_inner().after);
        let events = script.watches.pop_front().expect("a scripted watch")?;
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }
}

#[tonic::async_trait]
impl Store for BrokenMaster {
    type GetStream = tokio_stream::Empty<Result<wire::GetResponse, Status>>;

    async fn find_missing(
        &self,
        _: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        let script = self.0.lock().expect("no test panics with the lock");
        match script.greeting.clone() {
            Some(status) => Err(status),
            None => Ok(Response::new(wire::FindMissingResponse::default())),
        }
    }

    async fn put(
        &self,
        _: Request<Streaming<wire::PutRequest>>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        Err(Status::resource_exhausted("the disk is full"))
    }

    async fn put_batch(
        &self,
        _: Request<wire::PutBatchRequest>,
    ) -> Result<Response<wire::PutBatchResponse>, Status> {
        Err(Status::resource_exhausted("the disk is full; free some space"))
    }

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        Err(Status::not_found("no such blob"))
    }

    async fn get_batch(
        &self,
        _: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        Err(Status::not_found("no such blob"))
    }

    async fn list(
        &self,
        _: Request<wire::ListBlobsRequest>,
    ) -> Result<Response<wire::ListBlobsResponse>, Status> {
        Err(Status::permission_denied("not yours"))
    }

    async fn stat(
        &self,
        _: Request<wire::StatStoreRequest>,
    ) -> Result<Response<wire::StatStoreResponse>, Status> {
        Err(Status::permission_denied("not yours"))
    }
}

impl BrokenMaster {
    async fn start(script: Script) -> (BrokenMaster, Client) {
        let (master, client) = BrokenMaster::try_start(script).await;
        (master, client.expect("a master that greets"))
    }

    async fn try_start(script: Script) -> (BrokenMaster, Result<Client, ConnectError>) {
        let master = BrokenMaster(Arc::new(Mutex::new(script)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = tonic::transport::Server::builder()
            .add_service(JobsServer::new(master.clone()))
            .add_service(StoreServer::new(master.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        let client = Client::connect(&address).await;
        (master, client)
    }
}

fn spec() -> JobSpec {
    let stage = StageSpec {
        count: 3,
        kind: TaskKind::Array,
        ..StageSpec::new("main", Digest::of(b"module"))
    };
    let namespace = Namespace::default_namespace();
    JobSpec { name: "job".to_owned(), namespace, stages: vec![stage], priority: 0 }
}

fn result_of(task: u32) -> Result<wire::JobEvent, Status> {
    let ok = Outcome::Succeeded { exit_code: 0 };
    let results = vec![TaskResult::without_output(ok, Usage::default())];
    let page = Page { stage: StageId { job: JobId(1), stage: 0 }, first: task, results };
    Ok(wire::JobEvent {
        position: Some(wire::Position { index: 10 + u64::from(task), sub: 0 }),
        body: Some(wire::job_event::Body::Page(wire::PageEvent {
            page: page.encode(),
            accepted: vec![wire::Range { start: task, end: task + 1 }],
            kept: false,
        })),
    })
}

fn ended() -> Result<wire::JobEvent, Status> {
    let summary = wire::JobSummary {
        job: 1,
        namespace: "default".to_owned(),
        status: wire::JobStatus::Succeeded.into(),
        tasks: 3,
        succeeded: 3,
        ..Default::default()
    };
    let view = wire::JobView {
        summary: Some(summary),
        spec: Some(spec().into()),
        stages: vec![wire::StageView::default()],
        waiting: vec![],
        preparing: vec![],
    };
    // Where the last result was: the end is told all the same.
    let position = Some(wire::Position { index: 12, sub: 0 });
    Ok(wire::JobEvent { position, body: Some(wire::job_event::Body::Ended(view)) })
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_it_was_and_tells_everything_once() {
    let broken = Err(Status::unavailable("going down"));
    let script = Script {
        watches: VecDeque::from([
            Ok(vec![result_of(0), result_of(1), broken]),
            Err(Status::unavailable("starting")),
            // Closed without an error, by a master that repeats itself.
            Ok(vec![result_of(1)]),
            Ok(vec![result_of(2), ended()]),
        ]),
        ..Script::default()
    };
    let (master, client) = BrokenMaster::start(script).await;
    let options = WatchOptions { after: None, live: false, follow: true };
    let mut watch = client.watch(JobId(1), options);
    let mut told = Vec::new();
    let mut ends = 0;
    while let Some(event) = watch.next().await.expect("a watch that comes back") {
        match event {
            JobEvent::Results(results) => told.extend(results.iter().map(|(task, _)| task)),
            JobEvent::Ended(view) => ends += view.summary.succeeded,
            other => panic!("not scripted: {other:?}"),
        }
    }
    assert_eq!((told, ends), (vec![0, 1, 2], 3));
    let positions: Vec<Option<u64>> = master
        .0
        .lock()
        .expect("the lock")
        .positions
        .iter()
        .map(|position| position.map(|at| at.index))
        .collect();
    assert_eq!(positions, [None, Some(11), Some(11), Some(11)]);
}

#[tokio::test]
async fn a_watch_that_does_not_follow_ends_with_its_stream() {
    let script = Script { watches: VecDeque::from([Ok(vec![result_of(0)])]), ..Script::default() };
    let (_master, client) = BrokenMaster::start(script).await;
    let mut watch = client.watch(JobId(1), WatchOptions::default());
    assert!(watch.next().await.expect("an event").is_some());
    assert!(watch.next().await.expect("the end").is_none());
    assert!(watch.next().await.expect("still the end").is_none());
}

#[tokio::test]
async fn a_watch_of_no_job_is_not_tried_again() {
    let watches = VecDeque::from([Err(Status::not_found("no such job"))]);
    let (_master, client) = BrokenMaster::start(Script { watches, ..Script::default() }).await;
    let options = WatchOptions { after: None, live: true, follow: true };
    let refused = client.watch(JobId(9), options).next().await.expect_err("no such job");
    assert!(matches!(refused, WatchError::Job(JobError::NoSuchJob { job: JobId(9), .. })));
}

#[tokio::test]
async fn a_submission_is_repeated_under_the_same_name() {
    let script = Script {
        submits: VecDeque::from([Err(Status::unavailable("no leader")), Ok(7)]),
        ..Script::default()
    };
    let (master, client) = BrokenMaster::start(script).await;
    assert_eq!(client.submit(spec()).await, Ok(JobId(7)));
    let requests = master.0.lock().expect("the lock").requests.clone();
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].len(), &requests[0]), (16, &requests[1]));
}

#[tokio::test]
async fn refusals_keep_the_masters_sentences() {
    let script = Script {
        submits: VecDeque::from([
            Err(Status::invalid_argument("unknown import env.foo\nno _start")),
            Err(Status::resource_exhausted("namespace default has 1,000 jobs")),
            Err(Status::failed_precondition("module blake3:00 is not in the store")),
        ]),
        ..Script::default()
    };
    let (_master, client) = BrokenMaster::start(script).await;
    let problems = vec!["unknown import env.foo".to_owned(), "no _start".to_owned()];
    assert_eq!(client.submit(spec()).await, Err(SubmitError::Invalid { problems }));
    let limit = client.submit(spec()).await.expect_err("a limit").to_string();
    assert!(limit.contains("1,000 jobs"), "{limit}");
    let missing = client.submit(spec()).await.expect_err("missing").to_string();
    assert!(missing.contains("not in the store"), "{missing}");
}

#[tokio::test]
async fn a_spec_that_cannot_be_is_told_with_every_problem_before_it_is_sent() {
    let (master, client) = BrokenMaster::start(Script::default()).await;
    let mut wrong = spec();
    wrong.stages[0].limits.fuel = 0;
    wrong.stages[0].count = 0;
    let Err(SubmitError::Invalid { problems }) = client.submit(wrong).await else {
        panic!("it was accepted");
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(master.0.lock().expect("the lock").requests.is_empty());
}

#[tokio::test]
async fn errors_of_the_store_say_which_blob_and_what_to_do() {
    let (_master, client) = BrokenMaster::start(Script::default()).await;
    let digest = Digest::of(b"x");
    let absent = client.get(digest).await.expect_err("absent").to_string();
    assert!(absent.contains(&digest.to_string()) && absent.contains("weir put"), "{absent}");
    let full = client.put("x".into()).await.expect_err("full").to_string();
    assert!(full.contains("free some space"), "{full}");
}

#[tokio::test]
async fn questions_about_no_job_name_it() {
    let (_master, client) = BrokenMaster::start(Script::default()).await;
    let absent = client.job(JobId(3)).await.expect_err("absent").to_string();
    assert!(absent.contains("no job-3"), "{absent}");
    assert!(client.cancel(JobId(3)).await.is_err());
    let refused = client.jobs(&JobQuery::default()).await.expect_err("refused").to_string();
    assert!(refused.contains("not yours"), "{refused}");
}

#[tokio::test]
async fn a_master_that_knows_no_request_of_ours_is_told_by_its_version() {
    let mut greeting = Status::unimplemented("");
    greeting.metadata_mut().insert("weir-version", "9.9.9".parse().expect("a version"));
    let script = Script { greeting: Some(greeting), ..Script::default() };
    let (_master, client) = BrokenMaster::try_start(script).await;
    let error = client.expect_err("another version").to_string();
    assert!(error.contains("is version 9.9.9 of Weir"), "{error}");
}

#[tokio::test]
async fn something_else_that_listens_is_not_taken_for_a_master() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let error = Client::connect(&address).await.expect_err("no master");
    assert!(matches!(error, ConnectError::NotWeir { .. }), "{error}");
    server.abort();
}
