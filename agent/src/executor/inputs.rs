//! Views of a lane's inputs, opened as its guests first read them and kept for the next.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use weir_proto::{digest::Digest, id::Namespace};
use weir_store::view::BlobView;

use crate::{
    data::{DataError, TaskData},
    filesystem::OpenInput,
};

/// Most views that a lane keeps: a small blob is in memory, a large one an open file.
const MAX_VIEWS: usize = 128;

/// The inputs of a lane's tasks, which are held on this machine.
pub(super) struct LaneInputs {
    data: Arc<dyn TaskData>,
    namespace: Namespace,
    opened: Mutex<Opened>,
}

/// Views by digest; the one opened longest ago goes first.
#[derive(Default)]
struct Opened {
    views: HashMap<Digest, BlobView>,
    order: VecDeque<Digest>,
}

impl LaneInputs {
    pub(super) fn new(data: Arc<dyn TaskData>, namespace: Namespace) -> LaneInputs {
        LaneInputs { data, namespace, opened: Mutex::default() }
    }
}

impl OpenInput for LaneInputs {
    fn open(&self, digest: Digest) -> Result<BlobView, DataError> {
        let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = lock().views.get(&digest) {
            return Ok(view.clone());
        }
        // Not under the lock: it may wait for the disk.
        let view = self.data.open(&self.namespace, digest)?;
        let mut opened = lock();
        if opened.views.insert(digest, view.clone()).is_none() {
            opened.order.push_back(digest);
        }
        if opened.order.len() > MAX_VIEWS
            && let Some(oldest) = opened.order.pop_front()
        {
            opened.views.remove(&oldest);
        }
        Ok(view)
    }
}
