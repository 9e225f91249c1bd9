//! G-60, G-61: files over transports.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::{Conn, Loop, LoopFuture, Server, Store, World, WriteBufferLimits};
use tests::recorder::{Log, Recorder};
use tests::{both_loops, real_only, sim_only};

use crate::tls::{Sides, plain, until};

const PLACE: (&str, u16) = ("server", 7000);
/// More than all buffers between two sockets have together.
const MUCH: usize = 12 << 20;

/// The content of a file: no two places are alike for long.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).flat_map(|word| word.to_be_bytes()).take(bytes).collect()
}

/// A file of a host, with that content.
fn file(lp: &Loop, bytes: usize) -> io::Result<Store> {
    let file = lp.store("file")?;
    file.append(&content(bytes))?;
    Ok(file)
}

/// A connection from a client that sends files to a server that takes them.
struct Pair {
    client: Loop,
    near: Conn<Recorder>,
    far: Conn<Recorder>,
    log: Log,
    got: Rc<RefCell<Vec<u8>>>,
    _server: Server,
}

impl Pair {
    async fn new(world: &World) -> io::Result<Self> {
        let (client, host, log) = (world.host("client"), world.host("server"), Log::new());
        let got = Rc::new(RefCell::new(Vec::new()));
        let announced: LoopFuture<Conn<Recorder>> = host.create_future();
        let (announce, taken) = (announced.clone(), Rc::clone(&got));
        let server = host.create_server(PLACE, move || {
            let taken = Rc::clone(&taken);
            let recorder = Recorder::new(&Log::new()).announce(announce.clone());
            recorder.on_data(move |_, data| taken.borrow_mut().extend_from_slice(data))
        });
        let server = server.await?;
        let near = client.create_connection(PLACE, || Recorder::new(&log)).await?;
        let far = announced.await.map_err(io::Error::other)?;
        Ok(Self { client, near, far, log, got, _server: server })
    }

    async fn expect(&self, world: &World, bytes: &[u8]) {
        until(world, "what was sent", || self.got.borrow().len() >= bytes.len()).await;
        assert!(*self.got.borrow() == bytes, "it came otherwise than it was sent");
    }
}

async fn ends_it(world: &World, act: fn(&sim_core::Transport)) -> io::Result<()> {
    let pair = Pair::new(world).await?;
    let file = file(&pair.client, MUCH)?;
    pair.far.transport().pause_reading();
    let near = pair.near.transport().clone();
    let _timer = pair.client.call_later(Duration::from_millis(50), move || act(&near));
    let error = pair.client.sendfile(pair.near.transport(), &file, 0, None).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error}");
    assert!(error.sent() < MUCH as u64, "{error}");
    pair.far.transport().abort();
    // With what error, if any, depends on what was still to be sent.
    let _ = pair.near.closed().await;
    Ok(())
}

