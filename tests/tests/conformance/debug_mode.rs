//! What debug mode says of things that nobody closed or awaited (A.4, A-69).

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use sim_core::stream::StreamProtocol;
use sim_core::subprocess::{SubprocessProtocol, SubprocessTransport};
use sim_core::{Conn, Cx, ErrorContext, EventLoop, Failure, Loop, Server, Task, ToHostPort, World};
use tests::datagram_recorder::DatagramRecorder;
use tests::harness::only;
use tests::programs::{TALK, install};
use tests::recorder::{Log, Recorder};
use tests::{both_bare_loops, both_loops};

use crate::connected::{ADDRESS, serve_one};
use crate::loops::{ms, run_a_turn};
use crate::tls::Sides;

type Contexts = Rc<RefCell<Vec<ErrorContext>>>;

/// Puts a loop into debug mode and keeps its reports. Nothing is slow on it, however busy the machine is.
fn debugging(lp: &Loop) -> Contexts {
    lp.set_debug(true);
    lp.set_slow_callback_duration(Duration::from_secs(3_600));
    let contexts = Contexts::default();
    let heard = Rc::clone(&contexts);
    lp.set_exception_handler(Some(Rc::new(move |_, context: &ErrorContext| {
        heard.borrow_mut().push(context.clone());
    })));
    contexts
}

/// The line on which something was made, of a report that says that it was made in this file.
#[track_caller]
fn line_of(context: &ErrorContext) -> u32 {
    let at = context.created.unwrap_or_else(|| panic!("it has no place: {context}"));
    assert!(at.file().ends_with("debug_mode.rs"), "{context}");
    assert!(context.to_string().contains(&format!("debug_mode.rs:{}", at.line())), "{context}");
    at.line()
}

#[track_caller]
fn here() -> u32 {
    Location::caller().line()
}

/// A server on a loop's own machine, which it makes on the line that is given back.
fn listen(lp: &EventLoop) -> (Server, u32) {
    let handle = (**lp).clone();
    let serve = async move {
        let serving =
            (handle.create_server(("127.0.0.1", 0), || Recorder::new(&Log::new())), here());
        (serving.0.await.unwrap(), serving.1)
    };
    lp.run_until_complete(serve).unwrap()
}

