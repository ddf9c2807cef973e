//! What goes wrong, and when: some faults at any time, some right after a promise.

use weir_scheduler::state::FIRST_LEASED_THROUGH;

use super::{
    Fact,
    clients::Client,
    operations::Operation,
    trouble::{Damage, Trouble},
    world::{Happening, World, trace},
};

/// One in so many promises to a client or agent is followed by a crash of the master.
const CRASH_AFTER_PROMISE: u64 = 120;

/// How far a clock jumps at most.
const DAY_MS: i64 = 86_400_000;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    MasterCrashes { master: usize, down_us: u64 },
    LeaderCrashes { down_us: u64 },
    MastersAreParted { one_way: bool, for_us: u64 },
    MastersChange(Operation),
    AgentCrashes { agent: usize, down_us: u64, notice_us: u64 },
    ConnectionBreaks { agent: usize },
    AgentIsCutOff { agent: usize, for_us: u64 },
    AgentIsStopped { agent: usize },
    AgentIsDrained { agent: usize, draining: bool },
    TasksArePaused { most: u32, paused: bool },
    ClockJumps { master: usize, ms: i64 },
    DiskIsTroubled { master: usize, trouble: Trouble, for_us: u64 },
    LogIsDamaged { master: usize, damage: Damage },
}

impl World {
    pub(super) fn plan_faults(&mut self) {
        self.is_calm = self.random.one_in(20);
        let damage = self.random.one_in(6).then(|| self.draw_damage()).flatten();
        if self.is_calm {
            return self.plan_slow_disks();
        }
        for _ in 0..self.random.between(0, 20) {
            let fault = self.draw_fault();
            // Who is there must be certain, for only one disk of them may be lost.
            let changes = matches!(fault, Fault::MastersChange(Operation::Add | Operation::Remove));
            if damage.is_none() || !changes {
                self.will_strike(fault);
            }
        }
        self.crash_amid_a_large_job();
        damage.into_iter().for_each(|fault| self.will_strike(fault));
    }

    /// What is lent beyond the first mark counts when there is a new leader.
    fn crash_amid_a_large_job(&mut self) {
        let large = |client: &&Client| client.plan.spec.stages[0].count > FIRST_LEASED_THROUGH;
        let Some(submit_us) = self.clients.iter().find(large).map(|c| c.plan.submit_us) else {
            return;
        };
        let at_us = submit_us + self.random.between(200_000, 3_000_000);
        let down_us = self.random.mostly_short(0, 5_000_000);
        self.at(at_us, Happening::Fault(Fault::LeaderCrashes { down_us }));
    }

    /// Some disks, or all, are slow at a time.
    fn plan_slow_disks(&mut self) {
        for _ in 0..self.random.between(1, 4) {
            let at_us = self.random.between(0, self.faults_end_us - 1);
            for master in 0..self.masters.len() {
                let for_us = self.random.between(1_000_000, 6_000_000);
                let (trouble, slow) = (Trouble::Slow, !self.random.one_in(3));
                if slow {
                    let fault = Fault::DiskIsTroubled { master, trouble, for_us };
                    self.at(at_us, Happening::Fault(fault));
                }
            }
        }
    }

    fn will_strike(&mut self, fault: Fault) {
        let at_us = self.random.between(0, self.faults_end_us - 1);
        self.at(at_us, Happening::Fault(fault));
    }

    fn draw_trouble(&mut self, kinds: &[Trouble]) -> Fault {
        Fault::DiskIsTroubled {
            master: self.random.index(self.masters.len()),
            trouble: self.random.pick(kinds),
            for_us: self.random.mostly_short(100_000, 6_000_000),
        }
    }

    /// A log that is lost, where the others have it all.
    fn draw_damage(&mut self) -> Option<Fault> {
        let masters = self.masters.iter().filter(|master| master.identity.is_some()).count();
        let kinds = [Damage::Unreadable, Damage::Hole, Damage::TornEntry, Damage::TornSnapshot];
        let (master, damage) = (self.random.index(masters), self.random.pick(&kinds));
        (masters > 2).then_some(Fault::LogIsDamaged { master, damage })
    }

