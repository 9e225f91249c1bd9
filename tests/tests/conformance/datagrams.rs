//! D: datagram endpoints, on the network.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::Family;
use sim_core::{Conn, DatagramTransport, TaskError, ToHostPort, World};
use sim_net::Sim;
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::Log;
use tests::{both_bare_loops, both_loops, sim_only};

use crate::resolving::address_of;
use crate::serving::{Heard, PLACE};

type Endpoint = Conn<DatagramRecorder, DatagramTransport>;

/// The largest payload of a datagram over IPv4.
const LARGEST: usize = 65_507;

/// `EMSGSIZE` in Linux.
const TOO_LONG: &str = "EX(os 90)";

/// An endpoint on the host "server".
async fn bind(world: &World, recorder: DatagramRecorder) -> io::Result<Endpoint> {
    world.host("server").datagram().local(PLACE).bind(|| recorder).await
}

/// An endpoint on the host "client", connected to the place of [`bind`].
async fn connect(world: &World, recorder: DatagramRecorder) -> io::Result<Endpoint> {
    world.host("server");
    world.host("client").datagram().remote(PLACE).bind(|| recorder).await
}

/// An endpoint on the host "client" without a remote address.
async fn unconnected(world: &World, recorder: DatagramRecorder) -> io::Result<Endpoint> {
    world.host("client").datagram().local(("client", 4000)).bind(|| recorder).await
}

fn quiet() -> DatagramRecorder {
    DatagramRecorder::new(&Log::new())
}

/// Where [`bind`] binds.
async fn place(world: &World) -> io::Result<SocketAddr> {
    Ok(world.host("server").getaddrinfo(PLACE).await?[0])
}

fn send(endpoint: &Endpoint, data: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
    endpoint.transport().send_to(data, to)
}