both_bare_loops! {
    /// what is open when a loop is closed is reported, in order of creation, with where it was made.
    fn what_is_left_open_is_reported_when_the_loop_closes(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        let (server, server_line) = listen(&lp);
        let port = server.sockets()[0].port();
        let handle = (*lp).clone();
        let connect = async move {
            let connecting = (handle.create_connection(("127.0.0.1", port), StreamProtocol::new), here());
            let conn = connecting.0.await.unwrap();
            handle.sleep(ms(20)).await;
            let remote = Some(("127.0.0.1", port).to_host_port());
            let recorder = || DatagramRecorder::new(&Log::new());
            let binding = (handle.create_datagram_endpoint(None, remote, recorder), here());
            (conn, binding.0.await.unwrap(), connecting.1, binding.1)
        };
        let (conn, _endpoint, conn_line, endpoint_line) = lp.run_until_complete(connect).unwrap();
        assert_eq!(server.connection_count(), 1);
        assert!(contexts.borrow().is_empty(), "{contexts:?}");
        lp.close().unwrap();
        let texts: Vec<String> = contexts.borrow().iter().map(ToString::to_string).collect();
        let [first, second, endpoint, listener] =
            <[ErrorContext; 4]>::try_from(contexts.take()).unwrap_or_else(|_| panic!("{texts:?}"));
        // Which end is made first is the network's affair.
        assert!(first.transport < second.transport && second.transport < endpoint.transport);
        let is_dialled = first.transport == Some(conn.transport().number());
        let (dialled, accepted) = if is_dialled { (first, second) } else { (second, first) };
        assert_eq!(line_of(&dialled), conn_line);
        assert_eq!(dialled.transport, Some(conn.transport().number()));
        assert!(dialled.protocol.is_some_and(|name| name.ends_with("StreamProtocol")), "{dialled}");
        assert!(dialled.message.starts_with("unclosed transport 127.0.0.1:"), "{dialled}");
        assert!(dialled.message.ends_with(&format!("→127.0.0.1:{port}")), "{dialled}");
        assert_eq!(line_of(&accepted), server_line, "of what a server accepted: the server's");
        assert!(accepted.message.starts_with("unclosed transport"), "{accepted}");
        assert_eq!(line_of(&endpoint), endpoint_line);
        assert!(endpoint.message.starts_with("unclosed endpoint"), "{endpoint}");
        assert_eq!(line_of(&listener), server_line);
        assert_eq!(listener.message, format!("unclosed server 127.0.0.1:{port}"));
    }

    /// what was closed is not reported, and outside debug mode nothing is.
    fn what_was_closed_is_not_reported(make: Make) {
        for debug in [true, false] {
            let lp = make.new_loop();
            let contexts = debugging(&lp);
            lp.set_debug(debug);
            let (server, _) = listen(&lp);
            let port = server.sockets()[0].port();
            let handle = (*lp).clone();
            let opened = async move {
                handle.create_connection(("127.0.0.1", port), StreamProtocol::new).await.unwrap()
            };
            let conn = lp.run_until_complete(opened).unwrap();
            if debug {
                server.close();
                server.close_clients();
                conn.transport().close();
            }
            run_a_turn(&lp);
            drop((server, conn));
            lp.close().unwrap();
            assert!(contexts.borrow().is_empty(), "{contexts:?}");
        }
    }

    /// A-69, E-33: when the last handle of a server is dropped that listens, that is reported, and once.
    fn dropping_the_last_handle_of_a_server_is_reported(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        let (server, line) = listen(&lp);
        let (another, port) = (server.clone(), server.sockets()[0].port());
        drop(server);
        assert!(contexts.borrow().is_empty(), "{contexts:?}");
        drop(another);
        let context = only(contexts.take());
        assert_eq!(line_of(&context), line);
        let expected = format!("the last handle was dropped of a server that listens at 127.0.0.1:{port}");
        assert_eq!(context.message, expected);
        lp.close().unwrap();
        assert!(contexts.borrow().is_empty(), "it is not told twice: {contexts:?}");
    }

    /// in debug mode a task that is destroyed while it is pending is reported with where it was
    /// made, and outside it without.
    fn a_pending_task_says_where_it_was_made(make: Make) {
        for debug in [true, false] {
            let lp = make.new_loop();
            let contexts = debugging(&lp);
            lp.set_debug(debug);
            let (task, line) = (lp.create_named_task("worker", pending::<()>()), here());
            drop(task);
            drop(lp);
            let context = only(contexts.take());
            assert_eq!(context.message, "Task was destroyed but it is pending: worker");
            if debug {
                assert_eq!(line_of(&context), line);
            } else {
                assert!(context.created.is_none(), "{context}");
            }
        }
    }

    /// a task that panics says where it was made.
    fn a_task_that_panics_says_where_it_was_made(make: Make) {
        let lp = make.containing_loop();
        let contexts = debugging(&lp);
        let (task, line) = (lp.create_task(async { panic!("ouch") }), here());
        run_a_turn(&lp);
        let context = only(contexts.take());
        assert_eq!((line_of(&context), context.panic.as_deref()), (line, Some("ouch")));
        drop(task);
        assert!(contexts.borrow().is_empty(), "it was told when it happened");
    }

    /// B-06: a callback that panics says where it was scheduled; outside debug mode it does not.
    fn a_callback_that_panics_says_where_it_was_scheduled(make: Make) {
        for debug in [true, false] {
            let lp = make.containing_loop();
            let contexts = debugging(&lp);
            lp.set_debug(debug);
            let (future, task) = (lp.create_future::<()>(), lp.create_task(async {}));
            let soon = (lp.call_soon(|| panic!("soon")), here()).1;
            future.set_result(()).unwrap();
            let late = (future.add_done_callback(|_| panic!("late")), here()).1;
            let pending = lp.create_future::<()>();
            let done = (pending.add_done_callback(|_| panic!("done")), here()).1;
            pending.set_result(()).unwrap();
            let (_timer, timed) = (lp.call_later(ms(0), || panic!("timed")), here());
            task.on_done(|| panic!("task")); let ended = here();
            run_a_turn(&lp);
            task.on_done(|| panic!("over")); let over = here();
            run_a_turn(&lp);
            let lines =
                [("soon", soon), ("late", late), ("done", done), ("timed", timed), ("task", ended), ("over", over)];
            let expected = lines.map(|(panic, line)| {
                let text = format!("Exception in callback: panicked: {panic}");
                if debug { format!("{text}, created at {}:{line}", file!()) } else { text }
            });
            let told: Vec<String> = contexts.take().iter().map(ErrorContext::to_string).collect();
            assert_eq!(told, expected);
        }
    }

    /// B-07: in debug mode a task's error that nobody took is reported when the task is dropped, with where it
    /// was made.
    fn an_error_of_a_task_that_nobody_took_is_reported(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        let fails = async { io::Result::<()>::Err(io::ErrorKind::TimedOut.into()) };
        let (task, line) = (lp.create_named_task("worker", fails), here());
        run_a_turn(&lp);
        assert!(contexts.borrow().is_empty(), "somebody may still take it");
        drop(task);
        let context = only(contexts.take());
        assert_eq!(context.message, "Task exception was never retrieved");
        assert_eq!((line_of(&context), context.task.as_deref()), (line, Some("worker")));
        assert_eq!(context.error.unwrap().to_io().kind(), io::ErrorKind::TimedOut);
        // One that a handle never had.
        drop(lp.create_task(async { Result::<(), Failure>::Err("boxed".into()) }));
        run_a_turn(&lp);
        assert_eq!(only(contexts.take()).error.unwrap().to_string(), "boxed");
    }

    /// B-07: an error that was taken, and a success, are not reported; nor is anything outside debug mode.
    fn a_result_that_was_taken_is_not_reported(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        let fails = || async { io::Result::<()>::Err(io::ErrorKind::TimedOut.into()) };
        let taken: Task<io::Result<()>> = lp.create_task(fails());
        drop(lp.create_task(async { io::Result::Ok(()) }));
        run_a_turn(&lp);
        assert!(taken.take_result().unwrap().unwrap().is_err());
        drop(taken);
        lp.set_debug(false);
        drop(lp.create_task(fails()));
        run_a_turn(&lp);
        assert!(contexts.borrow().is_empty(), "{contexts:?}");
    }

    /// B-07, A-61: a future's error that nobody retrieved is reported with where the future was made.
    fn a_futures_error_says_where_the_future_was_made(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        let (future, line) = (lp.create_future::<()>(), here());
        future.set_exception(io::Error::other("lost")).unwrap();
        drop(future);
        assert_eq!(line_of(&only(contexts.take())), line);
    }

    /// what is slow is reported with where it was made.
    fn what_is_slow_says_where_it_was_made(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        lp.set_slow_callback_duration(ms(40));
        let spends = |lp: &EventLoop| {
            let handle = (**lp).clone();
            move || handle.spend(ms(50))
        };
        let (soon, timed, stepped) = (spends(&lp), spends(&lp), spends(&lp));
        let lines = [(drop(lp.call_soon(soon)), here()).1, {
            let (task, line) = (lp.create_task(async move { stepped() }), here());
            drop(task);
            line
        }];
        let (_timer, timer_line) = (lp.call_later(ms(0), timed), here());
        run_a_turn(&lp);
        run_a_turn(&lp);
        run_a_turn(&lp);
        let told: Vec<u32> = contexts.take().iter().map(line_of).collect();
        assert_eq!(told, [lines[0], lines[1], timer_line]);
    }

    /// what a closed loop refuses says where it was asked for.
    fn what_a_closed_loop_refuses_says_where(make: Make) {
        let lp = make.new_loop();
        let contexts = debugging(&lp);
        lp.close().unwrap();
        let lines = [
            (drop(lp.call_soon(|| {})), here()).1,
            (drop(lp.call_later(ms(1), || {})), here()).1,
            (drop(lp.create_task(async {})), here()).1,
        ];
        assert_eq!(contexts.take().iter().map(line_of).collect::<Vec<u32>>(), lines);
    }

    /// a handler that acts on what it hears of, while the loop closes, does no harm.
    fn a_handler_may_close_what_it_hears_of(make: Make) {
        let lp = make.new_loop();
        lp.set_debug(true);
        let (server, _) = listen(&lp);
        let (told, seen) = (Rc::new(Cell::new(0)), server.clone());
        let count = Rc::clone(&told);
        lp.set_exception_handler(Some(Rc::new(move |lp: &Loop, _| {
            count.set(count.get() + 1);
            seen.close();
            lp.call_soon(|| unreachable!("the loop is closed"));
        })));
        lp.close().unwrap();
        assert!(!server.is_serving());
        // That the second callback was refused is logged: the handler would hear of itself for ever.
        assert_eq!(told.get(), 2, "the server, and the callback that was refused");
    }
}

