//! Modules that agents are to compile before tasks need them: who was asked, and what came of it.
//!
//! Soft state of a leader, for those who wait for an answer. They ask again until it is whole, so
//! what is lost with a leader or a session is asked for again.

use std::collections::{BTreeMap, VecDeque};

use weir_proto::{
    agent::{MasterMessage, Precompiled},
    digest::Digest,
    id::{AgentId, Namespace, RequestId},
    metering::Metering,
};

use super::{Action, Control, SessionId};

/// Most requests that are remembered; the oldest is forgotten first. Should its client still ask, its
/// agents are asked again, and answer at once what they know.
const MAX_REQUESTS: usize = 256;

/// A client's wish, named by the client so that asking again does not begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrecompileRequest {
    /// Its name.
    pub request: RequestId,
    /// Whose module it is.
    pub namespace: Namespace,
    /// The module.
    pub module: Digest,
    /// For tasks that are metered so.
    pub metering: Metering,
}

/// Requests, the newest last.
#[derive(Debug, Default)]
pub(super) struct Precompiles(VecDeque<Asked>);

#[derive(Debug)]
struct Asked {
    request: PrecompileRequest,
    /// Agents, with what came of it once they have told.
    agents: BTreeMap<AgentId, Option<Precompiled>>,
}

impl Precompiles {
    /// Asks those agents that were not asked yet.
    fn ask(
        &mut self,
        request: PrecompileRequest,
        sessions: impl Iterator<Item = (AgentId, SessionId)>,
        actions: &mut Vec<Action>,
    ) {
        let known = self.0.iter().position(|asked| asked.request == request);
        let at = known.unwrap_or_else(|| {
            if self.0.len() >= MAX_REQUESTS {
                self.0.pop_front();
            }
            self.0.push_back(Asked { request, agents: BTreeMap::new() });
            self.0.len() - 1
        });
        let Asked { request, agents } = &mut self.0[at];
        for (agent, session) in sessions {
            agents.entry(agent).or_insert_with(|| {
                let PrecompileRequest { namespace, module, metering, .. } = request.clone();
                let message = MasterMessage::Precompile { namespace, module, metering };
                actions.push(Action::ToAgent(session, message));
                None
            });
        }
    }

    /// An agent told what came of a module.
    pub(super) fn told(
        &mut self,
        agent: AgentId,
        module: Digest,
        metering: Metering,
        came: &Precompiled,
    ) {
        let told =
            |request: &PrecompileRequest| (request.module, request.metering) == (module, metering);
        for asked in self.0.iter_mut().filter(|asked| told(&asked.request)) {
            if let Some(told) = asked.agents.get_mut(&agent) {
                *told = Some(came.clone());
            }
        }
    }

    /// An agent's session is over: what it was asked is asked again in its next one.
    pub(super) fn closed(&mut self, agent: AgentId) {
        for asked in &mut self.0 {
            asked.agents.remove(&agent);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Control {
    /// A client wants a module compiled by all agents that run tasks which are metered so; without
    /// leading, nothing comes of it.
    pub(super) fn precompile(&mut self, request: PrecompileRequest, actions: &mut Vec<Action>) {
        let Some(table) = &self.table else { return };
        let runs = |agent: AgentId| {
            let known = table.agents().get(&agent);
            known.is_some_and(|known| known.description.profile_for(request.metering).is_some())
        };
        let able = self.sessions.open_ones().filter(|(agent, _)| runs(*agent));
        let able: Vec<(AgentId, SessionId)> = able.collect();
        self.precompiles.ask(request, able.into_iter(), actions);
    }

    /// What came of a request by now: the names of connected agents, each with its answer once it has
    /// one. None where it was never asked: this master does not lead.
    pub fn precompiled(&self, request: RequestId) -> Option<Vec<(String, Option<Precompiled>)>> {
        let asked = self.precompiles.0.iter().find(|asked| asked.request.request == request)?;
        let table = self.table.as_ref()?;
        let named = asked.agents.iter().filter_map(|(agent, told)| {
            Some((table.agents().get(agent)?.description.name.clone(), told.clone()))
        });
        Some(named.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: (AgentId, SessionId) = (AgentId(1), SessionId(1));
    const RIGHT: (AgentId, SessionId) = (AgentId(2), SessionId(2));

    fn wish(number: u8) -> PrecompileRequest {
        PrecompileRequest {
            request: RequestId([number; 16]),
            namespace: Namespace::default_namespace(),
            module: Digest::of(b"module"),
            metering: Metering::Fuel,
        }
    }

    /// The sessions that are asked.
    fn ask(asked: &mut Precompiles, number: u8, open: &[(AgentId, SessionId)]) -> Vec<SessionId> {
        let mut actions = Vec::new();
        asked.ask(wish(number), open.iter().copied(), &mut actions);
        let session = |action| match action {
            Action::ToAgent(session, MasterMessage::Precompile { .. }) => session,
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(session).collect()
    }

    #[test]
    fn each_agent_is_asked_once_for_a_request_and_again_in_its_next_session() {
        let mut asked = Precompiles::default();
        assert_eq!(ask(&mut asked, 1, &[LEFT]), [LEFT.1]);
        assert_eq!(ask(&mut asked, 1, &[LEFT, RIGHT]), [RIGHT.1]);
        assert_eq!(ask(&mut asked, 1, &[LEFT, RIGHT]), []);
        asked.closed(LEFT.0);
        let again = (LEFT.0, SessionId(3));
        assert_eq!(ask(&mut asked, 1, &[again, RIGHT]), [again.1]);
        // Another client's wish is another request.
        assert_eq!(ask(&mut asked, 2, &[again, RIGHT]), [again.1, RIGHT.1]);
    }

    #[test]
    fn an_answer_counts_for_all_who_wait_for_the_module_and_only_from_who_was_asked() {
        let mut asked = Precompiles::default();
        ask(&mut asked, 1, &[LEFT]);
        ask(&mut asked, 2, &[LEFT]);
        let module = Digest::of(b"module");
        asked.told(LEFT.0, Digest::of(b"another"), Metering::Fuel, &Precompiled::Ready);
        asked.told(LEFT.0, module, Metering::Epoch, &Precompiled::Ready);
        asked.told(RIGHT.0, module, Metering::Fuel, &Precompiled::Ready);
        assert!(asked.0.iter().all(|asked| asked.agents.get(&LEFT.0) == Some(&None)));
        asked.told(LEFT.0, module, Metering::Fuel, &Precompiled::Ready);
        let ready = BTreeMap::from([(LEFT.0, Some(Precompiled::Ready))]);
        assert!(asked.0.iter().all(|asked| asked.agents == ready));
    }

    #[test]
    fn requests_are_bounded_and_the_oldest_goes_first() {
        let mut asked = Precompiles::default();
        for number in 0..=MAX_REQUESTS {
            let mut request = wish(0);
            request.request.0[..8].copy_from_slice(&(number as u64).to_le_bytes());
            asked.ask(request, std::iter::empty(), &mut Vec::new());
        }
        assert_eq!(asked.0.len(), MAX_REQUESTS);
        assert_eq!(asked.0[0].request.request.0[0], 1);
    }
}
