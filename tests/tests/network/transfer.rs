//! A stream from one host to another, checked byte by byte, with its figures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use sim_core::{Cx, Eof, LoopFuture, Protocol, Time, World};
use sim_net::{Flow, Log, PacketKind, Record};

/// Where the second host of a transfer listens.
pub(crate) const SERVER: (&str, u16) = ("server", 7000);
/// How much a transfer of these tests carries each way.
pub(crate) const MEBIBYTE: usize = 1 << 20;

/// What each of the ends says: never the same byte at a multiple of a segment's size.
static SAID: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [0, 1].map(|end| (0..MEBIBYTE).map(|at| (at * 7 + end * 3 + at / 251) as u8).collect())
});

/// What an end got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes, all of them as they were written.
    pub(crate) received: usize,
    /// When the peer's stream ended.
    pub(crate) ended: Option<Time>,
    /// What the connection ended with, and when.
    pub(crate) lost: Option<(Option<io::Error>, Time)>,
}

/// An end that says a mebibyte or nothing, then ends its stream, and checks what it hears.
pub(crate) struct End {
    number: usize,
    speaks: bool,
    tally: Rc<RefCell<Tally>>,
    done: LoopFuture<()>,
}

impl Protocol for End {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if self.speaks {
            cx.write(&SAID[self.number]);
        }
        cx.write_eof();
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        let mut tally = self.tally.borrow_mut();
        let expected = &SAID[1 - self.number][tally.received..];
        assert!(expected.starts_with(data), "wrong data behind byte {}", tally.received);
        tally.received += data.len();
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.tally.borrow_mut().ended = Some(cx.event_loop().time());
        Eof::Close
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.tally.borrow_mut().lost = Some((error, cx.event_loop().time()));
        self.done.set_result(()).ok();
    }
}

/// A mebibyte from the client to the server, and one back if `both`, for at most `limit` of virtual
/// time: what the client got, and what the server got.
pub(crate) async fn exchange(world: World, both: bool, limit: Duration) -> io::Result<[Tally; 2]> {
    let (client, server) = (world.host("client"), world.host("server"));
    let tallies = [(); 2].map(|()| Rc::new(RefCell::new(Tally::default())));
    let done = [client.create_future(), server.create_future()];
    let end = |number: usize, speaks: bool| {
        let (tally, done) = (tallies[number].clone(), done[number].clone());
        move || End { number, speaks, tally: tally.clone(), done: done.clone() }
    };
    let listening = server.create_server(SERVER, end(1, both)).await?;
    client.create_connection(SERVER, end(0, true)).await?;
    let ends = async {
        for end in &done {
            end.clone().await.ok();
        }
    };
    world.timeout(limit, ends).await.ok();
    listening.close();
    Ok(tallies.each_ref().map(|tally| tally.take()))
}

/// How many segments with data the log's hosts sent again.
pub(crate) fn retransmissions(log: &Log) -> u64 {
    let mut sent_up_to: BTreeMap<Flow, u32> = BTreeMap::new();
    let mut count = 0;
    for entry in log.entries() {
        if let Record::Sent(packet) = entry.record
            && matches!(packet.kind, PacketKind::Data | PacketKind::Fin)
        {
            // A FIN counts as a byte, so that one that is sent again shows.
            let end = packet.offset + packet.bytes + u32::from(packet.kind == PacketKind::Fin);
            let highest = sent_up_to.entry(packet.flow).or_default();
            count += u64::from(end <= *highest);
            *highest = end.max(*highest);
        }
    }
    count
}
