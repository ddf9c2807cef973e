//! Pages: made of results, sent until the leader says that they are stored.
//!
//! One whose tasks should not run again outlives the agent's process. The next life tells of it before
//! its hello, and so before the leader gives up what the earlier life had.

use weir_proto::{
    agent::{AgentMessage, KeptPage, SequencedPage},
    id::{ClusterId, LeaseId},
    page::{MAX_PAGE_BYTES, MAX_PAGE_TASKS, Page},
    range::TaskRange,
};

use super::{Action, HeldLease, Session};

/// Results wait at most this long for others to share their page.
pub(super) const PAGE_DELAY_MS: u64 = 20;
/// A page is sent at once when it has this many results.
const PAGE_TASKS: usize = 512;
/// A page is sent at once when its results take about this many bytes: outputs that are inline
/// make a page large long before it is full.
const PAGE_BYTES: usize = MAX_PAGE_BYTES / 4;
/// Tasks that ran for so long altogether are not lightly run again: their page is kept.
const DEAR_US: u64 = 1_000_000;

/// A page that no leader has said is stored.
#[derive(Debug)]
pub(super) struct Unstored {
    pub(super) lease: LeaseId,
    pub(super) range: TaskRange,
    page: Vec<u8>,
    /// Whether it is to survive this life of the agent.
    kept: bool,
}

impl Session {
    /// Makes pages of results that have waited long enough, or are enough.
    pub(super) fn send_due_pages(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let mut pages = Vec::new();
        for (id, lease) in &mut self.leases {
            if !lease.is_page_due(now_ms) {
                continue;
            }
            for page in lease.take_pages() {
                self.last_seq += 1;
                let (range, kept) = (page.range(), lease.is_dear(&page));
                let page = page.encode();
                if let (Some((cluster, _)), true) = (self.leader, kept) {
                    let page = page.clone();
                    actions.push(Action::Keep { seq: self.last_seq, cluster, page });
                }
                pages.push(self.last_seq);
                self.unstored.insert(self.last_seq, Unstored { lease: *id, range, page, kept });
            }
        }
        if self.is_up() {
            self.send_pages(&pages, actions);
        }
    }

    /// Tells of results of an earlier life, before anything else.
    pub(super) fn send_earlier(&self, actions: &mut Vec<Action>) {
        let mut messages: Vec<(ClusterId, usize, Vec<KeptPage>)> = Vec::new();
        for (seq, (cluster, page)) in &self.earlier {
            let kept = KeptPage { seq: *seq, page: page.clone() };
            match messages.last_mut() {
                Some((of, bytes, pages))
                    if of == cluster && *bytes + page.len() <= MAX_PAGE_BYTES =>
                {
                    *bytes += page.len();
                    pages.push(kept);
                }
                _ => messages.push((*cluster, page.len(), vec![kept])),
            }
        }
        let agent = self.agent.id;
        actions.extend(
            messages.into_iter().map(|(cluster, _, pages)| {
                Action::Send(AgentMessage::Kept { agent, cluster, pages })
            }),
        );
    }

    /// The leader says that a page is stored.
    pub(super) fn stored(&mut self, seq: u64, actions: &mut Vec<Action>) {
        if self.earlier.remove(&seq).is_some() {
            return actions.push(Action::Forget(seq));
        }
        let Some(page) = self.unstored.remove(&seq) else { return };
        if page.kept {
            actions.push(Action::Forget(seq));
        }
        let Some(lease) = self.leases.get_mut(&page.lease) else { return };
        lease.open.remove(page.range);
        self.end_if_empty(page.lease, actions);
    }

    /// Nobody wants the results of a lease any more.
    pub(super) fn forget_pages(&mut self, lease: LeaseId, actions: &mut Vec<Action>) {
        let forgotten = self.unstored.extract_if(.., |_, page| page.lease == lease);
        let kept = forgotten.filter(|(_, page)| page.kept);
        actions.extend(kept.map(|(seq, _)| Action::Forget(seq)));
    }

    pub(super) fn send_unstored(&self, actions: &mut Vec<Action>) {
        let seqs: Vec<u64> = self.unstored.keys().copied().collect();
        self.send_pages(&seqs, actions);
    }

    /// Sends pages in messages of bounded size.
    fn send_pages(&self, seqs: &[u64], actions: &mut Vec<Action>) {
        let mut pages = Vec::new();
        let mut bytes = 0;
        for seq in seqs {
            let Some(unstored) = self.unstored.get(seq) else { continue };
            if !pages.is_empty() && bytes + unstored.page.len() > MAX_PAGE_BYTES {
                actions.push(self.report(std::mem::take(&mut pages)));
                bytes = 0;
            }
            bytes += unstored.page.len();
            let (lease, page) = (unstored.lease, unstored.page.clone());
            pages.push(SequencedPage { seq: *seq, lease, page });
        }
        if !pages.is_empty() {
            actions.push(self.report(pages));
        }
    }

    fn report(&self, pages: Vec<SequencedPage>) -> Action {
        let leases = self.marks(|id| pages.iter().any(|page| page.lease == id));
        Action::Send(AgentMessage::Pages { pages, leases })
    }
}

impl HeldLease {
    /// Nobody to wait for, enough, or long enough.
    fn is_page_due(&self, now_ms: u64) -> bool {
        !self.results.is_empty()
            && (self.once
                || self.unfinished.is_empty()
                || self.results.len() >= PAGE_TASKS
                || self.results_bytes >= PAGE_BYTES
                || now_ms >= self.oldest_ms + PAGE_DELAY_MS)
    }

    /// Whether repeating a page's tasks would be wrong, or dear.
    fn is_dear(&self, page: &Page) -> bool {
        // Told again it would be one failure more, and perhaps a retry less.
        if self.retries && page.results.iter().any(|result| !result.outcome.succeeded()) {
            return false;
        }
        let wall_us = page.results.iter().map(|result| result.usage.wall_us);
        self.once || self.impure || wall_us.fold(0, u64::saturating_add) >= DEAR_US
    }

    /// All results as pages: one for each run of consecutive tasks, cut at the bounds of a page.
    fn take_pages(&mut self) -> Vec<Page> {
        let mut pages: Vec<Page> = Vec::new();
        let mut bytes = 0;
        self.results_bytes = 0;
        for (index, result) in std::mem::take(&mut self.results) {
            let size = result.encoded_size_hint();
            match pages.last_mut() {
                Some(page)
                    if page.range().end == index
                        && page.results.len() < MAX_PAGE_TASKS
                        && bytes + size <= PAGE_BYTES =>
                {
                    bytes += size;
                    page.results.push(result);
                }
                _ => {
                    bytes = size;
                    pages.push(Page { stage: self.stage, first: index, results: vec![result] });
                }
            }
        }
        pages
    }
}
