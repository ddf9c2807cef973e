//! Connections between agents and the master: two ordered streams each, that break with what is
//! under way, and whose ends learn of it at different times.

use std::collections::BTreeMap;

use weir_master::control::SessionId;

use super::{
    Fact,
    world::{Happening, World, trace},
};

/// Most messages under way in one direction of a connection.
pub(super) const MAX_UNDER_WAY: usize = 256;

/// All connections of a simulation.
#[derive(Default)]
pub(super) struct Network {
    connections: BTreeMap<SessionId, Connection>,
    last: u64,
}

/// A connection that at least one end has not given up.
#[derive(Default)]
struct Connection {
    master: usize,
    to_master: Stream,
    to_agent: Stream,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToMaster,
    ToAgent,
}

/// One direction: what is sent arrives in order, until it is closed; nothing arrives once it is cut.
#[derive(Default)]
struct Stream {
    last_us: u64,
    is_closed: bool,
    is_cut: bool,
    /// Its reader knows that it is over.
    is_over: bool,
    under_way: usize,
}

impl Network {
    pub(super) fn open(&mut self, master: usize) -> SessionId {
        self.last += 1;
        let session = SessionId(self.last);
        self.connections.insert(session, Connection { master, ..Connection::default() });
        session
    }

    /// The master at one end.
    pub(super) fn master_of(&self, session: SessionId) -> Option<usize> {
        self.connections.get(&session).map(|connection| connection.master)
    }

    /// When a message that is sent now arrives; `None` when the stream is closed.
    pub(super) fn send(
        &mut self,
        session: SessionId,
        way: Way,
        now_us: u64,
        delay_us: u64,
    ) -> Option<u64> {
        let stream = self.stream(session, way)?;
        if stream.is_closed {
            return None;
        }
        stream.under_way += 1;
        assert!(stream.under_way <= MAX_UNDER_WAY, "too many messages are under way {way:?}");
        Some(stream.next_us(now_us, delay_us))
    }

    /// A message arrives; false if it was lost on the way.
    pub(super) fn arrives(&mut self, session: SessionId, way: Way) -> bool {
        let Some(stream) = self.stream(session, way) else { return false };
        stream.under_way -= 1;
        !stream.is_cut
    }

    /// Ends a direction; returns when its reader learns of it: after all that was sent before.
    pub(super) fn close(
        &mut self,
        session: SessionId,
        way: Way,
        now_us: u64,
        delay_us: u64,
    ) -> Option<u64> {
        let stream = self.stream(session, way)?;
        if std::mem::replace(&mut stream.is_closed, true) {
            return None;
        }
        Some(stream.next_us(now_us, delay_us))
    }

    /// Loses what is under way in a direction.
    pub(super) fn cut(&mut self, session: SessionId, way: Way) {
        if let Some(stream) = self.stream(session, way) {
            stream.is_cut = true;
        }
    }

    /// Whoever reads a direction knows that it is over; both together forget the connection.
    pub(super) fn noticed(&mut self, session: SessionId, way: Way) {
        if let Some(stream) = self.stream(session, way) {
            stream.is_over = true;
        }
        let over =
            |connection: &Connection| connection.to_master.is_over && connection.to_agent.is_over;
        if self.connections.get(&session).is_some_and(over) {
            self.connections.remove(&session);
        }
    }

    fn stream(&mut self, session: SessionId, way: Way) -> Option<&mut Stream> {
        let connection = self.connections.get_mut(&session)?;
        Some(match way {
            Way::ToMaster => &mut connection.to_master,
            Way::ToAgent => &mut connection.to_agent,
        })
    }
}

impl Stream {
    fn next_us(&mut self, now_us: u64, delay_us: u64) -> u64 {
        self.last_us = (self.last_us + 1).max(now_us + delay_us);
        self.last_us
    }
}

impl World {
    /// A connection breaks; its ends learn of it at different times.
    pub(super) fn connection_breaks(&mut self, agent: usize) {
        let Some(session) = self.agents[agent].connection() else { return };
        trace!(self, "the connection of agent {agent} breaks: {session:?}");
        self.counts.add(Fact::BrokenConnection, 1);
        for way in [Way::ToMaster, Way::ToAgent] {
            if self.random.one_in(2) {
                self.network.cut(session, way);
            }
        }
        let master_us = self.random.mostly_short(0, 8_000_000);
        let agent_us = self.random.mostly_short(0, 5_000_000);
        self.close_to_master(session, master_us);
        if let Some(at_us) = self.network.close(session, Way::ToAgent, self.now_us, agent_us) {
            self.at(at_us, Happening::AgentNotices(session));
        }
    }

    /// The master's process is gone; what it sent last may still arrive.
    pub(super) fn connection_loses_master(&mut self, agent: usize, master: usize) {
        let Some(session) = self.agents[agent].connection() else { return };
        if self.network.master_of(session) != Some(master) {
            return;
        }
        if self.random.one_in(2) {
            self.network.cut(session, Way::ToAgent);
        }
        self.network.cut(session, Way::ToMaster);
        self.network.noticed(session, Way::ToMaster);
        let agent_us = self.random.mostly_short(0, 3_000_000);
        if let Some(at_us) = self.network.close(session, Way::ToAgent, self.now_us, agent_us) {
            self.at(at_us, Happening::AgentNotices(session));
        }
    }

    pub(super) fn close_to_agent(&mut self, session: SessionId) {
        let delay_us = self.message_delay_us();
        if let Some(at_us) = self.network.close(session, Way::ToAgent, self.now_us, delay_us) {
            self.at(at_us, Happening::AgentNotices(session));
        }
    }

    pub(super) fn close_to_master(&mut self, session: SessionId, delay_us: u64) {
        if let Some(at_us) = self.network.close(session, Way::ToMaster, self.now_us, delay_us) {
            self.at(at_us, Happening::MasterNotices(session));
        }
    }

    /// How long a message takes: mostly little, sometimes long while there are faults.
    pub(super) fn message_delay_us(&mut self) -> u64 {
        if self.goes_wrong(60) {
            return self.random.between(2_000, 800_000);
        }
        self.random.mostly_short(30, 3_000)
    }
}
