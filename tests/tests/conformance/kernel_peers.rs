//! Peers that are not ours, on the real loop: what their kernel does that none of our own ends has it do.

use std::cell::RefCell;
use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use real_net::{MioDriver, new_loop_and_driver};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use sim_core::{Conn, EventLoop, PipeEnd, PipeReader, Serving, Socket, Transport};
use tests::recorder::{Log, Recorder};

use crate::loops::{ms, run_for};

/// A recorder upon a socket that was made elsewhere.
fn adopt(lp: &EventLoop, socket: Socket) -> Conn<Recorder> {
    let handle = (**lp).clone();
    let adopt =
        async move { handle.connection().adopt(socket, || Recorder::new(&Log::new())).await };
    lp.run_until_complete(adopt).unwrap().unwrap()
}

/// A connection whose other end is no loop's.
fn connect() -> (EventLoop, Rc<MioDriver>, Conn<Recorder>, TcpStream) {
    let (lp, driver) = new_loop_and_driver().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let source = driver.adopt(listener.accept().unwrap().0).unwrap();
    let conn = adopt(&lp, Socket::from_source(&lp, source));
    (lp, driver, conn, peer)
}

/// C-30: a read ends at urgent data; what is behind them is read all the same, whether it comes before the read
/// or after.
// on: real
#[test]
fn what_is_behind_urgent_data_is_read() {
    let (lp, _driver, conn, mut peer) = connect();
    for _ in 0..2 {
        peer.write_all(b"aaa").unwrap();
        assert_eq!(send(&peer, b"!", SendFlags::OOB).unwrap(), 1);
        peer.write_all(b"ccc").unwrap();
        run_for(&lp, ms(20));
    }
    assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"aaacccaaaccc");
}

/// C-30: a read of a Unix stream ends behind what came with descriptors.
// on: real
#[test]
fn what_is_behind_a_descriptor_is_read() {
    let (lp, driver) = new_loop_and_driver().unwrap();
    let (near, mut peer) = UnixStream::pair().unwrap();
    let socket = Socket::from_unix_source(&lp, driver.adopt_unix(near).unwrap());
    let conn = adopt(&lp, socket);
    for _ in 0..2 {
        let sent = [peer.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut descriptors = SendAncillaryBuffer::new(&mut space);
        assert!(descriptors.push(SendAncillaryMessage::ScmRights(&sent)));
        let data = [IoSlice::new(b"x")];
        assert_eq!(sendmsg(&peer, &data, &mut descriptors, SendFlags::empty()).unwrap(), 1);
        peer.write_all(b"yz").unwrap();
        run_for(&lp, ms(20));
    }
    assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"xyzxyz");
}

/// G-02: whoever shares the end of a pipe, as a shell does its terminal, may have made it blocking: the loop does not
/// stand still in a read.
// on: real
#[test]
fn an_end_that_others_made_blocking_blocks_nobody() {
    let (lp, driver) = new_loop_and_driver().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let shared = reader.try_clone().unwrap();
    let reader = PipeReader::from_source(&lp, driver.adopt_pipe(reader, PipeEnd::Read).unwrap());
    let handle = (*lp).clone();
    let connect =
        async move { handle.connect_read_pipe(reader, || Recorder::new(&Log::new())).await };
    let conn = lp.run_until_complete(connect).unwrap().unwrap();
    rustix::io::ioctl_fionbio(&shared, false).unwrap();
    for _ in 0..2 {
        writer.write_all(b"line").unwrap();
        run_for(&lp, ms(20));
    }
    assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"lineline");
}