both_loops! {
    /// G-60: a file goes behind what was written before it, and before what is written after it.
    async fn a_file_keeps_its_place_among_writes(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (transport, body) = (pair.near.transport(), content(3_000_001));
        let file = file(&pair.client, body.len())?;
        let before = vec![b'<'; 1 << 20];
        transport.write(&before);
        let sent = pair.client.sendfile(transport, &file, 0, None).await?;
        assert_eq!(sent, body.len() as u64);
        transport.write(b">");
        pair.expect(&world, &[&before[..], &body, b">"].concat()).await;
        Ok(())
    }

    /// G-61: an offset and a count; a file that ends sooner, an empty one, and one that ends before.
    async fn parts_of_files_are_sent(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (lp, transport) = (&pair.client, pair.near.transport());
        let (file, body) = (file(lp, 200_000)?, content(200_000));
        assert_eq!(lp.sendfile(transport, &file, 5, Some(70_000)).await?, 70_000);
        assert_eq!(lp.sendfile(transport, &file, 199_990, Some(1_000)).await?, 10);
        assert_eq!(lp.sendfile(transport, &file, 200_000, None).await?, 0);
        assert_eq!(lp.sendfile(transport, &file, 300_000, Some(1)).await?, 0);
        assert_eq!(lp.sendfile(transport, &lp.store("empty")?, 0, None).await?, 0);
        pair.expect(&world, &[&body[5..70_005], &body[199_990..]].concat()).await;
        Ok(())
    }

    /// G-61: what cannot be asked for is an error, and nothing is sent.
    async fn offset_and_count_are_checked(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (lp, transport) = (&pair.client, pair.near.transport());
        let file = file(lp, 100)?;
        for (offset, count) in [(0, Some(0)), (u64::MAX, None), (1, Some(u64::MAX)), (1 << 63, None)] {
            let error = lp.sendfile(transport, &file, offset, count).await.unwrap_err();
            assert_eq!((error.kind(), error.sent()), (io::ErrorKind::InvalidInput, 0), "{error}");
        }
        transport.write_eof();
        let error = lp.sendfile(transport, &file, 0, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        transport.close();
        let error = lp.sendfile(transport, &file, 0, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
        Ok(())
    }

    /// G-60: meanwhile nothing else may be written, no second file is sent, and nothing is read;
    /// afterwards all is as it was.
    async fn nothing_comes_between(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (lp, transport) = (pair.client.clone(), pair.near.transport().clone());
        let file = file(&lp, MUCH)?;
        pair.far.transport().pause_reading();
        pair.far.transport().write(b"not now");
        let task = lp.create_task({
            let (lp, transport, file) = (lp.clone(), transport.clone(), file.clone());
            async move { lp.sendfile(&transport, &file, 0, None).await }
        });
        world.settle().await;
        assert!(!task.done() && !transport.is_reading());
        for act in [
            (|transport| transport.write(b"x")) as fn(&sim_core::Transport),
            |transport| transport.writelines([b"x"]),
            |transport| transport.write_eof(),
        ] {
            let refused = catch_unwind(AssertUnwindSafe(|| act(&transport))).unwrap_err();
            let said = refused.downcast_ref::<&str>().copied().unwrap_or_default();
            assert!(said.contains("sendfile is in progress"), "{said:?}");
        }
        let second = lp.sendfile(&transport, &file, 0, None).await.unwrap_err();
        assert!(second.to_string().contains("sendfile is in progress"), "{second}");
        let text = pair.log.text();
        assert!(!text.contains("DR"), "{text}");
        pair.far.transport().resume_reading();
        assert_eq!(task.await.unwrap()?, MUCH as u64);
        assert!(transport.is_reading());
        transport.write(b"after");
        pair.expect(&world, &[&content(MUCH)[..], b"after"].concat()).await;
        until(&world, "what the peer says", || pair.log.text().contains("DR")).await;
        Ok(())
    }

    /// G-60: reading that was paused before stays so.
    async fn a_pause_outlives_the_file(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let file = file(&pair.client, 100_000)?;
        pair.near.transport().pause_reading();
        pair.client.sendfile(pair.near.transport(), &file, 0, None).await?;
        assert!(!pair.near.transport().is_reading());
        pair.near.transport().resume_reading();
        assert!(pair.near.transport().is_reading());
        Ok(())
    }

    /// G-60: a peer that is gone is an error of connections, which says how much was sent.
    async fn a_lost_connection_is_an_error(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let file = file(&pair.client, MUCH)?;
        pair.far.transport().pause_reading();
        let far = pair.far.transport().clone();
        let _timer = world.host("server").call_later(Duration::from_millis(50), move || far.abort());
        let error = pair.client.sendfile(pair.near.transport(), &file, 0, None).await.unwrap_err();
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(error.sent() > 0 && error.sent() < MUCH as u64, "{error}");
        let lost = pair.near.closed().await.unwrap_err();
        assert!(kinds.contains(&lost.kind()), "{lost}");
        Ok(())
    }

    /// G-60: closing in the middle ends it.
    async fn a_close_in_the_middle_ends_it(world: World) -> io::Result<()> {
        ends_it(&world, |transport| transport.close()).await
    }

    /// G-60: so does an abort.
    async fn an_abort_in_the_middle_ends_it(world: World) -> io::Result<()> {
        ends_it(&world, |transport| transport.abort()).await
    }

    /// G-60: one that is given up leaves the connection to others, with a prefix of the file sent.
    async fn a_cancelled_one_leaves_a_prefix(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (lp, transport) = (&pair.client, pair.near.transport());
        let file = file(lp, MUCH)?;
        pair.far.transport().pause_reading();
        let sending = lp.sendfile(transport, &file, 0, None);
        assert!(lp.timeout(Duration::from_millis(50), sending).await.is_err());
        assert!(transport.is_reading());
        transport.write(b"the end");
        transport.write_eof();
        pair.far.transport().resume_reading();
        until(&world, "the end", || pair.got.borrow().ends_with(b"the end")).await;
        let got = pair.got.borrow();
        let prefix = got.len() - b"the end".len();
        assert!(prefix > 0 && prefix < MUCH && got[..prefix] == content(MUCH)[..prefix]);
        Ok(())
    }

    /// G-61: over TLS the file is read and written under flow control, or not at all if that is not
    /// wanted.
    async fn a_file_goes_over_tls(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let got = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&got);
        let secured = sides.connect(plain, move |far| {
            let taken = Rc::clone(&taken);
            far.on_data(move |_, data| taken.borrow_mut().extend_from_slice(data))
        });
        let secured = secured.await?;
        let (lp, transport) = (&sides.client, secured.near.transport());
        let (file, body) = (file(lp, 2_000_000)?, content(2_000_000));
        let error = lp.sendfile_by_kernel(transport, &file, 0, None).await.unwrap_err();
        assert_eq!((error.kind(), error.sent()), (io::ErrorKind::Unsupported, 0), "{error}");
        transport.write(b"first ");
        assert_eq!(lp.sendfile(transport, &file, 0, None).await?, 2_000_000);
        until(&world, "the file", || got.borrow().len() >= body.len() + 6).await;
        assert!(got.borrow()[6..] == body && got.borrow().starts_with(b"first "));
        Ok(())
    }

    /// G-61: a file goes into a pipe by the fallback, and none into the end that is read.
    async fn a_file_goes_into_a_pipe(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let (reader, writer) = lp.pipe()?;
        let log = Log::new();
        let got = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&got);
        let reading = lp.connect_read_pipe(reader, || {
            Recorder::new(&log).on_data(move |_, data| taken.borrow_mut().extend_from_slice(data))
        });
        let reading = reading.await?;
        let writing = lp.connect_write_pipe(writer, || Recorder::new(&Log::new())).await?;
        let file = file(&lp, 500_000)?;
        assert_eq!(lp.sendfile(writing.transport(), &file, 0, None).await?, 500_000);
        until(&world, "the file", || got.borrow().len() == 500_000).await;
        assert!(*got.borrow() == content(500_000));
        let error = lp.sendfile(reading.transport(), &file, 0, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        writing.transport().close();
        Ok(())
    }

    /// G-61: over Unix sockets, too.
    async fn a_file_goes_over_a_unix_socket(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let (one, other) = sim_core::Socket::pair(&lp)?;
        let near = lp.connection().adopt(one, || Recorder::new(&Log::new())).await?;
        let (reader, writer): (StreamReader, StreamWriter) = {
            let far = lp.connection().adopt(other, sim_core::stream::StreamProtocol::new).await?;
            sim_core::stream::StreamProtocol::split(&far)
        };
        let mut reader = reader;
        let file = file(&lp, 1_000_000)?;
        let (sender, sent) = (lp.clone(), near.transport().clone());
        let task = lp.create_task(async move {
            let sent_bytes = sender.sendfile(&sent, &file, 0, None).await?;
            sent.close();
            Ok::<u64, io::Error>(sent_bytes)
        });
        assert!(reader.read_to_end().await? == content(1_000_000));
        assert_eq!(task.await.unwrap()?, 1_000_000);
        writer.close();
        Ok(())
    }
}

sim_only! {
    /// G-61: the fallback writes no more than the water marks allow, so that the protocol is never told
    /// to pause; what the kernel alone may do is an error.
    async fn the_fallback_keeps_the_water_marks(world: World) -> io::Result<()> {
        keeps_marks(world, WriteBufferLimits { high: 20_000, low: 5_000 }).await
    }

    /// G-61, C-85: also if the marks are close to each other.
    async fn the_fallback_keeps_water_marks_that_are_close(world: World) -> io::Result<()> {
        keeps_marks(world, WriteBufferLimits { high: 5_000, low: 4_500 }).await
    }
}

/// Sends a large file to a peer that does not read at first.
async fn keeps_marks(world: World, limits: WriteBufferLimits) -> io::Result<()> {
    let pair = Pair::new(&world).await?;
    let (lp, transport) = (pair.client.clone(), pair.near.transport().clone());
    transport.set_write_buffer_limits(limits)?;
    let file = file(&lp, 3_000_000)?;
    let error = lp.sendfile_by_kernel(&transport, &file, 0, None).await.unwrap_err();
    assert_eq!((error.kind(), error.sent()), (io::ErrorKind::Unsupported, 0), "{error}");
    pair.far.transport().pause_reading();
    let task = lp.create_task({
        let (lp, transport) = (lp.clone(), transport.clone());
        async move { lp.sendfile(&transport, &file, 0, None).await }
    });
    for _ in 0..200 {
        world.sleep(Duration::from_millis(1)).await;
        assert!(transport.write_buffer_size() <= limits.high);
    }
    assert!(!task.done());
    pair.far.transport().resume_reading();
    assert_eq!(task.await.unwrap()?, 3_000_000);
    pair.expect(&world, &content(3_000_000)).await;
    assert_eq!(pair.log.text(), "CM");
    Ok(())
}

real_only! {
    /// G-61: the kernel sends files over sockets by itself; after an error of the file the connection
    /// goes on.
    async fn the_kernel_sends_it(world: World) -> io::Result<()> {
        let pair = Pair::new(&world).await?;
        let (lp, transport) = (&pair.client, pair.near.transport());
        let file = file(lp, 100_000)?;
        assert_eq!(lp.sendfile_by_kernel(transport, &file, 0, None).await?, 100_000);
        let unreadable = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let unreadable = real_net::file(lp, unreadable);
        let error = lp.sendfile(transport, &unreadable, 0, None).await.unwrap_err();
        assert_eq!(error.sent(), 0, "{error}");
        transport.write(b"goes on");
        pair.expect(&world, &[&content(100_000)[..], b"goes on"].concat()).await;
        Ok(())
    }
}
