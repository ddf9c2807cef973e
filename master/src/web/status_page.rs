//! The status page: figures, throughput, jobs, agents, store.

use maud::{Markup, html};
use weir_proto::{
    text::plain,
    units::{grouped, short_bytes, short_count},
};
use weir_scheduler::state::{AgentLife, AgentRecord, Job, JobLife};

use super::{
    facts::Facts,
    format::{ago, cores, micros, of_bytes, rate, so_far, took},
    parts::{Progress, Refresh, curve, frame, meter, name, pill, state_of, tile},
};
use crate::{
    metrics::SECONDS,
    rpc::view::{status, summary},
};

/// Most agents on the page.
const MAX_AGENTS: usize = 100;
/// How many minutes a curve shows: as few as hold what there is.
const WINDOWS: [usize; 3] = [1, 2, SECONDS / 60];

/// The whole page.
pub(super) fn page(facts: &Facts) -> String {
    frame("Weir", Refresh::Live, &main(facts))
}

/// What changes of it.
pub(super) fn main(facts: &Facts) -> Markup {
    html! {
        main #main tabindex="-1" {
            (cluster(facts))
            (tiles(facts))
            (throughput(facts))
            (jobs(facts))
            (agents(facts))
            (store(facts))
        }
    }
}

fn cluster(facts: &Facts) -> Markup {
    let soft = &facts.soft;
    html! {
        section.cluster aria-labelledby="cluster" {
            h1 #cluster {
                @match facts.state.cluster {
                    Some(cluster) => (cluster),
                    None => "a cluster without a name yet",
                }
            }
            ul.line {
                li {
                    @if soft.leads { (pill("ok", "leader")) } @else { (pill("gone", "follower")) }
                    " term " (soft.term)
                }
                li { "log index " (grouped(facts.state.applied)) }
                li {
                    "commit p50 " (micros(soft.commit_p50_us)) " · p99 " (micros(soft.commit_p99_us))
                }
            }
        }
    }
}

fn tiles(facts: &Facts) -> Markup {
    let (live, lost) = facts.agents();
    let lost = if lost > 0 { format!("{} lost", grouped(lost as u64)) } else { String::new() };
    html! {
        dl.tiles {
            (tile("Active jobs", &grouped(facts.state.active.len() as u64), ""))
            (tile("Open tasks", &grouped(facts.open_tasks()), ""))
            (tile("Running tasks", &grouped(facts.soft.running), ""))
            (tile("Live agents", &grouped(live as u64), &lost))
        }
    }
}

fn throughput(facts: &Facts) -> Markup {
    let now = facts.rates.now;
    let tasks: Vec<f64> = facts.rates.seconds.iter().map(|second| second.tasks).collect();
    let fuel: Vec<f64> = facts.rates.seconds.iter().map(|second| second.fuel).collect();
    html! {
        section.curves aria-label="Throughput" {
            (flow("Tasks per second", now.tasks, &tasks))
            (flow("Fuel per second", now.fuel, &fuel))
        }
    }
}

fn flow(title: &str, now: f64, values: &[f64]) -> Markup {
    let top = rate(values.iter().copied().fold(0.0, f64::max));
    // A cluster that has just started fills a shorter curve.
    let minutes = WINDOWS.into_iter().find(|minutes| minutes * 60 >= values.len());
    let minutes = minutes.unwrap_or(SECONDS / 60);
    let label = format!("{title}, the last {minutes} min: {} now, {top} at most", rate(now));
    html! {
        div.card.flow {
            h2 { (title) }
            p.now { span.figure { (rate(now)) } span.note { "peak " (top) } }
            (curve(&label, values, minutes * 60))
            p.axis aria-hidden="true" { span { (minutes) " min ago" } span { "now" } }
        }
    }
}

fn jobs(facts: &Facts) -> Markup {
    let all = facts.state.jobs.len();
    html! {
        section.card aria-labelledby="jobs" {
            h2 #jobs { "Jobs" }
            @if all == 0 {
                p.empty { "No job yet. Run one: " code { "weir run hello.wasm" } }
            } @else {
                div.scroll role="region" aria-labelledby="jobs" tabindex="0" {
                    table {
                        caption { "Active jobs first, then the newest" }
                        thead {
                            tr {
                                th scope="col" { "Job" }
                                th scope="col" { "State" }
                                th.wide scope="col" { "Progress" }
                                th.number.extra scope="col" { "Fuel" }
                                th.number.less scope="col" { "Time" }
                                th.number.extra scope="col" { "Submitted" }
                            }
                        }
                        tbody {
                            @for job in facts.rows.iter().filter_map(|id| facts.state.jobs.get(id)) {
                                (job_row(facts, job))
                            }
                        }
                    }
                }
                @if all > facts.rows.len() {
                    p.more {
                        (grouped((all - facts.rows.len()) as u64)) " more: "
                        code { "weir job ls" }
                    }
                }
            }
        }
    }
}

