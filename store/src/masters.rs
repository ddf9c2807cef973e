//! A connection to whichever of a cluster's masters answers. Any of them does: one that does not
//! lead hands calls on. When the connection breaks, the next one goes to the next that answers.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{codegen::Service, codegen::http::Uri, transport::Channel, transport::Endpoint};

/// How long one of several masters may take to take a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A channel to these, each `host:port`, that connects when it is needed, and again.
pub fn connect_lazy(endpoint: &Endpoint, addresses: Vec<String>) -> Channel {
    endpoint
        .connect_with_connector_lazy(Masters { addresses: addresses.into(), first: Arc::default() })
}

/// As `connect_lazy`, but connects now.
///
/// # Errors
/// When none of them takes a connection.
pub async fn connect(
    endpoint: &Endpoint,
    addresses: Vec<String>,
) -> Result<Channel, tonic::transport::Error> {
    let masters = Masters { addresses: addresses.into(), first: Arc::default() };
    endpoint.connect_with_connector(masters).await
}

#[derive(Clone)]
struct Masters {
    addresses: Arc<[String]>,
    /// The one after that which took a connection last: that one broke when there is another dial, and
    /// what stands still or is a proxy takes connections for ever.
    first: Arc<AtomicUsize>,
}

impl Masters {
    async fn dial(self) -> io::Result<TokioIo<TcpStream>> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut failed = io::Error::other("no master is named");
        for at in (first..first + count).map(|at| at % count) {
            let address = &self.addresses[at];
            let dialled = TcpStream::connect(address);
            let dialled = match count {
                // The endpoint has a limit of its own.
                1 => dialled.await,
                _ => match tokio::time::timeout(DIAL_TIMEOUT, dialled).await {
                    Ok(dialled) => dialled,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                },
            };
            match dialled {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    self.first.store((at + 1) % count, Ordering::Relaxed);
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl Service<Uri> for Masters {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn each_dial_begins_after_the_master_that_was_reached_last() {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addresses =
            [&closed, &open].map(|listener| listener.local_addr().expect("an address").to_string());
        drop(closed);
        let masters = Masters { addresses: addresses.to_vec().into(), first: Arc::default() };
        let reached = async || {
            let stream = masters.clone().dial().await.expect("one answers");
            stream.inner().peer_addr().expect("an address").to_string()
        };
        assert_eq!(reached().await, addresses[1]);
        let again = TcpListener::bind(&addresses[0]).await.expect("the port is free again");
        assert_eq!(reached().await, addresses[0], "the connection to the other broke");
        assert_eq!(reached().await, addresses[1]);
        drop(again);
        drop(open);
        assert!(masters.dial().await.is_err());
    }
}