fn invalid<T>(outcome: io::Result<T>) -> String {
    let Err(error) = outcome else {
        panic!("it was taken");
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

both_loops! {
    /// D-01: made, what it queued, the waiting task, and then what had arrived meanwhile.
    async fn the_task_resumes_after_connection_made_and_before_data(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let sender = unconnected(&world, quiet()).await?;
        let to = place(&world).await?;
        let task = lp.create_task({
            let (lp, log) = (lp.clone(), log.clone());
            async move {
                let soon = log.clone();
                let recorder = DatagramRecorder::new(&log).on_made(move |cx| {
                    let soon = soon.clone();
                    cx.event_loop().call_soon(move || soon.push("soon"));
                });
                // The socket is bound when the factory is called.
                let factory = move || { send(&sender, b"early", Some(to)).unwrap(); recorder };
                let endpoint = lp.datagram().local(PLACE).bind(factory).await;
                log.push("task");
                endpoint
            }
        });
        let endpoint = task.await.unwrap()?;
        world.settle().await;
        assert_eq!(log.text(), "CM soon task DG(early)");
        endpoint.with(|_, cx| cx.close());
        endpoint.closed().await?;
        assert_eq!(log.text(), "CM soon task DG(early) CL(None)");
        Ok(())
    }

    /// D-01: `close` in `connection_made`: lost before the task resumes, which gets its pair.
    async fn a_close_in_connection_made_is_lost_before_the_task_resumes(world: World) -> io::Result<()> {
        let log = Log::new();
        let recorder = DatagramRecorder::new(&log).on_made(|cx| { cx.close(); cx.close(); cx.abort(); });
        // A task of its host: the scenario's own resumes before the host's next turn.
        let task = world.host("client").create_task({
            let (world, log) = (world.clone(), log.clone());
            async move {
                let endpoint = connect(&world, recorder).await;
                assert_eq!(log.text(), "CM CL(None)");
                endpoint
            }
        });
        let endpoint = task.await.unwrap()?;
        assert!(endpoint.transport().is_closing());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// D-01: `connection_lost` is queued, never called inside `close` or `abort`, and comes once,
    /// whatever is called after it.
    async fn connection_lost_comes_once_and_from_the_loop(world: World) -> io::Result<()> {
        for abort in [false, true] {
            let log = Log::new();
            let endpoint = connect(&world, DatagramRecorder::new(&log)).await?;
            let transport = endpoint.transport();
            if abort { transport.abort() } else { transport.close() }
            assert_eq!((log.text().as_str(), transport.is_closing()), ("CM", true));
            endpoint.closed().await?;
            transport.close();
            transport.abort();
            transport.pause_reading();
            transport.resume_reading();
            world.settle().await;
            assert_eq!(log.text(), "CM CL(None)");
            assert!(!transport.is_reading() && !transport.is_writable());
        }
        Ok(())
    }

    /// D-01: a cancelled caller leaves nothing behind: made, then lost, and the port is free.
    async fn a_cancelled_endpoint_is_made_and_lost(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let task = lp.create_task({
            let (world, log) = (world.clone(), log.clone());
            async move { bind(&world, DatagramRecorder::new(&log)).await.map(drop) }
        });
        // In the turn of the first step: the socket is there, `connection_made` is for the next.
        let cancelled = lp.create_future();
        lp.call_soon({ let cancelled = cancelled.clone(); move || { cancelled.set_result(task.cancel()).unwrap(); drop(task); } });
        assert!(cancelled.await.unwrap());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        bind(&world, quiet()).await.map(drop)
    }

    /// A-24, D-09: two endpoints, each of which sends over the other when a send fails, leave turns to others.
    async fn endpoints_that_send_for_each_other_leave_turns_to_others(world: World) -> io::Result<()> {
        let (lp, tries, turns) = (world.host("server"), Rc::new(Cell::new(1_000)), Rc::new(Cell::new(0)));
        let ends: Rc<RefCell<Vec<DatagramTransport>>> = Rc::default();
        for other in [1, 0] {
            let (ends, tries) = (Rc::clone(&ends), Rc::clone(&tries));
            let own = Rc::clone(&ends);
            let recorder = quiet().on_error(move |_| {
                if tries.get() > 0 {
                    tries.set(tries.get() - 1);
                    ends.borrow()[other].send_to(&[0; LARGEST + 1], None).unwrap();
                }
            });
            let endpoint = lp.datagram().remote(PLACE).bind(|| recorder).await?;
            own.borrow_mut().push(endpoint.transport().clone());
        }
        ends.borrow()[0].send_to(&[0; LARGEST + 1], None)?;
        let (host, counter, left) = (lp.clone(), Rc::clone(&turns), Rc::clone(&tries));
        let counts = lp.create_task(async move {
            while left.get() > 0 {
                counter.set(counter.get() + 1);
                host.sleep(Duration::ZERO).await;
            }
        });
        counts.await.expect("it ends");
        assert!(turns.get() > 100, "1000 errors in {} turns", turns.get());
        ends.borrow().iter().for_each(DatagramTransport::close);
        ends.take();
        Ok(())
    }

    /// D-02: every datagram is one callback, whole, up to the largest that there is; the sender's
    /// address comes with it.
    async fn a_datagram_is_one_callback(world: World) -> io::Result<()> {
        let log = Log::new();
        let (receiver, sender) = (bind(&world, quiet()).await?, connect(&world, DatagramRecorder::new(&log)).await?);
        let lengths = [0, 1, 2, 1_400, 1_472, 1_473, 9_000, LARGEST];
        for (fill, length) in lengths.into_iter().enumerate() {
            send(&sender, &vec![fill as u8; length], None)?;
            world.settle().await;
        }
        let from = sender.transport().sockname().unwrap();
        let expected: Vec<_> =
            lengths.iter().enumerate().map(|(fill, &length)| (vec![fill as u8; length], from)).collect();
        assert!(receiver.with(|recorder, _| recorder.received == expected), "{:?}", receiver.with(|r, _| r.log.text()));
        send(&sender, &vec![0; LARGEST + 1], None)?;
        world.settle().await;
        assert_eq!(log.text(), format!("CM {TOO_LONG}"));
        Ok(())
    }

    /// D-02: datagrams that wait together are not merged.
    async fn datagrams_that_wait_together_are_not_merged(world: World) -> io::Result<()> {
        let receiver = bind(&world, DatagramRecorder::new(&Log::new()).on_made(|cx| cx.pause_reading())).await?;
        let sender = connect(&world, quiet()).await?;
        for _ in 0..20 {
            send(&sender, b"0123456789", None)?;
        }
        world.settle().await;
        receiver.with(|_, cx| cx.resume_reading());
        world.settle().await;
        let lengths = receiver.with(|recorder, _| recorder.received.iter().map(|(data, _)| data.len()).collect::<Vec<_>>());
        assert_eq!(lengths, [10; 20]);
        Ok(())
    }

    /// D-03, D-04: an empty datagram is sent and received, and ends nothing.
    async fn an_empty_datagram_is_a_datagram(world: World) -> io::Result<()> {
        let log = Log::new();
        let receiver = bind(&world, DatagramRecorder::new(&log)).await?;
        let sender = connect(&world, quiet()).await?;
        for data in [&b""[..], b"", b"after"] {
            send(&sender, data, None)?;
            world.settle().await;
        }
        assert_eq!(log.text(), "CM DG() DG() DG(after)");
        assert!(!receiver.transport().is_closing());
        Ok(())
    }

    /// D-05: a connected endpoint sends to its remote address, named or not; another one is an error
    /// that names the allowed one, while closing too.
    async fn a_connected_endpoint_sends_to_its_address_alone(world: World) -> io::Result<()> {
        let log = Log::new();
        let _receiver = bind(&world, DatagramRecorder::new(&log)).await?;
        let (sender, to) = (connect(&world, quiet()).await?, place(&world).await?);
        send(&sender, b"unnamed", None)?;
        world.settle().await;
        send(&sender, b"named", Some(to))?;
        world.settle().await;
        let other = SocketAddr::new(to.ip(), to.port() + 1);
        for _ in 0..2 {
            let text = invalid(send(&sender, b"astray", Some(other)));
            assert!(text.contains(&to.to_string()), "{text} has not {to}");
            sender.transport().close();
        }
        sender.closed().await?;
        invalid(send(&sender, b"astray", Some(other)));
        world.settle().await;
        assert_eq!(log.text(), "CM DG(unnamed) DG(named)");
        Ok(())
    }

    /// D-05: a connected endpoint hears of its remote address alone.
    async fn a_connected_endpoint_hears_of_its_address_alone(world: World) -> io::Result<()> {
        let log = Log::new();
        let receiver = bind(&world, quiet()).await?;
        let sender = connect(&world, DatagramRecorder::new(&log)).await?;
        let stranger = world.host("stranger").datagram().local(("stranger", 0)).bind(quiet).await?;
        let to = sender.transport().sockname();
        send(&stranger, b"stranger", to)?;
        world.settle().await;
        send(&receiver, b"friend", to)?;
        world.settle().await;
        assert_eq!(log.text(), "CM DG(friend)");
        Ok(())
    }

    /// D-06, D-23: an endpoint without a remote address needs one for each datagram; it has no peer,
    /// and a missing address does it no harm.
    async fn an_unconnected_endpoint_needs_an_address(world: World) -> io::Result<()> {
        let log = Log::new();
        let _receiver = bind(&world, DatagramRecorder::new(&log)).await?;
        let sender = unconnected(&world, quiet()).await?;
        assert_eq!(sender.transport().peername(), None);
        invalid(send(&sender, b"where?", None));
        assert!(!sender.transport().is_closing());
        send(&sender, b"there", Some(place(&world).await?))?;
        world.settle().await;
        assert_eq!(log.text(), "CM DG(there)");
        Ok(())
    }

    /// D-07, D-09, J-24: an error of sending comes right after the callback that sent, once an error
    /// and in order, before anything else; the endpoint stays open.
    async fn an_error_of_sending_comes_right_after_the_callback(world: World) -> io::Result<()> {
        let log = Log::new();
        let receiver = bind(&world, quiet()).await?;
        let acts = log.clone();
        let recorder = DatagramRecorder::new(&log).on_datagram(move |cx, _, _| {
            let soon = acts.clone();
            cx.event_loop().call_soon(move || soon.push("soon"));
            cx.send_to(&vec![0; LARGEST + 1], None).unwrap();
            acts.push("sent");
            cx.send_to(&vec![0; LARGEST + 2], None).unwrap();
            cx.send_to(b"fine", None).unwrap();
            acts.push("end");
        });
        let sender = connect(&world, recorder).await?;
        send(&receiver, b"go", sender.transport().sockname())?;
        world.settle().await;
        assert_eq!(log.text(), format!("CM DG(go) sent end {TOO_LONG} {TOO_LONG} soon"));
        assert_eq!(receiver.with(|recorder, _| recorder.received.len()), 1);
        assert!(!sender.transport().is_closing());
        Ok(())
    }

    /// D-07, D-09: the error of a send comes before the loss, also where the callback or the step that sent goes on to
    /// close or to abort the endpoint.
    async fn an_error_of_sending_comes_before_the_loss(world: World) -> io::Result<()> {
        type End = fn(&DatagramTransport);
        for end in [DatagramTransport::close as End, DatagramTransport::abort] {
            let (log, receiver) = (Log::new(), bind(&world, quiet()).await?);
            let recorder = DatagramRecorder::new(&log).on_datagram(move |cx, _, _| {
                cx.send_to(&vec![0; LARGEST + 1], None).unwrap();
                end(cx.transport());
            });
            let sender = connect(&world, recorder).await?;
            send(&receiver, b"go", sender.transport().sockname())?;
            sender.closed().await?;
            assert_eq!(log.text(), format!("CM DG(go) {TOO_LONG} CL(None)"));

            let log = Log::new();
            let sender = connect(&world, DatagramRecorder::new(&log)).await?;
            send(&sender, &vec![0; LARGEST + 1], None)?;
            end(sender.transport());
            sender.closed().await?;
            assert_eq!(log.text(), format!("CM {TOO_LONG} CL(None)"));

            // An error that `error_received` causes comes a turn later, and so does the loss.
            let log = Log::new();
            let again = log.clone();
            let recorder = DatagramRecorder::new(&log).on_error(move |cx| {
                if again.count(TOO_LONG) == 1 {
                    cx.send_to(&vec![0; LARGEST + 1], None).unwrap();
                    end(cx.transport());
                }
            });
            let sender = connect(&world, recorder).await?;
            send(&sender, &vec![0; LARGEST + 1], None)?;
            sender.closed().await?;
            assert_eq!(log.text(), format!("CM {TOO_LONG} {TOO_LONG} CL(None)"));
            receiver.transport().close();
            receiver.closed().await?;
        }
        Ok(())
    }

    /// D-07: an address that may not be sent to is an error of `error_received`, not of the call.
    async fn an_unreachable_address_is_an_error_of_the_network(world: World) -> io::Result<()> {
        let log = Log::new();
        let sender = unconnected(&world, DatagramRecorder::new(&log)).await?;
        send(&sender, b"to all", Some("255.255.255.255:7".parse().unwrap()))?;
        world.settle().await;
        assert_eq!(log.text(), "CM EX(PermissionDenied)");
        send(&sender, b"port 0", Some("127.0.0.1:0".parse().unwrap()))?;
        world.settle().await;
        assert_eq!(log.text(), "CM EX(PermissionDenied) EX(InvalidInput)");
        send(&sender, b"other family", Some("[::1]:7".parse().unwrap()))?;
        world.settle().await;
        assert_eq!(log.entries().len(), 4, "{log:?}");
        assert!(!sender.transport().is_closing());
        Ok(())
    }

    /// D-09: an error that `error_received` itself causes comes in a later turn, so that a protocol
    /// that always tries again does not keep the loop.
    async fn an_error_inside_error_received_comes_a_turn_later(world: World) -> io::Result<()> {
        let log = Log::new();
        let turns = log.clone();
        let recorder = DatagramRecorder::new(&log).on_error(move |cx| {
            let turns_again = turns.clone();
            cx.event_loop().call_soon(move || turns_again.push("turn"));
            if turns.count(TOO_LONG) < 3 {
                cx.send_to(&vec![0; LARGEST + 1], None).unwrap();
            }
        });
        let sender = connect(&world, recorder).await?;
        send(&sender, &vec![0; LARGEST + 1], None)?;
        world.settle().await;
        assert_eq!(log.text(), format!("CM {TOO_LONG} turn {TOO_LONG} turn {TOO_LONG} turn"));
        Ok(())
    }

    /// D-08, TR-21: a datagram from a connected endpoint to a closed port comes back as an error, one
    /// for each, and the endpoint works on.
    async fn a_closed_port_is_an_error_of_a_connected_endpoint(world: World) -> io::Result<()> {
        let (log, heard) = (Log::new(), Log::new());
        let sender = connect(&world, DatagramRecorder::new(&log)).await?;
        for errors in 1..=2 {
            send(&sender, b"anyone?", None)?;
            world.settle().await;
            assert_eq!(log.count("EX(ConnectionRefused)"), errors);
        }
        world.settle().await;
        assert_eq!(log.text(), "CM EX(ConnectionRefused) EX(ConnectionRefused)");
        let _receiver = bind(&world, DatagramRecorder::new(&heard)).await?;
        send(&sender, b"now", None)?;
        world.settle().await;
        assert_eq!((heard.text().as_str(), log.entries().len()), ("CM DG(now)", 3));
        Ok(())
    }

    /// D-08: an unconnected endpoint hears nothing of closed ports.
    async fn a_closed_port_is_nothing_to_an_unconnected_endpoint(world: World) -> io::Result<()> {
        let log = Log::new();
        let sender = unconnected(&world, DatagramRecorder::new(&log)).await?;
        for _ in 0..3 {
            send(&sender, b"anyone?", Some(place(&world).await?))?;
            world.settle().await;
        }
        assert_eq!(log.text(), "CM");
        Ok(())
    }

    /// D-08, D-17: while reading is paused the error waits as well.
    async fn the_error_of_a_closed_port_waits_while_paused(world: World) -> io::Result<()> {
        let log = Log::new();
        let sender = connect(&world, DatagramRecorder::new(&log).on_made(|cx| cx.pause_reading())).await?;
        send(&sender, b"anyone?", None)?;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        sender.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM EX(ConnectionRefused)");
        Ok(())
    }

    /// D-15, J-28: what is sent after `close` is dropped in silence, before and after the loss.
    async fn sends_after_close_are_dropped(world: World) -> io::Result<()> {
        let (log, heard) = (Log::new(), Log::new());
        let receiver = bind(&world, DatagramRecorder::new(&heard)).await?;
        let to = receiver.transport().sockname();
        let recorder = DatagramRecorder::new(&log).on_lost(move |cx| cx.send_to(b"inside", to).unwrap());
        let sender = unconnected(&world, recorder).await?;
        sender.transport().close();
        send(&sender, b"closing", to)?;
        sender.closed().await?;
        for _ in 0..10 {
            send(&sender, b"lost", to)?;
        }
        world.settle().await;
        assert_eq!((log.text().as_str(), heard.text().as_str()), ("CM CL(None)", "CM"));
        assert_eq!(sender.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// D-17: `pause_reading` holds datagrams back, `resume_reading` lets them come, from the loop;
    /// both may be repeated.
    async fn reading_can_be_paused(world: World) -> io::Result<()> {
        let log = Log::new();
        let receiver = bind(&world, DatagramRecorder::new(&log)).await?;
        let sender = connect(&world, quiet()).await?;
        let transport = receiver.transport();
        assert!(transport.is_reading());
        transport.pause_reading();
        transport.pause_reading();
        assert!(!transport.is_reading());
        for data in [b"1", b"2"] {
            send(&sender, data, None)?;
            world.settle().await;
        }
        assert_eq!(log.text(), "CM");
        transport.resume_reading();
        transport.resume_reading();
        assert_eq!(log.text(), "CM");
        world.settle().await;
        assert_eq!((log.text().as_str(), transport.is_reading()), ("CM DG(1) DG(2)", true));
        Ok(())
    }

    /// D-17: a pause inside `datagram_received` holds back what waits behind.
    async fn a_pause_inside_datagram_received_acts_at_once(world: World) -> io::Result<()> {
        let log = Log::new();
        let recorder = DatagramRecorder::new(&log).on_made(|cx| cx.pause_reading()).on_datagram(|cx, _, _| cx.pause_reading());
        let receiver = bind(&world, recorder).await?;
        let sender = connect(&world, quiet()).await?;
        for data in [b"1", b"2"] {
            send(&sender, data, None)?;
            world.settle().await;
        }
        for expected in ["CM DG(1)", "CM DG(1) DG(2)"] {
            receiver.with(|_, cx| cx.resume_reading());
            world.settle().await;
            assert_eq!(log.text(), expected);
        }
        receiver.with(|_, cx| { cx.resume_reading(); cx.close(); });
        send(&sender, b"3", None)?;
        world.settle().await;
        assert_eq!(log.text(), "CM DG(1) DG(2) CL(None)");
        Ok(())
    }

    /// D-19: an endpoint needs an address or a family; its addresses are of one family.
    async fn an_endpoint_needs_an_address_or_a_family(world: World) -> io::Result<()> {
        let lp = world.host("client");
        invalid(lp.datagram().bind(quiet).await);
        invalid(lp.create_datagram_endpoint(None, None, quiet).await);
        let mixed = lp.datagram().local(("127.0.0.1", 0)).remote(("::1", 7));
        assert!(invalid(mixed.bind(quiet).await).contains("family"));
        let other = lp.datagram().local(("127.0.0.1", 0)).family(Family::V6);
        assert!(invalid(other.bind(quiet).await).contains("family"));

        let heard = Log::new();
        let _receiver = bind(&world, DatagramRecorder::new(&heard)).await?;
        let sender = lp.datagram().family(Family::V4).bind(quiet).await?;
        assert_eq!(sender.transport().peername(), None);
        send(&sender, b"bare", Some(place(&world).await?))?;
        world.settle().await;
        assert_eq!(heard.text(), "CM DG(bare)");
        Ok(())
    }

    /// D-19: the two arguments of `create_datagram_endpoint` are the builder's; no host is every
    /// address.
    async fn an_endpoint_can_have_both_addresses(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let log = Log::new();
        // Every address of the machine, so the port must be free on all of it.
        let any = world.host("server").datagram().local(("", 0));
        let receiver = any.bind(|| DatagramRecorder::new(&log)).await?;
        let bound = receiver.transport().sockname().unwrap();
        assert!(bound.ip().is_unspecified());
        let (local, remote) = (("client", 4000).to_host_port(), ("server", bound.port()).to_host_port());
        let sender = lp.create_datagram_endpoint(Some(local), Some(remote), quiet).await?;
        assert_eq!(sender.transport().sockname().unwrap().port(), 4000);
        let peer = SocketAddr::new(place(&world).await?.ip(), bound.port());
        assert_eq!(sender.transport().peername(), Some(peer));
        send(&sender, b"hello", None)?;
        world.settle().await;
        assert_eq!(log.text(), "CM DG(hello)");
        let taken = lp.datagram().local(("client", 4000)).bind(quiet).await;
        let error = taken.expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(":4000"), "{error}");
        Ok(())
    }

    /// D-20: with broadcast allowed the endpoint is not connected: it hears of everybody, and sends
    /// to the remote address all the same.
    async fn an_endpoint_for_broadcasts_is_not_connected(world: World) -> io::Result<()> {
        let (log, heard) = (Log::new(), Log::new());
        let _receiver = bind(&world, DatagramRecorder::new(&heard)).await?;
        let endpoint = world.host("client").datagram().local(("client", 4000)).remote(PLACE).broadcast(true);
        let endpoint = endpoint.bind(|| DatagramRecorder::new(&log)).await?;
        assert_eq!(endpoint.transport().peername(), None);
        send(&endpoint, b"unnamed", None)?;
        world.settle().await;
        send(&endpoint, b"named", Some(place(&world).await?))?;
        world.settle().await;
        invalid(send(&endpoint, b"astray", Some("127.0.0.1:9".parse().unwrap())));
        let stranger = world.host("stranger").datagram().local(("stranger", 0)).bind(quiet).await?;
        send(&stranger, b"hi", endpoint.transport().sockname())?;
        world.settle().await;
        assert_eq!((heard.text().as_str(), log.text().as_str()), ("CM DG(unnamed) DG(named)", "CM DG(hi)"));
        Ok(())
    }
}

sim_only! {
    /// D-20: a broadcast reaches every host, the sender's own included, if it was allowed.
    async fn a_broadcast_reaches_every_host(world: World) -> io::Result<()> {
        let log = Log::new();
        let mut endpoints = Vec::new();
        for name in ["one", "two", "three"] {
            let any = world.host(name).datagram().local(("", 7000)).broadcast(true);
            endpoints.push(any.bind(|| DatagramRecorder::new(&log)).await?);
        }
        send(&endpoints[0], b"all", Some("10.255.255.255:7000".parse().unwrap()))?;
        world.settle().await;
        assert_eq!(log.text(), "CM CM CM DG(all) DG(all) DG(all)");
        Ok(())
    }
}

/// D-19: wrong arguments are told before a socket is opened.
// on: sim
#[test]
fn wrong_arguments_are_told_before_a_socket_is_opened() {
    let report = Sim::new(1).max_descriptors(0).run(|world| async move {
        let lp = world.host("client");
        invalid(lp.datagram().bind(quiet).await);
        invalid(lp.datagram().local(("127.0.0.1", 0)).remote(("::1", 7)).bind(quiet).await);
        let error = lp.datagram().local(("127.0.0.1", 0)).bind(quiet).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(24));
    });
    report.outcome.unwrap();
}

both_loops! {
    contain;

    /// Endpoints share a port: one that is connected hears its peer and nobody else, and what others send
    /// is for the one that is not connected. Nobody is refused.
    async fn endpoints_that_share_a_port_hear_each_its_own(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let own = address_of(&server).await?;
        let sockname = |endpoint: &Endpoint| endpoint.transport().sockname().unwrap();
        for bound in [own, [0, 0, 0, 0].into()] {
            let logs = [Log::new(), Log::new(), Log::new()];
            let share = |port| server.datagram().local((bound, port)).reuse_port(true);
            let open = share(0).bind(|| DatagramRecorder::new(&logs[0])).await?;
            let peer = client.datagram().local((address_of(&client).await?, 0)).bind(quiet).await?;
            let connected = share(sockname(&open).port()).remote(sockname(&peer));
            let connected = connected.bind(|| DatagramRecorder::new(&logs[1])).await?;
            let place = sockname(&connected);
            let mut strangers = Vec::new();
            for _ in 0..8 {
                let stranger = client.datagram().remote(place);
                strangers.push(stranger.bind(|| DatagramRecorder::new(&logs[2])).await?);
                send(&strangers[strangers.len() - 1], b"hello", None)?;
                send(&peer, b"it's me", Some(place))?;
                world.settle().await;
            }
            let heard = |what: &str| format!("CM{}", format!(" DG({what})").repeat(8));
            assert_eq!(logs[0].text(), heard("hello"));
            assert_eq!(logs[1].text(), heard("it's me"));
            assert_eq!(logs[2].text(), ["CM"; 8].join(" "));
        }
        Ok(())
    }

    /// D-18: a panic in `datagram_received` or `error_received` is reported, with the transport and
    /// the protocol, and the endpoint works on.
    async fn a_panic_in_a_callback_leaves_the_endpoint_open(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("client"), Log::new());
        let heard = Heard::by(&lp);
        let recorder = DatagramRecorder::new(&log)
            .on_made(|_| panic!("made"))
            .on_datagram(|_, _, _| panic!("datagram"))
            .on_error(|_| panic!("error"))
            .on_lost(|_| panic!("lost"));
        let endpoint = unconnected(&world, recorder).await?;
        let own = endpoint.transport().sockname();
        for _ in 0..2 {
            send(&endpoint, b"to me", own)?;
            world.settle().await;
        }
        send(&endpoint, &vec![0; LARGEST + 1], own)?;
        world.settle().await;
        assert!(!endpoint.transport().is_closing());
        endpoint.transport().close();
        endpoint.closed().await?;
        assert_eq!(heard.panics(), ["made", "datagram", "datagram", "error", "lost"]);
        assert_eq!(log.text(), format!("CM DG(to me) DG(to me) {TOO_LONG} CL(None)"));
        assert!(heard.messages().iter().all(|message| message.starts_with("Exception in callback")));
        Ok(())
    }

    /// D-01, C-19: a factory that panics fails the call, and its socket is closed.
    async fn a_panic_in_the_factory_fails_the_call(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let task = lp.create_task({
            let lp = lp.clone();
            async move {
                let factory = || -> DatagramRecorder { panic!("no protocol") };
                lp.datagram().local(PLACE).bind(factory).await.map(drop)
            }
        });
        assert!(matches!(task.await, Err(TaskError::Panicked(text)) if &*text == "no protocol"));
        bind(&world, quiet()).await.map(drop)
    }
}

both_bare_loops! {
    /// D-15: a loop that is closed closes its endpoints without a callback; what is sent then is
    /// dropped.
    fn a_closed_loop_has_no_endpoints(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, protocol) = ((*lp).clone(), DatagramRecorder::new(&log));
        let endpoint = lp.run_until_complete(async move {
            handle.datagram().local(("127.0.0.1", 0)).bind(|| protocol).await
        });
        let endpoint = endpoint.unwrap().unwrap();
        let own = endpoint.transport().sockname();
        lp.close().unwrap();
        send(&endpoint, b"late", own).unwrap();
        endpoint.transport().close();
        assert_eq!(log.text(), "CM");
    }
}
