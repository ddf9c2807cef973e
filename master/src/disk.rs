//! The thread that owns the log on disk: group commit.
//!
//! While one write is being synced others queue up; all that wait go into the next one.

use std::{sync::mpsc, thread, time::Instant};

use tokio::sync::mpsc as tokio_mpsc;

use crate::log::{Log, LogError, LogSnapshot, LogWrite};

/// Most entries in one durable step.
const MAX_GROUP: usize = 4_096;

/// A write to be done.
enum Order {
    Write { number: u64, write: LogWrite, since: Instant },
    Snapshot(LogSnapshot),
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Report {
    /// Writes up to this number are durable; the oldest of them was ordered at this time.
    Written { number: u64, since: Instant },
    /// A snapshot is durable.
    Snapshot,
    /// The log failed; nothing more is written.
    Failed(LogError),
}

/// A handle on the thread; dropping it ends the thread after its last write.
pub(crate) struct Disk {
    // Neither queue has a bound of its own: what is in them is bounded by the proposals under way.
    orders: mpsc::Sender<Order>,
}

impl Disk {
    /// Starts the thread; reports come out of the receiver.
    pub(crate) fn start(
        log: Box<dyn Log>,
    ) -> std::io::Result<(Disk, tokio_mpsc::UnboundedReceiver<Report>)> {
        let (orders, queue) = mpsc::channel();
        let (reports, receiver) = tokio_mpsc::unbounded_channel();
        thread::Builder::new().name("log".to_owned()).spawn(move || run(log, &queue, &reports))?;
        Ok((Disk { orders }, receiver))
    }

    pub(crate) fn write(&self, number: u64, write: LogWrite) {
        self.order(Order::Write { number, write, since: Instant::now() });
    }

    pub(crate) fn snapshot(&self, snapshot: LogSnapshot) {
        self.order(Order::Snapshot(snapshot));
    }

    fn order(&self, order: Order) {
        // The thread is gone only after it has reported a failure, and that ends the master.
        let _ended = self.orders.send(order);
    }
}

fn run(
    mut log: Box<dyn Log>,
    queue: &mpsc::Receiver<Order>,
    reports: &tokio_mpsc::UnboundedSender<Report>,
) {
    while let Ok(first) = queue.recv() {
        let mut write = LogWrite::default();
        let mut written = None;
        let mut snapshot_written = false;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Write { number, write: later, since } => {
                    write.merge(later);
                    let oldest = written.map_or(since, |(_, oldest)| oldest);
                    written = Some((number, oldest));
                }
                Order::Snapshot(snapshot) => {
                    snapshot_written = true;
                    write.merge(LogWrite { snapshot: Some(snapshot), ..LogWrite::default() });
                }
            }
            next = (write.entries.len() < MAX_GROUP).then(|| queue.try_recv().ok()).flatten();
        }
        let outcome = match write == LogWrite::default() {
            true => Ok(()),
            false => log.write(&write),
        };
        if let Err(error) = outcome {
            let _gone = reports.send(Report::Failed(error));
            return;
        }
        let written = written.map(|(number, since)| Report::Written { number, since });
        for report in written.into_iter().chain(snapshot_written.then_some(Report::Snapshot)) {
            if reports.send(report).is_err() {
                return;
            }
        }
    }
}
