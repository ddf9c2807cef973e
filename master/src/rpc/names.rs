//! `Names`: point at what is in the store, look, list.

use tonic::{Request, Response, Status};
use weir_proto::{
    command::Change,
    id::Namespace,
    malformed::Malformed,
    name::{Name, NamedSource, SetName},
    wire,
};

use super::{malformed, read, refused, stopping};
use crate::{blobs::Blobs, driver::Handle};

/// Most names in one answer.
const MAX_LISTED: usize = 1_000;

/// The service.
#[derive(Clone)]
pub(crate) struct NamesService {
    master: Handle,
    blobs: Blobs,
}

impl NamesService {
    pub(crate) fn new(master: Handle, blobs: Blobs) -> NamesService {
        NamesService { master, blobs }
    }
}

#[tonic::async_trait]
impl wire::names_server::Names for NamesService {
    async fn set(
        &self,
        request: Request<wire::SetName>,
    ) -> Result<Response<wire::SetNameResponse>, Status> {
        let set = SetName::try_from(request.into_inner()).map_err(|error| malformed(&error))?;
        if let Some(target) = set.target {
            let missing = self.blobs.require(&set.namespace, &[target.digest()]).await?;
            if !missing.is_empty() {
                return Err(Status::failed_precondition(format!(
                    "{target} is not in the store of namespace {}; put it first",
                    set.namespace
                )));
            }
        }
        let answer = self.master.change(Change::SetName(set)).await.map_err(stopping)?;
        answer.map_err(|refusal| refused(&refusal))?;
        Ok(Response::new(wire::SetNameResponse {}))
    }

    async fn get(
        &self,
        request: Request<wire::GetNameRequest>,
    ) -> Result<Response<wire::NameState>, Status> {
        let wire::GetNameRequest { namespace, name } = request.get_ref();
        let key = parse(namespace, name).map_err(|error| malformed(&error))?;
        let record = read(&self.master, request.metadata()).await?.names.get(&key).copied();
        let (namespace, name) = key;
        let Some(record) = record else {
            return Err(Status::not_found(format!("there is no name {name} in {namespace}")));
        };
        let named = NamedSource { namespace, name, target: record.target, set_ms: record.set_ms };
        Ok(Response::new(named.into()))
    }

    async fn list(
        &self,
        request: Request<wire::ListNamesRequest>,
    ) -> Result<Response<wire::ListNamesResponse>, Status> {
        let wire::ListNamesRequest { namespace, prefix } = request.get_ref();
        let namespace: Namespace =
            namespace.parse().map_err(|error: Malformed| malformed(&error))?;
        let state = read(&self.master, request.metadata()).await?;
        let all = state
            .names
            .iter()
            .filter(|((its, name), _)| *its == namespace && name.as_str().starts_with(prefix));
        let mut names: Vec<wire::NameState> = all
            .take(MAX_LISTED + 1)
            .map(|((namespace, name), record)| {
                let (namespace, name) = (namespace.clone(), name.clone());
                let (target, set_ms) = (record.target, record.set_ms);
                NamedSource { namespace, name, target, set_ms }.into()
            })
            .collect();
        let more = names.len() > MAX_LISTED;
        names.truncate(MAX_LISTED);
        Ok(Response::new(wire::ListNamesResponse { names, more }))
    }
}

fn parse(namespace: &str, name: &str) -> Result<(Namespace, Name), Malformed> {
    Ok((namespace.parse()?, name.parse()?))
}
