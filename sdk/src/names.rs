//! Names: pointers to what is in the store, which may be pointed elsewhere.

use tonic::{Code, Status};
use weir_proto::{
    job::InputSource,
    name::{Expected, Name, NamedSource, SetName},
    wire::{self, names_client::NamesClient},
};

use crate::{
    Client,
    client::Calls,
    rpc::{self, RpcError},
};

/// Why a name was not looked up or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no such name.
    #[error(
        "there is no name {name} in namespace {namespace}; `weir name ls` lists what there is, and \
         `weir name set` makes one"
    )]
    NoSuchName {
        /// The name.
        name: Name,
        /// Where it was looked for.
        namespace: String,
    },
    /// The name is not as expected, its target is not in the store, or there are too many names.
    #[error("{why}")]
    NotNow {
        /// Which of these, and what to do.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Client {
    /// What a name of the client's namespace points at.
    ///
    /// # Errors
    /// `NoSuchName`, `Rpc`.
    pub async fn name(&self, name: &Name) -> Result<NamedSource, NameError> {
        let asked = wire::GetNameRequest {
            namespace: self.namespace().as_str().to_owned(),
            name: name.as_str().to_owned(),
        };
        let answer = rpc::retry(|| {
            let (mut names, asked) = (self.names_rpc(), asked.clone());
            async move { names.get(asked).await }
        });
        let answer = answer.await.map_err(|status| self.name_failed(name, &status))?;
        let named = NamedSource::try_from(answer);
        Ok(named.map_err(|m| RpcError::answer(self.address(), m))?)
    }

    /// Points a name at something that is in the store, if it is as expected.
    ///
    /// # Errors
    /// `NotNow`, `Rpc`.
    pub async fn set_name(
        &self,
        name: &Name,
        target: InputSource,
        expected: Expected,
    ) -> Result<(), NameError> {
        self.change_name(name, Some(target), expected).await
    }

    /// Removes a name, if it is as expected; what it pointed at stays in the store.
    ///
    /// # Errors
    /// `NoSuchName`, `NotNow`, `Rpc`.
    pub async fn remove_name(&self, name: &Name, expected: Expected) -> Result<(), NameError> {
        self.change_name(name, None, expected).await
    }

    /// The names of the client's namespace that begin with `prefix`, ascending, and whether there
    /// are more than the 1,000 told.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn names(&self, prefix: &str) -> Result<(Vec<NamedSource>, bool), RpcError> {
        let asked = wire::ListNamesRequest {
            namespace: self.namespace().as_str().to_owned(),
            prefix: prefix.to_owned(),
        };
        let answer = rpc::retry(|| {
            let (mut names, asked) = (self.names_rpc(), asked.clone());
            async move { names.list(asked).await }
        });
        let answer = answer.await.map_err(|status| self.failed(&status))?;
        let names = answer.names.into_iter().map(NamedSource::try_from);
        let names = names.collect::<Result<_, _>>();
        Ok((names.map_err(|m| RpcError::answer(self.address(), m))?, answer.more))
    }

    async fn change_name(
        &self,
        name: &Name,
        target: Option<InputSource>,
        expected: Expected,
    ) -> Result<(), NameError> {
        let namespace = self.namespace().clone();
        let set = wire::SetName::from(SetName { namespace, name: name.clone(), target, expected });
        let answer = rpc::retry(|| {
            let (mut names, set) = (self.names_rpc(), set.clone());
            async move { names.set(set).await }
        });
        answer.await.map(|_| ()).map_err(|status| self.name_failed(name, &status))
    }

    fn names_rpc(&self) -> NamesClient<Calls> {
        NamesClient::new(self.calls())
    }

    fn name_failed(&self, name: &Name, status: &Status) -> NameError {
        match status.code() {
            Code::NotFound => NameError::NoSuchName {
                name: name.clone(),
                namespace: self.namespace().to_string(),
            },
            Code::FailedPrecondition | Code::ResourceExhausted => {
                NameError::NotNow { why: status.message().to_owned() }
            }
            _ => NameError::Rpc(self.failed(status)),
        }
    }
}
