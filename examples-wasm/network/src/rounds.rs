//! One kind of call over and over: what a test of prices measures.

use std::net::SocketAddr;

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    http::types::Fields,
    io::poll::poll,
    sockets::{
        network::IpAddressFamily,
        tcp::{InputStream, OutputStream, ShutdownType},
        tcp_create_socket::create_tcp_socket,
        udp::{IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket},
    },
};

use crate::{http, sockets};

/// As much as one call on a stream moves.
const MUCH: usize = 64 << 10;

/// So many sockets are polled at once.
const POLLED: usize = 50;

/// As many fields as requests have, and about as many as fit.
const FEW_FIELDS: usize = 10;
const MANY_FIELDS: usize = 400;

/// Calls so often what `what` stands for, with whatever listens at `to`.
pub(crate) fn run(what: &str, count: usize, to: SocketAddr) -> Result<String, String> {
    match what {
        "sleep" => each(count, sleep),
        "create" => each(count, || create_and_drop().map(drop)),
        "connect" => each(count, || connect_and_leave(to)),
        "options" => options(count),
        "listen" => each(count, listen),
        "send" => send(count, to, 1),
        "send-much" => send(count, to, MUCH),
        "receive" => receive(count, to, 1),
        "receive-much" => receive(count, to, MUCH),
        "receive-nothing" => receive_nothing(count, to),
        "echo" => echo(count, to),
        "poll" => poll_many(count, to),
        "udp-bind" => each(count, || sockets::udp_socket(to).map(drop)),
        "udp-send" => udp_send(count, to, 1),
        "udp-send-many" => udp_send(count, to, 16),
        "udp-receive-nothing" => udp_receive_nothing(count, to),
        "udp-echo" => udp_echo(count, to, 1),
        "udp-echo-many" => udp_echo(count, to, 16),
        "lookup" => each(count, || sockets::lookup("localhost").map(drop)),
        "fields" => each(count, || fields(FEW_FIELDS).map(|fields| drop(fields.entries()))),
        "fields-copied" => fields_copied(count),
        "get" => each(count, || http::get(&format!("http://{to}/")).map(drop)),
        "post" => each(count, || http::post(&format!("http://{to}/"), &"x".repeat(MUCH)).map(drop)),
        _ => Err(format!("{what:?} is nothing to be done over and over")),
    }?;
    Ok(format!("{what}, {count} times"))
}

fn each(count: usize, mut call: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    (0..count).try_for_each(|_| call())
}

fn sleep() -> Result<(), String> {
    subscribe_duration(1_000_000).block();
    Ok(())
}

fn create_and_drop() -> Result<(), String> {
    create_tcp_socket(IpAddressFamily::Ipv4).map(drop).map_err(sockets::said("create"))
}

fn connect_and_leave(to: SocketAddr) -> Result<(), String> {
    let (socket, input, output) = sockets::connect(to)?;
    drop((input, output));
    socket.shutdown(ShutdownType::Both).map_err(sockets::said("shutdown"))
}

fn options(count: usize) -> Result<(), String> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(sockets::said("create"))?;
    each(count, || {
        let set = socket.set_hop_limit(64).and_then(|()| socket.set_send_buffer_size(1 << 16));
        set.and_then(|()| socket.hop_limit()).map(drop).map_err(sockets::said("option"))
    })
}

fn listen() -> Result<(), String> {
    match sockets::listen() {
        Err(refusal) if refusal.contains("access-denied") => Ok(()),
        other => other.map(drop),
    }
}

fn write(output: &OutputStream, mut bytes: &[u8]) -> Result<(), String> {
    while !bytes.is_empty() {
        let room = output.check_write().map_err(sockets::stream_said)? as usize;
        if room == 0 {
            output.subscribe().block();
            continue;
        }
        let (part, rest) = bytes.split_at(room.min(bytes.len()));
        output.write(part).map_err(sockets::stream_said)?;
        bytes = rest;
    }
    Ok(())
}

fn read(input: &InputStream, mut len: usize) -> Result<(), String> {
    while len > 0 {
        len -= input.blocking_read(len as u64).map_err(sockets::stream_said)?.len();
    }
    Ok(())
}

fn send(count: usize, to: SocketAddr, len: usize) -> Result<(), String> {
    let (_socket, _input, output) = sockets::connect(to)?;
    let bytes = vec![7; len];
    each(count, || write(&output, &bytes))
}