both_loops! {
    contain;

    /// A-61, C-32, C-86: what a protocol's panic is about is its connection: the report has the transport, the protocol,
    /// and where the connection was made, or the server that accepted it.
    async fn a_protocols_panic_says_where_its_connection_was_made(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let contexts = debugging(&server);
        let client_contexts = debugging(&client);
        let accepted = server.create_future();
        let announced = accepted.clone();
        let factory = move || {
            let recorder = Recorder::new(&Log::new()).announce(announced.clone());
            recorder.on_data(|_, _| panic!("data")).on_lost(|_| panic!("lost"))
        };
        let (serving, served) = (server.create_server(ADDRESS, factory), here());
        let server = serving.await?;
        let subject = Recorder::new(&Log::new()).on_made(|_| panic!("made"));
        let (connecting, made) = (client.create_connection(ADDRESS, || subject), here());
        let conn = connecting.await?;
        let peer: Conn<Recorder> = accepted.await.map_err(io::Error::other)?;
        let numbers = (conn.transport().number(), peer.transport().number());
        let posted = conn.with(|_, cx| (cx.call_soon(|_, _| panic!("soon")), here()).1);
        let timed = conn.with(|this, cx| {
            let (timer, line) = (cx.call_later(ms(0), |_, _| panic!("timed")), here());
            timer.detach();
            assert!(this.data.is_empty());
            line
        });
        world.settle().await;
        let spawned = conn.with(|_, cx| (cx.spawn(async {}, |_, _, ()| panic!("spawned")), here()).1);
        world.settle().await;
        conn.transport().write(b"data");
        world.settle().await;
        let text = |text: &str, panic: &str, number: u32, line: u32| {
            let protocol = std::any::type_name::<Recorder>();
            format!("{text}: panicked: {panic} (transport #{number}, {protocol}), created at {}:{line}", file!())
        };
        let by_client = [
            text("Exception in callback connection_made", "made", numbers.0, made),
            text("Exception in callback", "soon", numbers.0, posted),
            text("Exception in callback", "timed", numbers.0, timed),
            text("Exception in callback", "spawned", numbers.0, spawned),
        ];
        let by_server = [
            text("Fatal error: protocol.data_received() call failed.", "data", numbers.1, served),
            text("Exception in callback connection_lost", "lost", numbers.1, served),
        ];
        // On the real loop both hosts share one, and its handler is the client's.
        let told = |contexts: &Contexts| contexts.take().iter().map(ErrorContext::to_string).collect::<Vec<_>>();
        let told = [told(&client_contexts), told(&contexts)].concat();
        assert_eq!(told, [&by_client[..], &by_server].concat());
        drop(server);
        Ok(())
    }

    /// A-61, F-24: the same of a connection over TLS.
    async fn a_panic_over_tls_says_where_its_connection_was_made(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let serving = sides.server.server().tls(&sides.acceptor);
        let server = serving.bind(ADDRESS, || Recorder::new(&Log::new())).await?;
        let contexts = debugging(&sides.client);
        let subject = Recorder::new(&Log::new()).on_made(|_| panic!("made"));
        let (connecting, line) = (sides.client.connection(), here());
        let conn = connecting.tls(&sides.connector, "server").connect(ADDRESS, || subject).await?;
        let (number, protocol) = (conn.transport().number(), std::any::type_name::<Recorder>());
        assert_eq!(
            only(contexts.take()).to_string(),
            format!(
                "Exception in callback connection_made: panicked: made \
                 (transport #{number}, {protocol}), created at {}:{line}",
                file!(),
            )
        );
        server.close();
        Ok(())
    }

    /// the same of a child process.
    async fn a_childs_panic_says_where_it_was_started(world: World) -> io::Result<()> {
        struct Stumbles;
        impl SubprocessProtocol for Stumbles {
            fn process_exited(&mut self, _: &mut Cx<'_, Self, SubprocessTransport>) {
                panic!("exited");
            }
        }
        install(&world);
        let lp = world.host("host");
        let contexts = debugging(&lp);
        let (starting, line) = (lp.subprocess_shell(TALK), here());
        let child = starting.connect(|| Stumbles).await?;
        child.transport().close();
        child.closed().await?;
        let (number, protocol) = (child.transport().number(), std::any::type_name::<Stumbles>());
        assert_eq!(
            only(contexts.take()).to_string(),
            format!(
                "Exception in callback protocol.process_exited(): panicked: exited \
                 (transport #{number}, {protocol}), created at {}:{line}",
                file!(),
            )
        );
        Ok(())
    }

    /// A-61, D-18: the same of an endpoint.
    async fn an_endpoints_panic_says_where_it_was_made(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let contexts = debugging(&lp);
        let recorder = DatagramRecorder::new(&Log::new()).on_made(|_| panic!("made"));
        let (binding, line) = (lp.create_datagram_endpoint(Some(ADDRESS.to_host_port()), None, || recorder), here());
        let endpoint = binding.await?;
        let (number, protocol) = (endpoint.transport().number(), std::any::type_name::<DatagramRecorder>());
        assert_eq!(
            only(contexts.take()).to_string(),
            format!(
                "Exception in callback protocol.connection_made(): panicked: made \
                 (transport #{number}, {protocol}), created at {}:{line}",
                file!(),
            )
        );
        Ok(())
    }

    /// C-19, A-61: the report of a factory that panics has the socket that listens, and where the server was made;
    /// outside debug mode it is reported as well (ruling 2).
    async fn a_factorys_panic_says_where_the_server_was_made(world: World) -> io::Result<()> {
        for debug in [true, false] {
            let lp = world.host("server");
            let contexts = debugging(&lp);
            lp.set_debug(debug);
            let factory = || -> Recorder { panic!("no protocol") };
            let (serving, line) = (lp.create_server(ADDRESS, factory), here());
            let server = serving.await?;
            let at = server.sockets()[0];
            let conn = world.host("client").create_connection(ADDRESS, || Recorder::new(&Log::new())).await?;
            let _ = conn.closed().await;
            let text = "Error on transport creation for incoming connection: panicked: no protocol";
            let place = if debug { format!(", created at {}:{line}", file!()) } else { String::new() };
            assert_eq!(only(contexts.take()).to_string(), format!("{text} (socket {at}){place}"));
            server.close();
        }
        Ok(())
    }
}

