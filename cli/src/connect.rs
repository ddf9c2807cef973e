//! Which cluster a command talks to: the one it is told, the one on this machine, or its own.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use weir_sdk::{Client, client::ConnectError};

use crate::{
    embed::{self, Ephemeral, Offer},
    tally, text,
};

/// Where a master listens unless told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:7400";

/// Which master.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MasterFlag {
    /// Address of the cluster's master [default: 127.0.0.1:7400]
    #[arg(long, value_name = "URL", env = "WEIR_MASTER")]
    master: Option<String>,
}

impl MasterFlag {
    /// The address that was given; an empty variable gives none.
    fn given(&self) -> Option<&str> {
        self.master.as_deref().filter(|address| !address.is_empty())
    }

    /// Connects to the master that was named, or to the one on this machine.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(Client::connect(self.given().unwrap_or(DEFAULT_ADDRESS)).await?)
    }

    /// As `connect`, but where no master was named and none is on this machine, starts a cluster
    /// for this command alone and says so.
    ///
    /// # Errors
    /// When nobody listens where a master was named, or a cluster does not start.
    pub(crate) async fn connect_or_embed(&self) -> Result<Connection> {
        if let Some(address) = self.given() {
            return Ok(Connection { client: Client::connect(address).await?, own: None });
        }
        match Client::connect(DEFAULT_ADDRESS).await {
            Ok(client) => return Ok(Connection { client, own: None }),
            Err(ConnectError::NobodyListens { .. } | ConnectError::NotWeir { .. }) => {}
            Err(error @ ConnectError::Address { .. }) => return Err(error.into()),
        }
        let offer = Offer::new(None, None, None);
        let cores = offer.cores;
        let own = Ephemeral::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), offer).await?;
        text::remark(&format!(
            "no master at {DEFAULT_ADDRESS}; running a cluster of my own with {} and data in {}",
            tally::count(cores as u64, "core"),
            own.data_dir().display()
        ));
        let client = Client::connect(&own.address().to_string()).await?;
        embed::wait_for_agent(&client).await?;
        Ok(Connection { client, own: Some(own) })
    }
}

/// A client, and the cluster behind it if that is this command's own.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    own: Option<Ephemeral>,
}

impl Connection {
    /// Stops the command's own cluster, if it has one.
    pub(crate) async fn close(self) {
        if let Some(own) = self.own {
            own.stop().await;
        }
    }
}
