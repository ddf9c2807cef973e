//! Whether everything is counted once, under a name that Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::id::AgentId;
use weir_scheduler::{apply::Used, times::Times};

use super::*;

fn used(outcomes: &[(u8, u32)], times_us: &[u64]) -> Used {
    let mut times = Times::default();
    times_us.iter().for_each(|us| times.add(*us));
    Used { outcomes: outcomes.iter().copied().collect(), fuel: 1_000, times }
}

fn a_day() -> Metrics {
    let metrics = Metrics::default();
    metrics.measured(Measure::JobSubmitted);
    metrics.measured(Measure::JobLeased { waited_ms: 3 });
    metrics.measured(Measure::LeasesGranted(2));
    let used = used(&[(1, 3), (4, 1), (99, 1)], &[10, 15, 16, 100, 5_000_000_000]);
    metrics.measured(Measure::TasksDone { agent: Some(AgentId(1)), used });
    metrics.measured(Measure::TasksRetried(2));
    metrics.measured(Measure::LeaseOver { held_ms: 250 });
    metrics.measured(Measure::JobEnded { ending: Ending::Failed, took_ms: 900 });
    metrics.committed(Duration::from_micros(700));
    metrics.loop_was_busy(Duration::from_millis(40), false);
    metrics.loop_was_busy(Duration::from_millis(3), true);
    metrics.loop_was_busy(Duration::from_millis(2), true);
    metrics.snapshot_taken(Duration::from_millis(200));
    metrics.called("weir.v1.Jobs/Submit", Code::Ok, Duration::from_millis(2));
    metrics
}

/// Series and their values.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name, value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn what_happened_is_counted() {
    let text = a_day().text(&Reading { leads: true, agents_live: 2, ..Reading::default() });
    let series = series(&text);
    let value = |name: &str| *series.get(name).unwrap_or_else(|| panic!("no {name} in\n{text}"));

    assert_eq!(value("weir_jobs_submitted_total"), 1.0);
    assert_eq!(value("weir_tasks_total{outcome=\"succeeded\"}"), 3.0);
    assert_eq!(value("weir_tasks_total{outcome=\"out_of_fuel\"}"), 1.0);
    assert_eq!(value("weir_tasks_total{outcome=\"trapped\"}"), 0.0);
    assert_eq!(value("weir_tasks_total{outcome=\"unknown\"}"), 1.0);
    assert_eq!(value("weir_tasks_retried_total"), 2.0);
    assert_eq!(value("weir_fuel_total"), 1_000.0);
    assert_eq!(value("weir_leases_granted_total"), 2.0);
    assert_eq!(value("weir_jobs_ended_total{status=\"failed\"}"), 1.0);
    assert_eq!(value("weir_job_wait_seconds_bucket{le=\"0.004\"}"), 1.0);
    assert_eq!(value("weir_log_commits_total"), 1.0);
    assert_eq!(value("weir_loop_longest_seconds"), 0.04);
    assert_eq!(value("weir_loop_longest_in_snapshot_seconds"), 0.003);
    assert_eq!(value("weir_loop_busy_seconds_count"), 3.0);
    assert_eq!(value("weir_snapshot_duration_seconds_count"), 1.0);
    assert_eq!(value("weir_agents{state=\"live\"}"), 2.0);
    assert_eq!(value("weir_is_leader"), 1.0);
    let call = "weir_rpc_requests_total{method=\"weir.v1.Jobs/Submit\",code=\"ok\"}";
    assert_eq!(value(call), 1.0);
}

#[test]
fn times_of_tasks_are_merged_without_loss() {
    let text = a_day().text(&Reading::default());
    let series = series(&text);

    // 10 and 15 us are below 16 us, 16 us is not.
    assert_eq!(series["weir_task_run_seconds_bucket{le=\"0.000015\"}"], 2.0);
    assert_eq!(series["weir_task_run_seconds_bucket{le=\"0.000031\"}"], 3.0);
    assert_eq!(series["weir_task_run_seconds_bucket{le=\"0.000127\"}"], 4.0);
    assert_eq!(series["weir_task_run_seconds_bucket{le=\"4294.967295\"}"], 4.0);
    assert_eq!(series["weir_task_run_seconds_bucket{le=\"+Inf\"}"], 5.0);
    assert_eq!(series["weir_task_run_seconds_count"], 5.0);
}

#[test]
fn the_text_follows_the_format() {
    let text = a_day().text(&Reading::default());
    let (mut helped, mut typed, mut seen) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines() {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name)) => {
                assert!(helped.insert(name), "{name} has two helps");
                assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
            }
            (Some("#"), Some("TYPE"), Some(name)) => {
                let kind = words.next().expect("a type");
                assert!(typed.insert(name, kind).is_none(), "{name} has two types");
            }
            (Some("#"), Some("UNIT"), Some(name)) => assert!(name.ends_with("_seconds"), "{name}"),
            (Some("#"), Some("EOF"), None) => {}
            _ => {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
                assert!(seen.insert(name), "{name} is there twice");
                let bare = name.split('{').next().expect("a name");
                let is_of = |name: &&&str| {
                    let ending = bare.strip_prefix(**name);
                    let endings = ["", "_total", "_bucket", "_sum", "_count", "_info"];
                    ending.is_some_and(|ending| endings.contains(&ending))
                };
                let family = typed.keys().find(is_of);
                assert!(family.is_some(), "{name} has no type");
                assert!(bare.starts_with("weir_") || bare.starts_with("process_"), "{name}");
            }
        }
    }
    assert_eq!(helped, typed.keys().copied().collect());
    assert!(seen.len() > 80, "there are {} series", seen.len());
}

#[test]
fn the_way_of_pages_is_timed_once_and_forgotten_with_their_session() {
    let metrics = Metrics::default();
    let mut times = PageTimes::default();
    let page = |seq| weir_proto::agent::SequencedPage {
        seq,
        lease: weir_proto::id::LeaseId { term: 1, seq: 1 },
        page: Vec::new(),
    };
    let pages = |session, seq| {
        let pages = AgentMessage::Pages { pages: vec![page(seq), page(seq + 1)], leases: vec![] };
        Event::FromAgent(SessionId(session), pages)
    };
    times.received(&pages(1, 1));
    times.received(&pages(2, 1));

    times.sent(SessionId(1), &MasterMessage::PagesStored(vec![1, 2]), &metrics);
    times.sent(SessionId(1), &MasterMessage::PagesStored(vec![1, 2]), &metrics);
    times.closed(SessionId(2));

    assert!(times.0.is_empty());
    let text = metrics.text(&Reading::default());
    assert_eq!(series(&text)["weir_page_commit_duration_seconds_count"], 1.0);
}