both_loops! {
    /// H-26, A-69: in debug mode a writer that is dropped without `close` is reported, with where its
    /// connection was made.
    async fn a_writer_that_nobody_closed_is_reported(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let contexts = debugging(&lp);
        let (server, accepted) = serve_one(&world, Recorder::new(&Log::new())).await?;
        let (opening, line) = (lp.open_connection(ADDRESS), here());
        let (reader, writer) = opening.await?;
        let peer = accepted.await.expect("it was accepted");
        drop(writer);
        let context = only(contexts.take());
        assert_eq!((context.message.as_str(), line_of(&context)), ("a StreamWriter was dropped without close()", line));
        peer.closed().await?;
        drop(reader);
        server.close();
        lp.set_debug(false);
        Ok(())
    }

    /// H-26, A-69: so is one of a child's input, with where the child was made; one that was closed is not.
    async fn a_childs_input_that_nobody_closed_is_reported(world: World) -> io::Result<()> {
        install(&world);
        let lp = world.host("client");
        let contexts = debugging(&lp);
        let mut child = lp.create_subprocess_exec("cat", [""; 0]).await?;
        child.communicate(b"to the end").await?;
        drop(child);
        assert_eq!(contexts.take().len(), 0);
        let (starting, line) = (lp.create_subprocess_exec("cat", [""; 0]), here());
        let mut child = starting.await?;
        drop(child.stdin.take());
        let context = only(contexts.take());
        assert_eq!((context.message.as_str(), line_of(&context)), ("a StreamWriter was dropped without close()", line));
        assert_eq!(child.wait().await?, 0);
        assert_eq!(contexts.take().len(), 0);
        lp.set_debug(false);
        Ok(())
    }
}

