//! `Precompile`: agents are told to compile a module, and what came of it is told so far.

use tonic::Status;
use weir_proto::{agent::Precompiled, digest::Digest, id::RequestId, metering::Metering, wire};

use super::{JobsService, malformed, stopping};
use crate::{
    control::{Event, PrecompileRequest},
    driver::Input,
};

impl JobsService {
    /// Tells agents that were not told yet. It answers at once: whoever wants to wait asks again.
    pub(super) async fn precompile_module(
        &self,
        asked: wire::PrecompileRequest,
    ) -> Result<wire::PrecompileResponse, Status> {
        let request = RequestId::try_from(&asked.request[..]).map_err(|error| malformed(&error))?;
        let namespace = asked.namespace.parse().map_err(|error| malformed(&error))?;
        let module = Digest::try_from(&asked.module[..]).map_err(|error| malformed(&error))?;
        let metering = Metering::from_wire(asked.metering).map_err(|error| malformed(&error))?;
        self.check_there(&namespace, &[module]).await?;
        self.check_module(&namespace, module).await?;
        let wish = PrecompileRequest { request, namespace, module, metering };
        let asking = self.master.send(Input::Event(Event::Precompile(wish)));
        asking.await.map_err(stopping)?;
        let told = self.master.inspect(move |control, _| control.precompiled(request));
        let told = told
            .await
            .map_err(stopping)?
            .ok_or_else(|| Status::unavailable("this master is not the leader now; try again"))?;
        let agents = told.into_iter().map(|(agent, came)| wire::AgentPrecompile {
            agent,
            came: came.map(|came: Precompiled| came.into()),
        });
        Ok(wire::PrecompileResponse { agents: agents.collect() })
    }
}
