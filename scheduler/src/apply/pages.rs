//! Pages of results: the first result of a task stands, unless the task failed and is run again.

use weir_proto::{
    digest::Digest,
    page::Page,
    range::{RangeSet, TaskRange},
};

use super::{Effect, Used, close_tasks, jobs::end_if_done, stage_mut};
use crate::{
    stage::{PageRef, Stage},
    state::ClusterState,
};

/// Pages that do not parse, or are of jobs no longer known, change nothing: their agents may
/// forget them all the same.
pub(super) fn commit(state: &mut ClusterState, pages: Vec<Vec<u8>>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for bytes in pages {
        let Ok(page) = Page::decode(&bytes) else { continue };
        commit_page(state, &page, bytes, &mut effects);
    }
    effects
}

fn commit_page(state: &mut ClusterState, page: &Page, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
    let range = page.range();
    let applied = state.applied;
    let Some((stage, spec)) = state.stage(page.stage) else { return };
    if range.end > spec.count {
        return;
    }
    let mut new: RangeSet = [range].into_iter().collect();
    new.remove_all(&stage.done.within(range));
    if new.is_empty() {
        return;
    }
    let sorted = sort(stage, spec.retries, page, new);
    let Some(stage) = stage_mut(state, page.stage) else { return };
    if !sorted.again.is_empty() {
        sorted.again.iter().for_each(|index| *stage.attempts.entry(index).or_default() += 1);
        stage.retried = stage.retried.saturating_add(sorted.again.len());
        effects.push(Effect::Retried { stage: page.stage, tasks: sorted.again });
    }
    if sorted.accepted.is_empty() {
        return;
    }
    for index in sorted.failed.iter() {
        if let Some(result) = page.result(index) {
            stage.count_cause(result.outcome.cause(), 1, index);
        }
    }
    stage.times.add_all(&sorted.used.times);
    let digest = Digest::of(&bytes);
    let accepted = sorted.accepted.len();
    stage.add_page(PageRef {
        index: applied,
        range,
        digest,
        size_bytes: bytes.len() as u64,
        accepted: sorted.accepted.clone(),
        failed: sorted.failed,
        fuel: sorted.used.fuel,
        peak_memory_bytes: sorted.peak_memory_bytes,
        kept: false,
    });
    let namespace = state.jobs[&page.stage.job].spec.namespace.clone();
    effects.push(Effect::KeepPage { namespace, digest, bytes });
    effects.push(Effect::Done { stage: page.stage, tasks: sorted.accepted, used: sorted.used });
    close_tasks(state, page.stage.job, accepted);
    end_if_done(state, page.stage.job, false, effects);
}

/// A page's new results, by what becomes of their tasks.
#[derive(Default)]
struct Sorted {
    accepted: RangeSet,
    /// Of `accepted`.
    failed: RangeSet,
    /// Not accepted: the task runs again.
    again: RangeSet,
    /// By `accepted`.
    used: Used,
    /// By `accepted`.
    peak_memory_bytes: u64,
}

fn sort(stage: &Stage, retries: u32, page: &Page, new: RangeSet) -> Sorted {
    let mut sorted = Sorted { accepted: new.clone(), ..Sorted::default() };
    for index in new.iter() {
        let Some(result) = page.result(index) else { continue };
        let (outcome, usage) = (&result.outcome, result.usage);
        if !outcome.succeeded() {
            let attempts = stage.attempts.get(&index).copied().unwrap_or(0);
            if attempts < retries && outcome.may_be_retried() {
                sorted.again.insert(TaskRange::single(index));
                continue;
            }
            sorted.failed.insert(TaskRange::single(index));
        }
        *sorted.used.outcomes.entry(outcome.wire_number()).or_default() += 1;
        sorted.used.fuel = sorted.used.fuel.saturating_add(usage.fuel);
        sorted.used.times.add(usage.wall_us);
        sorted.peak_memory_bytes = sorted.peak_memory_bytes.max(usage.peak_memory_bytes);
    }
    sorted.accepted.remove_all(&sorted.again);
    sorted
}
