//! Ways of applying commands: the right one, and some that break an invariant on purpose.

use std::sync::Arc;

use weir_proto::{
    command::{Change, Command},
    digest::Digest,
    page::Page,
    range::{RangeSet, TaskRange},
};
use weir_scheduler::{
    apply::{Effect, Rejection, apply},
    stage::{PageRef, Stage},
    state::ClusterState,
};

use super::{Variant, observer::observe};
use weir_master::control::Apply;

type Applied = Result<Vec<Effect>, Rejection>;

impl Variant {
    /// How a master of this variant applies commands; all are watched by the observer.
    pub(super) fn apply(self) -> Apply {
        match self {
            Variant::Correct
            | Variant::AcknowledgeBeforeSync
            | Variant::ForgetVotes
            | Variant::StaleReads
            | Variant::SnapshotWithoutHardState => {
                |state, command, index| observe(apply, state, command, index)
            }
            Variant::ApplyPagesTwice => {
                |state, command, index| observe(count_again, state, command, index)
            }
            Variant::OverwriteResults => {
                |state, command, index| observe(overwrite, state, command, index)
            }
            Variant::ForgetGrants => {
                |state, command, index| observe(forget_grants, state, command, index)
            }
        }
    }
}

/// A lease of tasks that run at most once is accepted, and not remembered.
fn forget_grants(state: &mut ClusterState, command: Command, index: u64) -> Applied {
    let granted = match &command.change {
        Change::GrantOnce { stage, .. } => Some(*stage),
        _ => None,
    };
    let applied = apply(state, command, index);
    if let Some(id) = granted
        && let Some(job) = state.jobs.get_mut(&id.job)
    {
        let stage = &mut Arc::make_mut(job).stages[id.stage as usize];
        Arc::make_mut(stage).granted.clear();
    }
    applied
}

/// Results of tasks that are done already are counted again.
fn count_again(state: &mut ClusterState, command: Command, index: u64) -> Applied {
    apply_with(state, command, index, |stage, again| {
        stage.fuel += again.fuel;
        stage.pages.push_back(again);
    })
}

/// Results of tasks that are done already replace those that stood; all sums stay right.
fn overwrite(state: &mut ClusterState, command: Command, index: u64) -> Applied {
    apply_with(state, command, index, |stage, again| {
        // The same page again would say the same.
        if stage.pages.iter().any(|page| page.digest == again.digest) {
            return;
        }
        for page in stage.pages.iter_mut() {
            page.accepted.remove_all(&again.accepted);
            page.failed.remove_all(&again.accepted);
        }
        stage.pages.retain(|page| !page.accepted.is_empty());
        let failed = again.accepted.iter().filter(|index| stage.failed.contains(*index));
        let failed = failed.map(TaskRange::single).collect();
        stage.pages.push_back(PageRef { failed, ..again });
    })
}

/// Applies rightly, then hands `redo` each page with those of its tasks that had a result before.
fn apply_with(
    state: &mut ClusterState,
    command: Command,
    index: u64,
    redo: fn(&mut Stage, PageRef),
) -> Applied {
    let mut again = Vec::new();
    if let Change::CommitPages { pages, .. } = &command.change {
        again.extend(pages.iter().filter_map(|bytes| done_before(state, bytes, index)));
    }
    let mut effects = apply(state, command, index)?;
    for (page, entry, bytes) in again {
        let Some(job) = state.jobs.get_mut(&page.stage.job) else { continue };
        let namespace = job.spec.namespace.clone();
        effects.push(Effect::KeepPage { namespace, digest: entry.digest, bytes });
        let stage = &mut Arc::make_mut(job).stages[page.stage.stage as usize];
        redo(Arc::make_mut(stage), entry);
    }
    Ok(effects)
}

fn done_before(state: &ClusterState, bytes: &[u8], index: u64) -> Option<(Page, PageRef, Vec<u8>)> {
    let page = Page::decode(bytes).ok()?;
    let (stage, _) = state.stage(page.stage)?;
    let from_pages: RangeSet = stage.pages.iter().fold(RangeSet::new(), |mut all, page| {
        all.insert_all(&page.accepted);
        all
    });
    let accepted = from_pages.within(page.range());
    if accepted.is_empty() {
        return None;
    }
    let results: Vec<_> = accepted.iter().filter_map(|index| page.result(index)).collect();
    let entry = PageRef {
        index,
        range: page.range(),
        digest: Digest::of(bytes),
        size_bytes: bytes.len() as u64,
        failed: RangeSet::new(),
        kept: false,
        fuel: results.iter().map(|result| result.usage.fuel).sum(),
        peak_memory_bytes: 0,
        accepted,
    };
    Some((page, entry, bytes.to_vec()))
}