    fn draw_fault(&mut self) -> Fault {
        let agent = self.random.index(self.agents.len());
        let master = self.random.index(self.masters.len());
        match self.random.between(0, 27) {
            0 => Fault::MasterCrashes { master, down_us: self.random.mostly_short(0, 5_000_000) },
            1..=2 => Fault::LeaderCrashes { down_us: self.random.mostly_short(0, 5_000_000) },
            17..=19 => Fault::MastersAreParted {
                one_way: self.random.one_in(3),
                for_us: self.random.between(100_000, 4_000_000),
            },
            20..=22 => Fault::MastersChange(self.random.pick(&[
                Operation::Add,
                Operation::Remove,
                Operation::Transfer,
            ])),
            23..=27 => self.draw_trouble(&[Trouble::Full, Trouble::Failing, Trouble::Slow]),
            3..=4 => Fault::AgentCrashes {
                agent,
                down_us: self.random.mostly_short(1_000, 7_000_000),
                // A process that dies says so; a machine that dies does not.
                notice_us: self.random.mostly_short(0, 10_000_000),
            },
            5..=7 => Fault::ConnectionBreaks { agent },
            8 => Fault::AgentIsCutOff { agent, for_us: self.random.between(1_000, 8_000_000) },
            9 => Fault::AgentIsStopped { agent },
            10..=11 => Fault::AgentIsDrained { agent, draining: self.random.one_in(2) },
            12..=15 => Fault::TasksArePaused {
                most: self.random.pick(&[0, 0, 1, 3, 100]),
                paused: !self.random.one_in(3),
            },
            _ => Fault::ClockJumps {
                master,
                ms: self.random.pick(&[10, 1_000, 7_000, 60_000, DAY_MS])
                    * self.random.pick(&[1, -1]),
            },
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        if !self.is_faulty() {
            return;
        }
        trace!(self, "fault: {fault:?}");
        match fault {
            Fault::MasterCrashes { master, down_us } => self.master_crashes(master, down_us),
            Fault::LeaderCrashes { down_us } => {
                if let Some(master) = self.leader() {
                    self.master_crashes(master, down_us);
                }
            }
            Fault::MastersAreParted { one_way, for_us } => self.part_masters(one_way, for_us),
            Fault::MastersChange(operation) => self.operate(operation),
            Fault::AgentCrashes { agent, down_us, notice_us } => {
                self.agent_crashes(agent, down_us, notice_us);
            }
            Fault::ConnectionBreaks { agent } => self.connection_breaks(agent),
            Fault::AgentIsCutOff { agent, for_us } => {
                self.agents[agent].cut_off_until_us = self.now_us + for_us;
                self.counts.add(Fact::CutOff, 1);
                self.connection_breaks(agent);
            }
            Fault::AgentIsStopped { agent } => self.agent_is_stopped(agent),
            Fault::AgentIsDrained { agent, draining } => self.drain(agent, draining),
            Fault::TasksArePaused { most, paused } => self.pause(most, paused),
            Fault::DiskIsTroubled { master, trouble, for_us } => {
                self.disk_is_troubled(master, trouble, for_us);
            }
            Fault::LogIsDamaged { master, damage } => self.log_is_damaged(master, damage),
            Fault::ClockJumps { master, ms } => {
                self.masters[master].clock_ahead_ms += ms;
                self.counts.add(Fact::ClockJump, 1);
            }
        }
    }

    /// A master has just promised something: the moment at which a crash tells most.
    pub(super) fn maybe_crash_after_promise(&mut self, master: usize) {
        if self.goes_wrong(CRASH_AFTER_PROMISE) {
            let delay_us = self.random.between(0, 1_000);
            let down_us = self.random.mostly_short(0, 3_000_000);
            self.after(delay_us, Happening::Fault(Fault::MasterCrashes { master, down_us }));
        }
    }
}
