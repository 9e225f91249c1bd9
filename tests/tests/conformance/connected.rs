//! What the tests of streams begin with: a connection, what waits in it, and a log of it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{
    Attach, Conn, Cx, ErrorContext, Loop, LoopFuture, Protocol, Server, Transport, World,
    WriteBufferLimits,
};
use tests::recorder::{Log, Recorder};

/// Where the tests' servers listen.
pub(crate) const ADDRESS: (&str, u16) = ("server", 7000);

/// A size of kernel buffers that is soon full.
pub(crate) const SMALL: usize = 4_096;

/// Water marks that nothing crosses.
pub(crate) const NO_MARKS: WriteBufferLimits = WriteBufferLimits { high: usize::MAX, low: 0 };

/// Serves connections with a recorder each, over small kernel buffers; the first is announced.
pub(crate) async fn serve_one(
    world: &World,
    peer: Recorder,
) -> io::Result<(Server, LoopFuture<Conn<Recorder>>)> {
    let lp = world.host("server");
    let accepted = lp.create_future();
    let mut peer = Some(peer.announce(accepted.clone()));
    let factory = move || peer.take().expect("this server is for one connection");
    let server = lp.server().send_buffer(SMALL).receive_buffer(SMALL);
    Ok((server.bind(ADDRESS, factory).await?, accepted))
}

/// Connects `subject`, on the host "client", to `peer`, on the host "server", over small kernel
/// buffers. The server listens no more.
pub(crate) async fn connect<P, K>(
    world: &World,
    subject: P,
    peer: Recorder,
) -> io::Result<(Conn<P>, Conn<Recorder>)>
where
    P: Attach<K>,
{
    let (server, accepted) = serve_one(world, peer).await?;
    let client = world.host("client").connection().send_buffer(SMALL).receive_buffer(SMALL);
    let conn = client.connect(ADDRESS, || subject).await?;
    let peer = accepted.await.expect("connection_made of the peer completes it");
    server.close();
    Ok((conn, peer))
}

/// [`connect`] with a peer that does nothing of note.
pub(crate) async fn connect_to_anyone<P, K>(
    world: &World,
    subject: P,
) -> io::Result<(Conn<P>, Conn<Recorder>)>
where
    P: Attach<K>,
{
    connect(world, subject, Recorder::new(&Log::new())).await
}

/// Stops `peer` from reading, and makes `conn` write more than the network takes: what is written
/// from now on waits. Returns how much does already. No mark is crossed, then or later, until
/// [`set_marks`] sets new ones.
///
/// On real sockets the kernels may still take some of it, but by far not all.
pub(crate) async fn jam<P: 'static>(world: &World, conn: &Conn<P>, peer: &Conn<Recorder>) -> usize {
    const ENOUGH: usize = 64 * SMALL;
    peer.with(|_, cx| cx.pause_reading());
    let transport = conn.transport();
    transport.set_write_buffer_limits(NO_MARKS).expect("high is above low");
    while transport.write_buffer_size() < ENOUGH {
        transport.write(&[b'.'; ENOUGH]);
        world.settle().await;
    }
    transport.write_buffer_size()
}

/// Waits until `condition` holds. In real kernels a stream may stall for a while when its buffers
/// are small, so a drain is waited for like this, and not by settling.
///
/// # Panics
///
/// If it takes too long.
pub(crate) async fn eventually(world: &World, condition: impl Fn() -> bool) {
    const TRIES: u32 = 20_000;
    for _ in 0..TRIES {
        world.settle().await;
        if condition() {
            return;
        }
        world.host("client").sleep(Duration::from_millis(1)).await;
    }
    panic!("it has not happened in {TRIES} ms");
}

/// Lets the peer read, and waits until nothing waits in `conn`.
pub(crate) async fn drain<P: 'static>(world: &World, conn: &Conn<P>, peer: &Conn<Recorder>) {
    peer.with(|_, cx| cx.resume_reading());
    eventually(world, || conn.transport().write_buffer_size() == 0).await;
}

/// Makes more wait in `transport` than any network takes off in a moment.
pub(crate) fn cross_the_mark(transport: &Transport) {
    transport.write(&[b'!'; 64 * SMALL]);
}

/// Sets the marks that pause one byte above what waits now, and resume at `low`.
pub(crate) fn set_marks<P: 'static>(conn: &Conn<P>, low: usize) {
    let high = conn.transport().write_buffer_size();
    let limits = WriteBufferLimits { high, low };
    conn.transport().set_write_buffer_limits(limits).expect("low is below what waits");
}

/// The reports to a loop's exception handler.
#[derive(Clone, Default)]
pub(crate) struct Reports(Rc<RefCell<Vec<ErrorContext>>>);

impl Reports {
    /// Collects the reports of `lp`, and writes each into `log` as `REPORT`.
    pub(crate) fn of(lp: &Loop, log: &Log) -> Self {
        let reports = Self::default();
        let (list, log) = (Rc::clone(&reports.0), log.clone());
        lp.set_exception_handler(Some(Rc::new(move |_, context| {
            log.push("REPORT");
            list.borrow_mut().push(context.clone());
        })));
        reports
    }

    /// The reports so far.
    pub(crate) fn all(&self) -> Vec<ErrorContext> {
        self.0.borrow().clone()
    }
}

/// Writes `entry` into `log` in the loop's next turn.
pub(crate) fn log_soon<P: Protocol>(cx: &Cx<'_, P>, log: &Log, entry: &'static str) {
    let log = log.clone();
    cx.event_loop().call_soon(move || log.push(entry));
}

/// What the peer has received, as text.
pub(crate) fn text_of(peer: &Conn<Recorder>) -> String {
    peer.with(|recorder, _| String::from_utf8_lossy(&recorder.data).into_owned())
}

/// How many bytes the peer has received.
pub(crate) fn length_of(peer: &Conn<Recorder>) -> usize {
    peer.with(|recorder, _| recorder.data.len())
}
