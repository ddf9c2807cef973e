//! One client's view of what happens to the cluster: committed events after a position, then what
//! comes. Read from published state, so that a slow client misses nothing that is kept.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;
use weir_proto::{event::Position, wire};

use crate::driver::Handle;

/// Pause between two looks: state changes thousands of times a second, and people read less.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends events until the client has gone, or, unless it follows, has all.
pub(super) async fn send(
    master: Handle,
    mut after: Option<Position>,
    follow: bool,
    events: mpsc::Sender<Result<wire::ClusterEvent, Status>>,
) {
    let mut states = master.states();
    loop {
        let state = states.borrow_and_update().clone();
        let from = match after {
            // Events are in the order of the log.
            Some(after) => state
                .events
                .binary_search_by(|event| event.position.cmp(&after).then(std::cmp::Ordering::Less))
                .unwrap_or_else(|from| from),
            None => 0,
        };
        for event in state.events.iter().skip(from) {
            after = Some(event.position);
            if events.send(Ok(event.clone().into())).await.is_err() {
                return;
            }
        }
        if !follow {
            return;
        }
        tokio::select! {
            changed = states.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = events.closed() => return,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
