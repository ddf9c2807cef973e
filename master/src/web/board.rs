//! Gathers what pages show, once a second at most however many look, and tells those who look live.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::MissedTickBehavior,
};
use tonic_health::server::HealthReporter;
use weir_proto::id::JobId;
use weir_store::blobs::BlobStore;

use super::{
    facts::{self, Facts, JobFacts, Soft},
    ready::{self, Unready},
    status_page,
    store_stat::StoreStat,
};
use crate::{driver::Handle, rpc::view::advice};

/// Most browsers that look live; one more is told so.
pub(crate) const MAX_VIEWERS: usize = 64;
/// How often those who look live see something new, and how old anything shown may be.
const PERIOD: Duration = Duration::from_secs(1);

/// What pages show; clones share it.
#[derive(Clone)]
pub(crate) struct Board(Arc<Inner>);

struct Inner {
    master: Handle,
    /// Where agents find this master, for whoever reads how to start one.
    url: String,
    store: StoreStat,
    newest: Mutex<Option<(Instant, Arc<Facts>)>>,
    places: Arc<Semaphore>,
    live: watch::Sender<Live>,
}

/// What those who look live see.
#[derive(Debug, Clone, PartialEq)]
enum Live {
    /// Nobody looked a moment ago.
    Unknown,
    /// This.
    Page(Arc<str>),
    /// The master stops.
    Over,
}

impl Board {
    pub(crate) fn new(master: Handle, store: BlobStore, url: String) -> Board {
        Board(Arc::new(Inner {
            master,
            url,
            store: StoreStat::new(store),
            newest: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_VIEWERS)),
            live: watch::channel(Live::Unknown).0,
        }))
    }

    /// Once a second, until the master's loop ends: counts what was done, looks whether all is
    /// well, and shows those who look live what is new.
    pub(crate) async fn run(self, health: HealthReporter, services: &'static [&'static str]) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut last, mut was_ready) = (Instant::now(), None);
        loop {
            tokio::select! {
                biased;
                () = self.0.master.ended() => break,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            self.0.master.metrics.throughput().tick(now - last);
            last = now;
            let ready = self.refresh().await.is_ok();
            if was_ready != Some(ready) {
                ready::report(&health, services, ready).await;
                was_ready = Some(ready);
            }
        }
        ready::report(&health, services, false).await;
        self.0.live.send_replace(Live::Over);
    }

    /// Shows what is new where somebody looks; otherwise only asks whether all is well.
    async fn refresh(&self) -> Result<(), Unready> {
        if self.viewers() == 0 {
            self.0.live.send_replace(Live::Unknown);
            return self.ready().await;
        }
        let facts = self.gather(&mut *self.0.newest.lock().await).await?;
        let page = Live::Page(status_page::main(&facts).into_string().into());
        self.0.live.send_if_modified(|live| {
            let is_new = *live != page;
            *live = page;
            is_new
        });
        if facts.soft.leads { Ok(()) } else { Err(Unready::NotLeading) }
    }

    /// Whether this master can do its work.
    pub(super) async fn ready(&self) -> Result<(), Unready> {
        ready::ready(&self.0.master).await
    }

    /// What pages show, at most a second old.
    pub(super) async fn facts(&self) -> Result<Arc<Facts>, Unready> {
        let mut newest = self.0.newest.lock().await;
        match &*newest {
            Some((at, facts)) if at.elapsed() < PERIOD => Ok(Arc::clone(facts)),
            _ => self.gather(&mut newest).await,
        }
    }

    async fn gather(
        &self,
        newest: &mut Option<(Instant, Arc<Facts>)>,
    ) -> Result<Arc<Facts>, Unready> {
        let store = self.0.store.newest().await;
        let state = self.0.master.state();
        let rows = facts::rows(&state);
        let listed = rows.clone();
        let look = move |control: &_, latencies: &_| Soft::read(control, latencies, &listed);
        let soft = ready::ask(&self.0.master, look).await?;
        let facts = Arc::new(Facts {
            state,
            now_ms: unix_ms(),
            url: self.0.url.clone(),
            rows,
            soft,
            rates: self.0.master.metrics.throughput().rates(),
            store,
            watchers: self.0.master.watchers.count(),
            viewers: self.viewers(),
        });
        *newest = Some((Instant::now(), Arc::clone(&facts)));
        Ok(facts)
    }

    /// What a job's page shows; nothing for a job that is not known.
    pub(super) async fn job(&self, id: JobId) -> Result<Option<JobFacts>, Unready> {
        let look = move |control: &crate::control::Control, _: &_| {
            advice(control.state(), control.table(), id, unix_ms())
        };
        let advice = ready::ask(&self.0.master, look).await?;
        let job = self.0.master.state().jobs.get(&id).cloned();
        Ok(job.map(|job| JobFacts { job, now_ms: unix_ms(), advice }))
    }

    /// All metrics as text.
    pub(super) async fn metrics(&self) -> Result<String, Unready> {
        let facts = self.facts().await?;
        Ok(self.0.master.metrics.text(&facts.reading()))
    }

    /// How many look live.
    fn viewers(&self) -> usize {
        MAX_VIEWERS - self.0.places.available_permits()
    }

    /// The `<main>` of the status page, now and whenever it changes; nothing where too many look.
    pub(super) fn watch(&self) -> Option<mpsc::Receiver<Arc<str>>> {
        let place = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        // One that does not read in time misses what is between.
        let (pages, receiver) = mpsc::channel(1);
        // Ends with its reader, or with the master.
        tokio::spawn(show(self.0.live.subscribe(), pages, place));
        Some(receiver)
    }
}

async fn show(
    mut live: watch::Receiver<Live>,
    pages: mpsc::Sender<Arc<str>>,
    _place: OwnedSemaphorePermit,
) {
    live.mark_changed();
    loop {
        tokio::select! {
            biased;
            () = pages.closed() => return,
            changed = live.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        let now = live.borrow_and_update().clone();
        match now {
            Live::Unknown => {}
            Live::Over => return,
            Live::Page(page) => {
                if pages.send(page).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
