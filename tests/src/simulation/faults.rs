//! What goes wrong, and when: some faults at any time, some right after a promise.

use super::{
    Fact,
    operations::Operation,
    world::{Happening, World, trace},
};

/// One in so many promises to a client or agent is followed by a crash of the master.
const CRASH_AFTER_PROMISE: u64 = 120;

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
    ClockJumps { master: usize, ms: u64 },
}

impl World {
    pub(super) fn plan_faults(&mut self) {
        for _ in 0..self.random.between(0, 20) {
            let at_us = self.random.between(0, self.faults_end_us - 1);
            let fault = self.draw_fault();
            self.at(at_us, Happening::Fault(fault));
        }
    }

    fn draw_fault(&mut self) -> Fault {
        let agent = self.random.index(self.agents.len());
        let master = self.random.index(self.masters.len());
        match self.random.between(0, 22) {
            0 => Fault::MasterCrashes { master, down_us: self.random.mostly_short(0, 10_000_000) },
            1..=2 => Fault::LeaderCrashes { down_us: self.random.mostly_short(0, 10_000_000) },
            17..=19 => Fault::MastersAreParted {
                one_way: self.random.one_in(3),
                for_us: self.random.between(100_000, 8_000_000),
            },
            20..=22 => Fault::MastersChange(self.random.pick(&[
                Operation::Add,
                Operation::Remove,
                Operation::Transfer,
            ])),
            3..=4 => Fault::AgentCrashes {
                agent,
                down_us: self.random.mostly_short(1_000, 15_000_000),
                // A process that dies says so; a machine that dies does not.
                notice_us: self.random.mostly_short(0, 20_000_000),
            },
            5..=7 => Fault::ConnectionBreaks { agent },
            8 => Fault::AgentIsCutOff { agent, for_us: self.random.between(1_000, 12_000_000) },
            9 => Fault::AgentIsStopped { agent },
            10..=11 => Fault::AgentIsDrained { agent, draining: self.random.one_in(2) },
            12..=15 => Fault::TasksArePaused {
                most: self.random.pick(&[0, 0, 1, 3, 100]),
                paused: !self.random.one_in(3),
            },
            _ => Fault::ClockJumps {
                master,
                ms: self.random.pick(&[10, 1_000, 7_000, 60_000, 3_600_000]),
            },
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
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
            Fault::ClockJumps { master, ms } => {
                self.masters[master].clock_ahead_ms += ms;
                self.counts.add(Fact::ClockJump, 1);
            }
        }
    }

    /// A master has just promised something: the moment at which a crash tells most.
    pub(super) fn maybe_crash_after_promise(&mut self, master: usize) {
        if self.is_faulty() && self.random.one_in(CRASH_AFTER_PROMISE) {
            let delay_us = self.random.between(0, 1_000);
            let down_us = self.random.mostly_short(0, 3_000_000);
            self.after(delay_us, Happening::Fault(Fault::MasterCrashes { master, down_us }));
        }
    }
}
