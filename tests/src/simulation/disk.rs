//! The log's disk: writes become durable in groups, some time after they were ordered, and a crash
//! keeps what was durable by then, and some of the rest in order. What else goes wrong with it is in
//! `trouble.rs`.

use std::collections::VecDeque;

use weir_master::log::{Log, LogError, LogSnapshot, LogWrite, Recovered};

use super::{
    Variant,
    faults::Fault,
    random::Random,
    trouble::{Damage, Trouble},
    world::{Happening, World},
};

/// One in so many writes is under way when the master crashes.
const CRASH_IN_SYNC: u64 = 400;

/// What a durable log would hold; stores as [`weir_master::log::RedbLog`] does.
#[derive(Default)]
pub(super) struct Platter(Recovered);

impl Log for Platter {
    fn recover(&mut self) -> Result<Recovered, LogError> {
        Ok(self.0.clone())
    }

    fn write(&mut self, write: &LogWrite) -> Result<(), LogError> {
        let log = &mut self.0;
        if let Some(snapshot) = &write.snapshot {
            let all = write.replaces_all;
            log.entries.retain(|entry| !all && entry.index > snapshot.index);
            log.snapshot = Some(snapshot.clone());
        }
        if let Some(first) = write.entries.first() {
            log.entries.retain(|entry| entry.index < first.index);
        }
        log.entries.extend(write.entries.iter().cloned());
        log.hard_state = write.hard_state.clone().or(log.hard_state.take());
        Ok(())
    }
}

/// What a master hears of its writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Written(u64),
    Snapshot,
}

/// Writes on their way to the platter.
pub(super) struct Disk {
    platter: Platter,
    queue: VecDeque<(Report, LogWrite)>,
    /// The group that is being synced.
    syncing: Option<(LogWrite, Vec<Report>)>,
    /// How long a sync takes at most.
    slowest_us: u64,
    /// When the newest report is heard: they come in order.
    reported_us: u64,
    /// What is wrong with it, and until when.
    pub(super) trouble: Option<(Trouble, u64)>,
    /// What is wrong with its log for good.
    pub(super) damage: Option<Damage>,
}

/// What a crash did to writes that were under way.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct CrashLoss {
    /// Some were lost.
    pub(super) lost: bool,
    /// Some are durable although nobody was told.
    pub(super) unreported: bool,
}

impl Disk {
    /// A disk whose log begins with this.
    pub(super) fn new(random: &mut Random, begins: &LogWrite) -> Disk {
        let mut platter = Platter::default();
        platter.write(begins).expect("this log cannot fail");
        Disk {
            platter,
            queue: VecDeque::new(),
            syncing: None,
            slowest_us: random.pick(&[1_000, 30_000, 300_000]),
            reported_us: 0,
            trouble: None,
            damage: None,
        }
    }

    pub(super) fn write(&mut self, number: u64, write: LogWrite) {
        self.queue.push_back((Report::Written(number), write));
    }

    /// Writes a snapshot; a broken one leaves nothing of the hard state.
    pub(super) fn snapshot(&mut self, snapshot: LogSnapshot, forget_hard_state: bool) {
        let hard_state = forget_hard_state.then(Vec::new);
        let snapshot = Some(snapshot);
        let write = LogWrite { snapshot, hard_state, ..LogWrite::default() };
        self.queue.push_back((Report::Snapshot, write));
    }

    /// Begins to sync what waits, or a part of it; false when it is busy or nothing waits.
    pub(super) fn begin(&mut self, random: &mut Random) -> bool {
        if self.syncing.is_some() || self.queue.is_empty() {
            return false;
        }
        let all = self.queue.len();
        let group = if random.one_in(4) { 1 + random.index(all) } else { all };
        let mut write = LogWrite::default();
        let mut reports = Vec::new();
        for (report, later) in self.queue.drain(..group) {
            write.merge(later);
            // A number stands for all before it.
            if matches!((report, reports.last()), (Report::Written(_), Some(Report::Written(_)))) {
                reports.pop();
            }
            reports.push(report);
        }
        self.syncing = Some((write, reports));
        true
    }

    /// The sync is done: its group is durable.
    pub(super) fn finish(&mut self) -> Vec<Report> {
        let Some((write, reports)) = self.syncing.take() else { return Vec::new() };
        self.store(&write);
        reports
    }

    /// The process dies. A write is a transaction: it is durable or lost as a whole, and those that
    /// are durable come before those that are lost.
    pub(super) fn crash(&mut self, random: &mut Random) -> CrashLoss {
        let syncing = self.syncing.take().map(|(write, _)| write);
        let waiting = std::mem::take(&mut self.queue).into_iter().map(|(_, write)| write);
        let mut loss = CrashLoss::default();
        for write in syncing.into_iter().chain(waiting) {
            loss.lost |= random.one_in(2);
            if !loss.lost {
                loss.unreported = true;
                self.store(&write);
            }
        }
        loss
    }

    /// The process dies because there was no space: nothing is durable that was not before.
    pub(super) fn lose(&mut self) {
        self.syncing = None;
        self.queue.clear();
    }

    /// Writes that are not durable yet.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.syncing.is_some())
    }

    pub(super) fn recover(&mut self) -> Recovered {
        self.platter.recover().expect("this log cannot fail")
    }

    fn store(&mut self, write: &LogWrite) {
        self.platter.write(write).expect("this log cannot fail");
    }
}

impl World {
    pub(super) fn begin_sync(&mut self, master: usize) {
        let host = &mut self.masters[master];
        if !host.disk.begin(&mut self.random) {
            return;
        }
        let boot = host.boot;
        let slowest_us = host.disk.slowest_us;
        let delay_us = match self.trouble(master) {
            Some(Trouble::Slow) => self.random.between(500_000, 3_000_000),
            _ => self.random.mostly_short(100, slowest_us),
        };
        self.after(delay_us, Happening::DiskSynced { boot });
        if self.goes_wrong(CRASH_IN_SYNC) {
            let crash_us = self.random.between(0, delay_us);
            let down_us = self.random.mostly_short(0, 3_000_000);
            self.after(crash_us, Happening::Fault(Fault::MasterCrashes { master, down_us }));
        }
    }

    pub(super) fn disk_synced(&mut self, boot: u64) {
        let Some(master) = self.running(boot) else { return };
        if let Some(Trouble::Full | Trouble::Failing) = self.trouble(master) {
            return self.write_failed(master);
        }
        for report in self.masters[master].disk.finish() {
            // The broken one has said so already.
            let said = self.variant == Variant::AcknowledgeBeforeSync;
            if said && matches!(report, Report::Written(_)) {
                continue;
            }
            let waits = self.masters[master].disk.reported_us >= self.now_us;
            if waits || self.random.one_in(4) {
                self.disk_will_report(master, report);
            } else {
                self.disk_reports(boot, report);
            }
        }
        self.begin_sync(master);
    }

    pub(super) fn disk_will_report(&mut self, master: usize, report: Report) {
        let host = &mut self.masters[master];
        let boot = host.boot;
        let at_us = (self.now_us + self.random.between(0, 300)).max(host.disk.reported_us);
        host.disk.reported_us = at_us;
        self.at(at_us, Happening::DiskReports { boot, report });
    }
}