fn receive(count: usize, to: SocketAddr, len: usize) -> Result<(), String> {
    let (_socket, input, _output) = sockets::connect(to)?;
    each(count, || read(&input, len))
}

fn receive_nothing(count: usize, to: SocketAddr) -> Result<(), String> {
    let (_socket, input, _output) = sockets::connect(to)?;
    each(count, || match input.read(MUCH as u64).map_err(sockets::stream_said)?.len() {
        0 => Ok(()),
        len => Err(format!("{len} bytes came")),
    })
}

fn echo(count: usize, to: SocketAddr) -> Result<(), String> {
    let (_socket, input, output) = sockets::connect(to)?;
    each(count, || write(&output, b"x").and_then(|()| read(&input, 1)))
}

/// Polls where nothing comes, beside one that is always ready.
fn poll_many(count: usize, to: SocketAddr) -> Result<(), String> {
    let open: Result<Vec<_>, _> = (0..POLLED).map(|_| sockets::connect(to)).collect();
    // What was made of a socket goes before it.
    let open: Vec<_> =
        open?.into_iter().map(|(socket, input, output)| (input, output, socket)).collect();
    let mut polled: Vec<_> = open.iter().map(|(input, _, _)| input.subscribe()).collect();
    polled.push(open[0].1.subscribe());
    let polled: Vec<_> = polled.iter().collect();
    each(count, || match poll(&polled)[..] {
        [ready] if ready as usize == POLLED => Ok(()),
        ref others => Err(format!("{others:?} are ready")),
    })
}

fn datagrams(
    to: SocketAddr,
) -> Result<(UdpSocket, IncomingDatagramStream, OutgoingDatagramStream), String> {
    let socket = sockets::udp_socket(to)?;
    let streams = socket.stream(Some(sockets::as_wasi(to))).map_err(sockets::said("stream"))?;
    Ok((socket, streams.0, streams.1))
}

fn send_datagrams(outgoing: &OutgoingDatagramStream, count: usize) -> Result<(), String> {
    let datagram = || OutgoingDatagram { data: b"x".to_vec(), remote_address: None };
    let all: Vec<_> = (0..count).map(|_| datagram()).collect();
    let mut left = &all[..];
    while !left.is_empty() {
        let room = outgoing.check_send().map_err(sockets::said("check-send"))? as usize;
        if room == 0 {
            outgoing.subscribe().block();
            continue;
        }
        let part = &left[..room.min(left.len())];
        let sent = outgoing.send(part).map_err(sockets::said("send"))?;
        left = &left[sent as usize..];
    }
    Ok(())
}

fn udp_send(count: usize, to: SocketAddr, at_once: usize) -> Result<(), String> {
    let (_socket, _incoming, outgoing) = datagrams(to)?;
    each(count, || send_datagrams(&outgoing, at_once))
}

fn udp_receive_nothing(count: usize, to: SocketAddr) -> Result<(), String> {
    let (_socket, incoming, _outgoing) = datagrams(to)?;
    each(count, || match incoming.receive(16).map_err(sockets::said("receive"))?.len() {
        0 => Ok(()),
        len => Err(format!("{len} datagrams came")),
    })
}

fn udp_echo(count: usize, to: SocketAddr, at_once: usize) -> Result<(), String> {
    let (_socket, incoming, outgoing) = datagrams(to)?;
    each(count, || {
        send_datagrams(&outgoing, at_once)?;
        let mut left = at_once;
        while left > 0 {
            match incoming.receive(left as u64).map_err(sockets::said("receive"))?.len() {
                0 => incoming.subscribe().block(),
                came => left -= came,
            }
        }
        Ok(())
    })
}

fn fields(count: usize) -> Result<Fields, String> {
    let all: Vec<_> = (0..count).map(|n| (format!("x-{n}"), b"y".to_vec())).collect();
    Fields::from_list(&all).map_err(|error| error.to_string())
}

/// Copies of fields share them until one is changed.
fn fields_copied(count: usize) -> Result<(), String> {
    let fields = fields(MANY_FIELDS)?;
    each(count, || {
        let copy = fields.clone();
        copy.append("x", b"y").map_err(|error| error.to_string())
    })
}
