//! Unequal agents under mixed work, in virtual time: how long it takes beside the least there could be,
//! and how busy the agents are until the end.

use std::collections::BTreeMap;

use super::*;

/// How long a message takes, in microseconds.
const MESSAGE_US: u64 = 1_000;
/// Results wait this long for others, and are sent when there are so many, as in an agent's session.
const PAGE_US: u64 = 20_000;
const PAGE_TASKS: u32 = 512;
/// How long a commit takes.
const COMMIT_US: u64 = 2_000;
const HEARTBEAT_US: u64 = 1_000_000;

/// A leader, machines and messages between them.
struct Cluster {
    leader: Leader,
    machines: Vec<Machine>,
    /// How long a task of each job takes on a machine of speed 1.
    task_us: BTreeMap<StageId, u64>,
    due: BTreeMap<(u64, u64), Due>,
    scheduled: u64,
    now_us: u64,
}

/// An agent with one core for each slot.
struct Machine {
    id: AgentId,
    cores: u32,
    /// How many times longer than on others everything takes.
    slowness: u64,
    lanes: BTreeMap<LeaseId, Lane>,
    busy_us: u64,
    /// When it last had something to do.
    last_us: u64,
}

struct Lane {
    stage: StageId,
    slots: u32,
    queued: RangeSet,
    running: u32,
    ended: RangeSet,
    reporting: bool,
}

enum Due {
    Granted(usize, Box<Lease>),
    Recalled(usize, LeaseId, RangeSet),
    Ends(usize, LeaseId, u32),
    Reports(usize, LeaseId),
    Committed(usize, LeaseId, RangeSet),
    Back(usize, LeaseId, RangeSet),
    Heartbeat(usize),
}

impl Cluster {
    fn new(machines: &[(u32, u64)]) -> Cluster {
        let mut leader = Leader::new();
        let mut due = BTreeMap::new();
        let machine = |(number, (cores, slowness)): (usize, &(u32, u64))| {
            leader.attach(number as u64 + 1, *cores);
            due.insert((HEARTBEAT_US, number as u64), Due::Heartbeat(number));
            Machine {
                id: AgentId(number as u64 + 1),
                cores: *cores,
                slowness: *slowness,
                lanes: BTreeMap::new(),
                busy_us: 0,
                last_us: 0,
            }
        };
        let machines = machines.iter().enumerate().map(machine).collect();
        let task_us = BTreeMap::new();
        Cluster { leader, machines, task_us, due, scheduled: 1_000, now_us: 0 }
    }

    fn submit(&mut self, count: u32, task_us: u64) {
        let stage = self.leader.submit(count, 1);
        self.task_us.insert(stage, task_us);
    }

    fn after(&mut self, delay_us: u64, due: Due) {
        self.scheduled += 1;
        self.due.insert((self.now_us + delay_us, self.scheduled), due);
    }

    fn machine(&self, id: AgentId) -> usize {
        self.machines.iter().position(|machine| machine.id == id).expect("a known agent")
    }

    fn place(&mut self) {
        self.leader.now_ms = self.now_us / 1_000;
        loop {
            let now_ms = self.leader.now_ms;
            let placement = place(&self.leader.state, &mut self.leader.table, now_ms);
            let again = !placement.extensions.is_empty();
            for (stage, leased_through) in placement.extensions {
                self.leader.apply(Change::ExtendLeases { stage, leased_through });
            }
            for (agent, lease) in placement.grants {
                let machine = self.machine(agent);
                self.after(MESSAGE_US, Due::Granted(machine, Box::new(lease)));
            }
            for (agent, lease, tasks) in placement.recalled {
                let machine = self.machine(agent);
                self.after(MESSAGE_US, Due::Recalled(machine, lease, tasks));
            }
            if !again {
                break;
            }
        }
    }

    /// Lets tasks begin in free slots.
    fn begin(&mut self, number: usize, id: LeaseId) {
        let machine = &mut self.machines[number];
        let Some(lane) = machine.lanes.get_mut(&id) else { return };
        let task_us = self.task_us[&lane.stage] * machine.slowness;
        let mut begun = Vec::new();
        while lane.running < lane.slots
            && let Some(next) = lane.queued.take_first(1)
        {
            lane.running += 1;
            machine.busy_us += task_us;
            begun.push(next.start);
        }
        for index in begun {
            self.after(task_us, Due::Ends(number, id, index));
        }
    }