fn job_row(facts: &Facts, job: &Job) -> Markup {
    let summary = summary(job);
    let running = facts.soft.running_of.get(&job.id).copied().unwrap_or(0);
    let progress = Progress::of(&summary, running);
    let time = match job.life {
        JobLife::Active => so_far(facts.now_ms.saturating_sub(job.submitted_ms)),
        JobLife::Ended { at_ms, .. } => took(at_ms.saturating_sub(job.submitted_ms)),
    };
    html! {
        tr {
            th.who scope="row" {
                a #(job.id) href={ "/job/" (job.id.0) } { (job.id) }
                (name(&job.spec.name))
            }
            td { (state_of(status(job))) }
            td.wide { (progress.bar(&format!("Progress of {}", job.id))) }
            td.number.extra { (short_count(summary.fuel)) }
            td.number.less { (time) }
            td.number.extra { (ago(facts.now_ms, job.submitted_ms)) }
        }
    }
}

fn agents(facts: &Facts) -> Markup {
    let is_live = |agent: &&AgentRecord| matches!(agent.life, AgentLife::Live { .. });
    let gone = facts.state.agents.values().filter(|agent| !is_live(agent));
    let listed: Vec<&AgentRecord> =
        facts.state.live_agents().chain(gone).take(MAX_AGENTS).collect();
    let more = facts.state.agents.len() - listed.len();
    html! {
        section.card aria-labelledby="agents" {
            h2 #agents { "Agents" }
            @if facts.agents().0 == 0 {
                p.empty {
                    "No agent is connected, so nothing can run. Start one: "
                    code { "weir agent --master " (facts.url) " --data-dir ./agent" }
                }
            }
            @if !listed.is_empty() {
                div.scroll role="region" aria-labelledby="agents" tabindex="0" {
                    table {
                        caption { "What leases take of what each agent has" }
                        thead {
                            tr {
                                th scope="col" { "Agent" }
                                th scope="col" { "State" }
                                th.half scope="col" { "Cores" }
                                th.half.less scope="col" { "Memory" }
                                th.number scope="col" { "Fuel/s" }
                                th.number.extra scope="col" { "Leases" }
                                th.number.extra scope="col" { "Version" }
                            }
                        }
                        tbody { @for agent in listed { (agent_row(facts, agent)) } }
                    }
                }
                @if more > 0 {
                    p.more { (grouped(more as u64)) " more: " code { "weir cluster agents" } }
                }
            }
        }
    }
}

fn agent_row(facts: &Facts, agent: &AgentRecord) -> Markup {
    let description = &agent.description;
    let (id, has) = (description.id, &description.resources);
    let usage = facts.soft.agents.get(&id);
    let used = usage.map(|usage| usage.used.clone()).unwrap_or_default();
    let (used_cpu, used_memory) = (used.cpu_millis, used.memory_bytes);
    let cpu = format!("{} of {}", cores(used_cpu.into()), cores(has.cpu_millis.into()));
    let fuel = facts.rates.agents.get(&id).copied().unwrap_or(0.0);
    html! {
        tr {
            th.who scope="row" { (name(&description.name)) span.id { (id) } }
            td {
                @match (agent.life, usage) {
                    (AgentLife::Lost { since_ms }, _) => {
                        (pill("bad", "lost")) span.sub { (ago(facts.now_ms, since_ms)) }
                    }
                    (AgentLife::Left { since_ms }, _) => {
                        (pill("gone", "left")) span.sub { (ago(facts.now_ms, since_ms)) }
                    }
                    (AgentLife::Live { .. }, Some(usage)) if usage.connected => {
                        @if agent.draining { (pill("gone", "draining")) } @else { (pill("ok", "live")) }
                    }
                    (AgentLife::Live { .. }, _) => (pill("gone", "silent")),
                }
            }
            td.half { (meter("Cores in use", used_cpu.into(), has.cpu_millis.into(), &cpu)) }
            td.half.less {
                (meter("Memory in use", used_memory, has.memory_bytes,
                    &of_bytes(used_memory, has.memory_bytes)))
                @for (countable, count) in has.countables.iter() {
                    span.sub { (countable) " " (used.countables.count(countable)) " of " (count) }
                }
            }
            td.number { (rate(fuel)) }
            td.number.extra { (usage.map_or(0, |usage| usage.leases)) }
            td.number.extra { (plain(&description.version)) }
        }
    }
}

fn store(facts: &Facts) -> Markup {
    html! {
        section.card aria-labelledby="store" {
            h2 #store { "Store" }
            @match facts.store {
                None => p.empty { "The store has not been counted yet; this takes a moment." },
                Some(stat) => dl.store {
                    (tile("Blobs", &grouped(stat.blobs), ""))
                    (tile("Bytes", &short_bytes(stat.bytes), ""))
                    @if let Some((free, whole)) = stat.disk {
                        (tile("Free on disk", &short_bytes(free),
                            &format!("of {}", short_bytes(whole))))
                    }
                },
            }
        }
    }
}