/// C-77: what an abort cuts short ends with a reset also where the loop ends first.
// on: real
#[test]
fn an_abort_is_a_reset_though_the_loop_ends_in_its_turn() {
    let (lp, driver, conn, mut peer) = connect();
    let stop = lp.stop_handle();
    let _soon = lp.call_soon(move || {
        conn.transport().write(b"half an ans");
        conn.transport().abort();
        stop.stop();
    });
    lp.run_forever().unwrap();
    drop((lp, driver));
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// C-77: what was written and is cut short by the end of the loop ends with a reset, also behind `write_eof` and `close`;
/// what the network has taken, with the end of the stream.
// on: real
#[test]
fn the_end_of_a_loop_resets_what_it_cuts_short() {
    let acts: [fn(&Transport); 3] = [|_| (), Transport::write_eof, Transport::close];
    for (length, act) in [1, 16 << 20].into_iter().flat_map(|length| acts.map(|act| (length, act)))
    {
        let (lp, driver, conn, mut peer) = connect();
        conn.transport().write(&vec![7; length]);
        act(conn.transport());
        run_for(&lp, ms(5));
        drop((conn, lp, driver));
        let end = peer.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        let is_all_sent = length == 1;
        assert_eq!(end, if is_all_sent { Ok(1) } else { Err(io::ErrorKind::ConnectionReset) });
    }
}

/// C-95: an accepted connection knows its peer though that has reset it before its transport was made.
// on: real
#[test]
fn an_accepted_connection_knows_a_peer_that_is_gone() {
    let (lp, _driver) = new_loop_and_driver().unwrap();
    let (handle, log) = ((*lp).clone(), Log::new());
    let names = Rc::new(RefCell::new(Vec::new()));
    let (own, seen) = (log.clone(), Rc::clone(&names));
    let make = move || {
        let seen = Rc::clone(&seen);
        Recorder::new(&own).on_made(move |cx| seen.borrow_mut().push(cx.transport().peername()))
    };
    let serve = async move { handle.create_server(("127.0.0.1", 0), make).await };
    let server = lp.run_until_complete(serve).unwrap().unwrap();
    let peer = TcpStream::connect(server.sockets()[0]).unwrap();
    let name = peer.local_addr().unwrap();
    set_socket_linger(&peer, Some(ms(0))).unwrap();
    drop(peer);
    run_for(&lp, ms(20));
    assert_eq!((names.take(), &*log.text()), (vec![Some(name)], "CM CL(ConnectionReset)"));
}

/// E-16: workers take an IPv6 port though another listens on that of IPv4, as one listener does.
// on: real
#[test]
fn workers_of_one_family_share_a_port_with_the_other() {
    let other = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let Ok(_) = TcpListener::bind("[::1]:0") else { return println!("skipped: there is no IPv6") };
    let pool =
        real_net::workers(2).serve((Ipv6Addr::UNSPECIFIED, port).into(), |lp, at| async move {
            let server = lp.create_server(at, || Recorder::new(&Log::new())).await?;
            Ok(Serving::from(server))
        });
    assert_eq!(pool.unwrap().count(), 2);
}

/// An address of this machine that counts on one of its links alone.
fn link_local() -> Option<SocketAddrV6> {
    let known = fs::read_to_string("/proc/net/if_inet6").ok()?;
    known.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let interface = u32::from_str_radix(fields.next()?, 16).ok()?;
        let address = Ipv6Addr::from_bits(address);
        let is_one = address.is_unicast_link_local();
        is_one.then(|| SocketAddrV6::new(address, 0, 0, interface))
    })
}

/// E-02: an address that is given as one is taken as it is, its scope with it: a link-local one is nowhere
/// without it.
// on: real
#[test]
fn the_scope_of_an_address_is_kept() {
    let Some(local) = link_local() else {
        return println!("skipped: no link has an address of its own");
    };
    let Ok(listener) = TcpListener::bind(local) else {
        return println!("skipped: {local} cannot be bound");
    };
    let (lp, _driver) = new_loop_and_driver().unwrap();
    let (handle, remote) = ((*lp).clone(), listener.local_addr().unwrap());
    let connect = async move {
        let names = handle.getaddrinfo(remote).await?;
        let conn = handle.create_connection(remote, || Recorder::new(&Log::new())).await?;
        io::Result::Ok((names, conn.transport().peername()))
    };
    let (names, peer) = lp.run_until_complete(connect).unwrap().unwrap();
    assert_eq!(names, [remote]);
    assert_eq!(peer, Some(remote));
}