    /// Runs until every job has ended; the time that takes.
    fn run(&mut self) -> u64 {
        self.place();
        while !self.leader.state.active.is_empty() {
            let ((now_us, _), due) = self.due.pop_first().expect("something is due");
            self.now_us = now_us;
            self.happens(due);
        }
        self.now_us
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Granted(number, lease) => {
                let lane = self.machines[number].lanes.entry(lease.id).or_insert_with(|| Lane {
                    stage: lease.stage,
                    slots: 0,
                    queued: RangeSet::new(),
                    running: 0,
                    ended: RangeSet::new(),
                    reporting: false,
                });
                lane.slots = lease.slots;
                lane.queued.insert(lease.range);
                self.begin(number, lease.id);
            }
            Due::Recalled(number, id, tasks) => {
                let Some(lane) = self.machines[number].lanes.get_mut(&id) else { return };
                let back = lane.queued.intersection(&tasks);
                lane.queued.remove_all(&back);
                self.after(MESSAGE_US, Due::Back(number, id, back));
            }
            Due::Ends(number, id, index) => {
                let machine = &mut self.machines[number];
                machine.last_us = self.now_us;
                let Some(lane) = machine.lanes.get_mut(&id) else { return };
                lane.running -= 1;
                lane.ended.insert(TaskRange::single(index));
                let at_once = lane.ended.len() >= PAGE_TASKS || lane.queued.is_empty();
                if at_once || !std::mem::replace(&mut lane.reporting, true) {
                    let delay_us = if at_once { 0 } else { PAGE_US };
                    self.after(delay_us, Due::Reports(number, id));
                }
                self.begin(number, id);
            }
            Due::Reports(number, id) => {
                let Some(lane) = self.machines[number].lanes.get_mut(&id) else { return };
                lane.reporting = false;
                let ended = std::mem::take(&mut lane.ended);
                if !ended.is_empty() {
                    self.after(MESSAGE_US + COMMIT_US, Due::Committed(number, id, ended));
                }
            }
            Due::Committed(number, id, ended) => {
                let stage = self.machines[number].lanes[&id].stage;
                let wall_us = self.task_us[&stage] * self.machines[number].slowness;
                self.commit(self.machines[number].id, id, stage, &ended, wall_us);
                self.place();
            }
            Due::Back(number, id, tasks) => {
                for range in tasks.ranges() {
                    self.leader.table.give_back(self.machines[number].id, id, *range, None);
                }
                self.place();
            }
            Due::Heartbeat(number) => {
                let machine = &self.machines[number];
                let now_ms = self.now_us / 1_000;
                self.leader.table.heard(machine.id, &[], now_ms);
                self.after(HEARTBEAT_US, Due::Heartbeat(number));
                self.place();
            }
        }
    }

    fn commit(
        &mut self,
        agent: AgentId,
        lease: LeaseId,
        stage: StageId,
        ended: &RangeSet,
        wall_us: u64,
    ) {
        let usage = Usage { fuel: 1, peak_memory_bytes: 1, wall_us, ..Usage::default() };
        let result = TaskResult::without_output(Outcome::Succeeded { exit_code: 0 }, usage);
        let page = |range: &TaskRange| {
            let results = vec![result.clone(); range.len() as usize];
            Page { stage, first: range.start, results }.encode()
        };
        for range in ended.ranges() {
            self.leader.table.sent(agent, lease, *range);
        }
        let pages = ended.ranges().iter().map(page).collect();
        self.leader.apply(Change::CommitPages { agent, pages });
        self.leader.table.measured(stage, wall_us);
    }

    /// The least time in which these machines can do all of it.
    fn ideal_us(&self) -> u64 {
        let count = |stage: &StageId| u64::from(self.leader.state.jobs[&stage.job].tasks());
        let work_us: u64 = self.task_us.iter().map(|(stage, us)| count(stage) * us).sum();
        let speed: f64 = self.machines.iter().map(|m| f64::from(m.cores) / m.slowness as f64).sum();
        (work_us as f64 / speed) as u64
    }
}

/// Runs jobs of (tasks, microseconds each) on a fast and a slow machine of two cores each; checks how
/// long it takes, and that both were busy.
fn check(jobs: &[(u32, u64)]) {
    let mut cluster = Cluster::new(&[(2, 1), (2, 4)]);
    jobs.iter().for_each(|(count, task_us)| cluster.submit(*count, *task_us));
    let (took_us, ideal_us) = (cluster.run(), cluster.ideal_us());
    let ratio = took_us as f64 / ideal_us as f64;
    let busy = |machine: &Machine| {
        machine.busy_us as f64 / (u64::from(machine.cores) * machine.last_us) as f64
    };
    let busy: Vec<f64> = cluster.machines.iter().map(busy).collect();
    println!("{jobs:?}: {ratio:.3} of the ideal, busy {busy:.3?}");
    assert!(ratio <= 1.10, "{jobs:?} took {ratio:.3} times the ideal, busy {busy:.3?}");
    assert!(busy.iter().all(|busy| *busy >= 0.95), "{jobs:?}: busy {busy:.3?}");
}

#[test]
fn tasks_of_microseconds_keep_fast_and_slow_agents_busy() {
    check(&[(1_500_000, 4)]);
}

#[test]
fn tasks_of_milliseconds_keep_fast_and_slow_agents_busy() {
    check(&[(3_000, 10_000)]);
}

#[test]
fn tasks_of_minutes_are_not_hoarded_by_a_slow_agent() {
    check(&[(400, 240_000_000)]);
}

#[test]
fn a_mixed_load_ends_on_all_agents_together() {
    check(&[(500_000, 4), (2_000, 5_000), (300, 500_000), (60, 4_000_000)]);
}