/// debug mode changes nothing about a simulated run, whatever it reports.
#[test]
// on: sim
fn a_run_in_debug_mode_has_the_same_trace() {
    async fn careless(world: World, debug: bool, told: Rc<Cell<u32>>) -> io::Result<()> {
        for host in ["server", "client"] {
            let count = Rc::clone(&told);
            let lp = world.host(host);
            lp.set_debug(debug);
            lp.set_exception_handler(Some(Rc::new(move |_, _| count.set(count.get() + 1))));
        }
        let (server, client) = (world.host("server"), world.host("client"));
        drop(server.create_server(ADDRESS, || Recorder::new(&Log::new())).await?);
        let (_reader, writer) = client.open_connection(ADDRESS).await?;
        writer.write(b"hello");
        drop(writer);
        let left = client.create_connection(ADDRESS, StreamProtocol::new).await?;
        left.transport().write(b"left open");
        drop(client.create_task(async { io::Result::<()>::Err(io::ErrorKind::Other.into()) }));
        let costs = client.clone();
        client.call_soon(move || costs.spend(Duration::from_millis(200)));
        world.sleep(Duration::from_secs(1)).await;
        client.create_future::<()>();
        Ok(())
    }
    for seed in 0..5 {
        let run = |debug: bool| {
            let told = Rc::new(Cell::new(0));
            let count = Rc::clone(&told);
            let report = sim_net::Sim::new(seed).run(move |world| careless(world, debug, count));
            report.outcome.unwrap();
            (report.hash, report.time, told.get())
        };
        let (with, without) = (run(true), run(false));
        assert_eq!((with.0, with.1), (without.0, without.1), "seed {seed}");
        assert_eq!(without.2, 0);
        assert!(with.2 >= 4, "{} reports", with.2);
    }
}

/// a child process that is left running is reported when its loop is closed, its pipes with it.
#[test]
// on: real
fn a_child_that_is_left_running_is_reported() {
    let lp = real_net::new_loop().unwrap();
    let contexts = debugging(&lp);
    let handle = (*lp).clone();
    let start = async move {
        let (starting, line) = (handle.create_subprocess_exec("sleep", ["60"]), here());
        (starting.await.unwrap(), line)
    };
    let (child, line) = lp.run_until_complete(start).unwrap();
    lp.close().unwrap();
    let context = only(contexts.take());
    assert_eq!(context.message, format!("unclosed child process {}", child.pid()));
    assert_eq!(line_of(&context), line);
}
