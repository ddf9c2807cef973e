//! Work that many ask for at once and that is done once.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// What is under way, by key.
pub(super) struct Flights<K, T> {
    flying: Mutex<HashMap<K, watch::Receiver<Option<T>>>>,
    /// How many ever waited for others.
    #[cfg(test)]
    pub(super) followers: std::sync::atomic::AtomicUsize,
}

/// What a caller does about a key.
enum Flight<'a, K: Hash + Eq, T> {
    /// The work itself.
    Lead(Lead<'a, K, T>),
    /// Wait for who does it.
    Follow(Follow<T>),
}

/// The duty to do the work; dropping it without a result hands the duty on.
struct Lead<'a, K: Hash + Eq, T> {
    flights: &'a Flights<K, T>,
    key: K,
    result: watch::Sender<Option<T>>,
}

/// The wait for another's result.
struct Follow<T> {
    result: watch::Receiver<Option<T>>,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Flights<K, T> {
        Flights {
            flying: Mutex::default(),
            #[cfg(test)]
            followers: Default::default(),
        }
    }
}

impl<K, T> fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Flights<K, T> {
    /// The result of `work`, done by the first who asks for it under this key, for all who do.
    pub(super) async fn share<F: Future<Output = T>>(&self, key: K, work: impl Fn() -> F) -> T {
        loop {
            match self.join(&key) {
                Flight::Lead(lead) => {
                    let result = work().await;
                    lead.land(result.clone());
                    return result;
                }
                Flight::Follow(follow) => {
                    // A leader whose caller gave up leaves nothing: somebody else leads then.
                    if let Some(result) = follow.landed().await {
                        return result;
                    }
                }
            }
        }
    }

    fn join(&self, key: &K) -> Flight<'_, K, T> {
        let mut flying = self.flying();
        if let Some(result) = flying.get(key) {
            #[cfg(test)]
            self.followers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Flight::Follow(Follow { result: result.clone() });
        }
        let (result, follow) = watch::channel(None);
        flying.insert(key.clone(), follow);
        Flight::Lead(Lead { flights: self, key: key.clone(), result })
    }
}

impl<K, T> Flights<K, T> {
    fn flying(&self) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<T>>>> {
        // A map is whole between any two of its operations, so a panic elsewhere does not matter.
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<K, T> Flights<K, T> {
    /// How many keys are under way.
    pub(super) fn len(&self) -> usize {
        self.flying().len()
    }
}

impl<K: Hash + Eq, T> Lead<'_, K, T> {
    /// Gives the result to all who wait.
    fn land(self, result: T) {
        self.result.send_replace(Some(result));
    }
}

impl<K: Hash + Eq, T> Drop for Lead<'_, K, T> {
    /// Makes room for the next flight before the followers of this one wake.
    fn drop(&mut self) {
        self.flights.flying().remove(&self.key);
    }
}

impl<T: Clone> Follow<T> {
    /// The leader's result; `None` when it gave up.
    async fn landed(mut self) -> Option<T> {
        let landed = self.result.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}
