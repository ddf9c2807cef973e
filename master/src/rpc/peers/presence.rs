//! Which process speaks for each of the other masters: one at a time.
//!
//! A copied data directory makes two masters of one number, and what one has promised the other
//! does not know. The one that is there stays; another is refused while that one is heard.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use weir_proto::id::NodeId;

/// A process that was not heard for so long may have been followed by another.
const HEARD: Duration = Duration::from_secs(1);

/// Who was heard.
#[derive(Debug, Default)]
pub(super) struct Presence {
    nodes: Mutex<BTreeMap<NodeId, Heard>>,
}

#[derive(Debug)]
struct Heard {
    /// The process, by what it drew at its start.
    boot: u64,
    at: Instant,
    /// Its calls that are open.
    calls: u32,
}

/// A call of a process that speaks for a master.
#[derive(Debug)]
pub(super) struct Call<'a> {
    presence: &'a Presence,
    node: NodeId,
    boot: u64,
}

/// Another process speaks for that master.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another process is {0} already; stop one of them, and give each master a data directory of \
     its own, not a copy"
)]
pub(super) struct Twin(NodeId);

impl Presence {
    /// A process begins a call for a master.
    pub(super) fn begin(&self, node: NodeId, boot: u64, now: Instant) -> Result<Call<'_>, Twin> {
        let mut nodes = self.nodes.lock().expect("nobody panics while holding it");
        let heard = nodes.entry(node).or_insert(Heard { boot, at: now, calls: 0 });
        if heard.boot != boot {
            if heard.calls > 0 && now.saturating_duration_since(heard.at) < HEARD {
                return Err(Twin(node));
            }
            *heard = Heard { boot, at: now, calls: 0 };
        }
        heard.calls += 1;
        heard.at = now;
        Ok(Call { presence: self, node, boot })
    }
}

impl Call<'_> {
    /// It is heard again.
    pub(super) fn heard(&self, now: Instant) -> Result<(), Twin> {
        let mut nodes = self.presence.nodes.lock().expect("nobody panics while holding it");
        match nodes.get_mut(&self.node) {
            Some(heard) if heard.boot == self.boot => {
                heard.at = now;
                Ok(())
            }
            _ => Err(Twin(self.node)),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut nodes = self.presence.nodes.lock().expect("nobody panics while holding it");
        if let Some(heard) = nodes.get_mut(&self.node).filter(|heard| heard.boot == self.boot) {
            heard.calls -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);

    #[test]
    fn a_second_process_is_refused_while_the_first_is_heard() {
        let (presence, start) = (Presence::default(), Instant::now());
        let first = presence.begin(NODE, 1, start).expect("nobody else");
        let soon = start + HEARD / 2;
        assert_eq!(presence.begin(NODE, 2, soon).expect_err("the first is there"), Twin(NODE));
        first.heard(soon).expect("it stays");
        assert!(presence.begin(NODE, 2, start + HEARD).is_err());
        // Another call of the same process, and another master.
        drop(presence.begin(NODE, 1, soon).expect("it is the same"));
        presence.begin(NodeId(3), 2, soon).expect("it is another master");
    }

    #[test]
    fn a_process_that_ended_or_fell_silent_is_followed() {
        let (presence, start) = (Presence::default(), Instant::now());
        drop(presence.begin(NODE, 1, start).expect("nobody else"));
        let second = presence.begin(NODE, 2, start).expect("the first hung up");
        let third = presence.begin(NODE, 3, start + HEARD).expect("the second is silent");
        assert_eq!(second.heard(start + HEARD).expect_err("it is late"), Twin(NODE));
        drop(second);
        third.heard(start + HEARD).expect("it stays");
    }
}
