//! TCP, UDP and names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wasip2::{
    io::streams::StreamError,
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{
            ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
            Ipv6SocketAddress,
        },
        tcp::{InputStream, OutputStream, TcpSocket},
        tcp_create_socket::create_tcp_socket,
        udp::{OutgoingDatagram, UdpSocket},
        udp_create_socket::create_udp_socket,
    },
};

/// Sends a text, and returns what comes back until the other side has as many bytes.
pub(crate) fn tcp(to: SocketAddr, text: &str) -> Result<String, String> {
    let (_socket, input, output) = connect(to)?;
    output.blocking_write_and_flush(text.as_bytes()).map_err(stream_said)?;
    let mut answer = Vec::new();
    while answer.len() < text.len() {
        answer.extend(input.blocking_read(4096).map_err(stream_said)?);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The same, to the first address of a name that takes a connection.
pub(crate) fn tcp_by_name(name: &str, port: u16, text: &str) -> Result<String, String> {
    let mut refusals = Vec::new();
    for address in addresses(name)? {
        match tcp(SocketAddr::new(address, port), text) {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(refusals.join(", "))
}

/// Reads where nothing comes.
pub(crate) fn read_for_ever(to: SocketAddr) -> Result<String, String> {
    let (_socket, input, _output) = connect(to)?;
    eprintln!("connected");
    input.subscribe().block();
    Ok("there was something to read".to_owned())
}

/// Sends a text as one datagram, and returns the next that comes.
pub(crate) fn udp(to: SocketAddr, text: &str) -> Result<String, String> {
    let socket = udp_socket(to)?;
    let (incoming, outgoing) = socket.stream(None).map_err(said("stream"))?;
    let remote_address = Some(as_wasi(to));
    let datagram = OutgoingDatagram { data: text.as_bytes().to_vec(), remote_address };
    outgoing.check_send().map_err(said("check-send"))?;
    outgoing.send(&[datagram]).map_err(said("send"))?;
    loop {
        incoming.subscribe().block();
        if let Some(datagram) = incoming.receive(1).map_err(said("receive"))?.first() {
            return Ok(String::from_utf8_lossy(&datagram.data).into_owned());
        }
    }
}

/// The addresses of a name, in order.
pub(crate) fn lookup(name: &str) -> Result<String, String> {
    let addresses: Vec<String> = addresses(name)?.iter().map(IpAddr::to_string).collect();
    Ok(addresses.join(" "))
}

pub(crate) fn listen() -> Result<String, String> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(said("create"))?;
    let network = instance_network();
    let any = as_wasi(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    socket.start_bind(&network, any).map_err(said("bind"))?;
    socket.finish_bind().map_err(said("bind"))?;
    socket.start_listen().map_err(said("listen"))?;
    socket.finish_listen().map_err(said("listen"))?;
    Ok("listening".to_owned())
}

/// Makes sockets, none of which is dropped before the last is made.
pub(crate) fn open_at_once(count: usize) -> Result<String, String> {
    let mut open = Vec::new();
    for _ in 0..count {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => open.push(socket),
            Err(code) => return Err(format!("{} after {} sockets", code.name(), open.len())),
        }
    }
    Ok(format!("{count} at once"))
}

/// Makes sockets, each of which is dropped before the next is made.
pub(crate) fn open_in_turn(count: usize) -> Result<String, String> {
    for _ in 0..count {
        drop(create_tcp_socket(IpAddressFamily::Ipv4).map_err(said("create"))?);
    }
    Ok(format!("{count} in turn"))
}

pub(crate) fn connect(to: SocketAddr) -> Result<(TcpSocket, InputStream, OutputStream), String> {
    let socket = create_tcp_socket(family(to)).map_err(said("create"))?;
    socket.start_connect(&instance_network(), as_wasi(to)).map_err(said("connect"))?;
    let ready = socket.subscribe();
    loop {
        ready.block();
        match socket.finish_connect() {
            Ok((input, output)) => {
                drop(ready);
                return Ok((socket, input, output));
            }
            Err(ErrorCode::WouldBlock) => {}
            Err(code) => return Err(said("connect")(code)),
        }
    }
}

pub(crate) fn udp_socket(to: SocketAddr) -> Result<UdpSocket, String> {
    let socket = create_udp_socket(family(to)).map_err(said("create"))?;
    let any = match to.ip() {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.start_bind(&instance_network(), as_wasi(any)).map_err(said("bind"))?;
    socket.finish_bind().map_err(said("bind"))?;
    Ok(socket)
}

fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let stream = resolve_addresses(&instance_network(), name).map_err(said("lookup"))?;
    let ready = stream.subscribe();
    let mut addresses = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => addresses.push(IpAddr::from([a, b, c, d])),
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => {
                addresses.push(IpAddr::from([a, b, c, d, e, f, g, h]));
            }
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => ready.block(),
            Err(code) => return Err(said("lookup")(code)),
        }
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

pub(crate) fn as_wasi(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: v6.scope_id(),
            })
        }
    }
}

pub(crate) fn said(what: &'static str) -> impl Fn(ErrorCode) -> String {
    move |code| format!("{what}: {}", code.name())
}

pub(crate) fn stream_said(error: StreamError) -> String {
    match error {
        StreamError::Closed => "the stream is closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}
