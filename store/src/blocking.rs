//! Work that waits for a disk, kept off the threads that run futures.

use std::{future, panic};

/// Runs `work` on a thread that may block.
///
/// A cancelled caller does not stop the work: it runs to its end, and its result is dropped.
///
/// # Panics
/// When `work` panics, with its panic.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // Only a runtime that shuts down cancels blocking work, and it drops this future next.
            Err(_) => future::pending().await,
        },
    }
}
