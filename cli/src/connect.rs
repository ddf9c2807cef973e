//! Which cluster a command talks to: the one it is told, the one on this machine, or its own.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use weir_sdk::{Client, client::ConnectError};

use crate::{
    config,
    embed::{self, Ephemeral, Offer},
    tally, text,
};

/// Where a master listens unless told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:7400";

/// Which master.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct MasterFlag {
    /// Address of the cluster's master [default: WEIR_MASTER, or the setting `master`, or
    /// 127.0.0.1:7400]
    #[arg(long, value_name = "URL")]
    master: Option<String>,
}

impl MasterFlag {
    /// The address that was given: by the flag, or else by the settings.
    fn given(&self) -> Option<&str> {
        self.master.as_deref().or_else(|| config::current().named_master())
    }

    /// Connects to the master that was named, or to the one on this machine.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(in_namespace(&Client::connect(self.given().unwrap_or(DEFAULT_ADDRESS)).await?))
    }

    /// As `connect`, but where no master was named and none is on this machine, starts a cluster
    /// for this command alone and says so.
    ///
    /// # Errors
    /// When nobody listens where a master was named, or a cluster does not start.
    pub(crate) async fn connect_or_embed(&self) -> Result<Connection> {
        if let Some(address) = self.given() {
            let client = in_namespace(&Client::connect(address).await?);
            return Ok(Connection { client, own: None });
        }
        match Client::connect(DEFAULT_ADDRESS).await {
            Ok(client) => return Ok(Connection { client: in_namespace(&client), own: None }),
            Err(ConnectError::NobodyListens { .. } | ConnectError::NotWeir { .. }) => {}
            Err(error @ (ConnectError::Address { .. } | ConnectError::OtherVersion(_))) => {
                return Err(error.into());
            }
        }
        let offer = Offer::new(None, None, None);
        let cores = offer.cores;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let own = Ephemeral::start(embed::temporary()?, listen, offer).await?;
        if !config::current().quiet.value {
            text::remark(&format!(
                "no master at {DEFAULT_ADDRESS}; running a cluster of my own with {} and data in {}",
                tally::count(cores as u64, "core"),
                own.data_dir().display()
            ));
        }
        let client = in_namespace(&Client::connect(&own.address().to_string()).await?);
        embed::wait_for_agent(&client).await?;
        Ok(Connection { client, own: Some(own) })
    }
}

/// The same client in the namespace that the settings name.
fn in_namespace(client: &Client) -> Client {
    client.in_namespace(config::current().namespace.value.clone())
}

/// How new what a command shows must be.
#[derive(Debug, clap::Args)]
pub(crate) struct StaleFlag {
    /// Show what the master that answers knows by itself: it may be behind, and needs no leader
    #[arg(long)]
    stale: bool,
}

impl StaleFlag {
    /// The client that asks so.
    pub(crate) fn of(&self, client: Client) -> Client {
        if self.stale { client.stale() } else { client }
    }
}

/// Flags of commands that look at something.
#[derive(Debug, clap::Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    pub(crate) master: MasterFlag,
    /// Print JSON; of a list that may be long, a line for each
    #[arg(long)]
    pub(crate) json: bool,
}

/// A client, and the cluster behind it if that is this command's own.
pub(crate) struct Connection {
    /// The client.
    pub(crate) client: Client,
    own: Option<Ephemeral>,
}

impl Connection {
    /// Whether the cluster is this command's own, and ends with it.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Stops the command's own cluster, if it has one.
    pub(crate) async fn close(self) {
        if let Some(own) = self.own {
            own.stop().await;
        }
    }
}
