//! `wasi:http`: requests to what is granted, over connections of the library's.
//!
//! Its types can be imported and made by all, for many a component does without ever sending a request;
//! where nothing is granted, no request has a body and none is sent. Next: `http/types.rs`.

mod types;

use std::{io, pin::Pin, sync::Arc};

use http::{HeaderMap, Request, Response, Uri, uri::Scheme};
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, default_hooks,
    p2::{
        HttpResult,
        bindings::http::{
            outgoing_handler,
            types::{self as abi, ErrorCode},
        },
        types::{HostFutureIncomingResponse, HostOutgoingRequest},
    },
};
use weir_proto::network::Host;

use crate::{
    profile::price,
    sandbox::{
        Guest,
        network::{LookupError, Network},
    },
};

/// Most bytes of all fields of one message, as the library counts them.
const MAX_FIELDS_BYTES: usize = 32 << 10;

/// Most bytes that one write moves into a body. One more write may wait beside it.
const MAX_CHUNK_BYTES: usize = 16 << 10;

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// What the library's HTTP goes by.
pub(super) struct Http {
    context: WasiHttpCtx,
    rules: Rules,
}

/// Which requests are sent.
struct Rules {
    network: Option<Arc<Network>>,
}

impl Http {
    pub(super) fn new(network: Option<Arc<Network>>) -> Http {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS_BYTES);
        Http { context, rules: Rules { network } }
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Own = HasSelf<Guest>;
    outgoing_handler::add_to_linker::<_, Own>(linker, |guest| guest)?;
    abi::add_to_linker::<_, Own>(linker, &abi::LinkOptions::default(), |guest| guest)?;
    Ok(())
}

impl Guest {
    /// The library's view of the guest.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let resources = &mut self.resources;
        let network = &resources.network;
        let http = resources.http.get_or_insert_with(|| Box::new(Http::new(network.clone())));
        WasiHttpCtxView {
            hooks: &mut http.rules,
            table: &mut resources.table,
            ctx: &mut http.context,
        }
    }
}

impl outgoing_handler::Host for Guest {
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        self.meter.charge(price::CALL);
        if self.resources.network.is_none() {
            return Err(ErrorCode::HttpRequestDenied.into());
        }
        self.meter.charge(price::REQUEST);
        outgoing_handler::Host::handle(&mut self.http(), request, options)
    }
}

impl WasiHttpHooks for Rules {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let network = self.network.clone();
        Box::new(async move {
            let target = target(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
            let network = network.ok_or(Error::HttpRequestDenied)?;
            send(&network, target, request, options).await
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_CHUNK_BYTES
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, _: &io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }
}

async fn send(
    network: &Arc<Network>,
    (host, port): (Host, u16),
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    if !network.grants_at(&host, port) {
        return Err(Error::HttpRequestDenied);
    }
    let permit = network.socket().ok_or(Error::ConnectionLimitReached)?;
    // The library looks the name up again. Only where ours has come to an end, of which there are few
    // at once, a thread of its own waits for the resolver.
    network.look_up(host).map_err(lookup_error)?.await.map_err(lookup_error)?;
    let nothing = Box::new(async { Ok(()) });
    let sending = default_hooks().send_request(request, options, nothing);
    let (response, connection) = Pin::from(sending).await?;
    let fields_bytes = bytes_of(response.headers());
    if fields_bytes > MAX_FIELDS_BYTES {
        let size = u32::try_from(fields_bytes).ok();
        return Err(Error::HttpResponseHeaderSectionSize(size));
    }
    let connection = async move {
        let _permit = permit;
        Pin::from(connection).await
    };
    Ok((response, Box::new(connection)))
}

fn lookup_error(error: LookupError) -> Error {
    match error {
        LookupError::Denied => Error::HttpRequestDenied,
        LookupError::Busy => Error::ConnectionLimitReached,
        LookupError::NotFound => Error::DnsError { rcode: None, info_code: None },
    }
}

/// The host and port that a request goes to; nothing where whoever connects could read another from it.
fn target(uri: &Uri) -> Option<(Host, u16)> {
    let authority = uri.authority()?;
    let standard = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let plain = match authority.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    let host = authority.host().parse().ok()?;
    (authority.as_str() == plain).then(|| (host, authority.port_u16().unwrap_or(standard)))
}

fn bytes_of(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(uri: &str) -> Option<String> {
        let (host, port) = target(&uri.parse().expect("an address"))?;
        Some(format!("{host}:{port}"))
    }

    #[test]
    fn a_request_goes_to_its_host_at_its_port_or_that_of_its_scheme() {
        for (uri, to) in [
            ("http://example.org/a", "example.org:80"),
            ("https://Example.org", "example.org:443"),
            ("https://example.org:8443/", "example.org:8443"),
            ("http://127.0.0.1:80/", "127.0.0.1:80"),
            ("http://[::1]:81/", "[::1]:81"),
            ("http://[::ffff:127.0.0.1]/", "127.0.0.1:80"),
        ] {
            assert_eq!(target_of(uri).as_deref(), Some(to), "{uri}");
        }
    }

    #[test]
    fn a_request_whose_host_could_be_read_in_two_ways_goes_nowhere() {
        for uri in [
            "http://granted@other.example/",
            "http://granted:80@other.example:80/",
            "http://example.org:/",
            "http://example.org:080/",
            "http://127.1/",
            "http://2130706433/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(target_of(uri), None, "{uri}");
        }
    }
}
