//! Which copies on this machine proved whole since the process began.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use weir_proto::digest::Digest;

/// Most digests that are remembered: more than one tree has files, for some 17 MB.
const MAX_VERIFIED: usize = 1 << 18;

/// Digests of blobs that need no hashing again. Forgetting one costs only that.
#[derive(Debug, Default)]
pub(super) struct Verified {
    digests: Mutex<HashSet<Digest>>,
}

impl Verified {
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.digests().contains(&digest)
    }

    pub(super) fn add(&self, digest: Digest) {
        let mut digests = self.digests();
        // All at once: who was used last is not worth remembering for each.
        if digests.len() >= MAX_VERIFIED {
            digests.clear();
        }
        digests.insert(digest);
    }

    pub(super) fn forget(&self, digest: Digest) {
        self.digests().remove(&digest);
    }

    fn digests(&self) -> MutexGuard<'_, HashSet<Digest>> {
        // A set is whole between any two of its operations, so a panic elsewhere does not matter.
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_stays_within_its_bound_and_knows_the_last() {
        let verified = Verified::default();
        let digest = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            Digest(bytes)
        };
        for n in 0..=MAX_VERIFIED {
            verified.add(digest(n));
            assert!(verified.has(digest(n)));
        }
        assert!(verified.digests().len() <= MAX_VERIFIED);
        verified.forget(digest(MAX_VERIFIED));
        assert!(!verified.has(digest(MAX_VERIFIED)));
    }
}
