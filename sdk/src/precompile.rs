//! Modules compiled by agents before tasks need them.

use std::time::Duration;

use tonic::Code;
use weir_proto::{
    agent::Precompiled, digest::Digest, id::RequestId, malformed::Malformed, metering::Metering,
    wire,
};

use crate::{
    Client,
    rpc::{self, RpcError},
    submit::new_request,
};

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why agents were not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrecompileError {
    /// It is no module that tasks can run; every problem that shows without compiling it is here.
    #[error("{}", .problems.join("; "))]
    Invalid {
        /// One sentence each.
        problems: Vec<String>,
    },
    /// It is not in the store.
    #[error("{why}")]
    NotThere {
        /// Where not.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// What came of a module on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPrecompiled {
    /// The agent's name.
    pub agent: String,
    /// None while it has not told.
    pub came: Option<Precompiled>,
}

/// A module that agents were told to compile.
#[derive(Debug)]
pub struct Precompiling {
    client: Client,
    request: RequestId,
    module: Digest,
    metering: Metering,
}

impl Client {
    /// Tells all agents that are connected, and run tasks which are metered so, to compile a module for
    /// those; it is in the store. Modules that tasks wait for go first there.
    ///
    /// # Errors
    /// `Invalid` when it is no module, `NotThere` when it is not in the store, or `Rpc`.
    pub async fn precompile(
        &self,
        module: Digest,
        metering: Metering,
    ) -> Result<Precompiling, PrecompileError> {
        let (client, request) = (self.clone(), new_request());
        let precompiling = Precompiling { client, request, module, metering };
        precompiling.look().await?;
        Ok(precompiling)
    }
}

impl Precompiling {
    /// What came of it by now, on each agent that is connected.
    ///
    /// # Errors
    /// As of [`Client::precompile`].
    pub async fn look(&self) -> Result<Vec<AgentPrecompiled>, PrecompileError> {
        let request = wire::PrecompileRequest {
            request: self.request.0.to_vec(),
            namespace: self.client.namespace().as_str().to_owned(),
            module: self.module.0.to_vec(),
            metering: self.metering.to_wire(),
        };
        let asked = rpc::retry(|| {
            let (mut jobs, request) = (self.client.jobs_rpc(), request.clone());
            async move { jobs.precompile(request).await }
        });
        let told = asked.await.map_err(|status| match status.code() {
            Code::InvalidArgument => PrecompileError::Invalid {
                problems: status.message().lines().map(str::to_owned).collect(),
            },
            Code::FailedPrecondition => {
                PrecompileError::NotThere { why: status.message().to_owned() }
            }
            _ => PrecompileError::Rpc(self.client.failed(&status)),
        })?;
        let agents = told.agents.into_iter().map(|told| {
            let came = told.came.map(Precompiled::try_from).transpose()?;
            Ok(AgentPrecompiled { agent: told.agent, came })
        });
        let agents: Result<_, Malformed> = agents.collect();
        Ok(agents.map_err(|malformed| RpcError::answer(self.client.address(), malformed))?)
    }

    /// Waits until every agent that is connected has told, or until so much time has passed; what
    /// came of it by then.
    ///
    /// # Errors
    /// As of [`Client::precompile`].
    pub async fn wait(&self, longest: Duration) -> Result<Vec<AgentPrecompiled>, PrecompileError> {
        let deadline = tokio::time::Instant::now() + longest;
        loop {
            let told = self.look().await?;
            let is_whole = told.iter().all(|agent| agent.came.is_some());
            if is_whole || tokio::time::Instant::now() >= deadline {
                return Ok(told);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
