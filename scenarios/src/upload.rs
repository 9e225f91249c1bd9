//! Upload: a 16 MiB body through small water marks.
//!
//! The sender writes while it is writable, and goes on when it is told to. The server counts and
//! checks, and answers after the end of the stream with what it got. Invariants: the same length
//! and checksum, a write buffer that is never more than a chunk above the high-water mark, and
//! pauses and resumes that alternate.

use std::io;
use std::rc::Rc;

use sim_core::{
    Cx, Eof, Failure, FaultMix, Loop, LoopFuture, Protocol, Rng, Scenario, World, WriteBufferLimits,
};

use crate::body::{Body, CHUNK_BYTES};
use crate::patience::within;
use crate::violation::ensure;
use crate::{Digest, Endings, Progress, Violation};

const PORT: u16 = 7000;
/// What TCP stands. The end of the connection is judged, so that a crash would be one.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..5ms,loss=0.5%,reorder=1%");
const BODY_BYTES: u64 = 16 << 20;
/// How much has to leave the sender within the scenario's patience.
const STEP_BYTES: u64 = 1 << 20;
const LIMITS: WriteBufferLimits = WriteBufferLimits { high: 64 << 10, low: 16 << 10 };
/// The size of each socket's buffers: small, so that the water marks matter.
const SOCKET_BUFFER_BYTES: usize = 128 << 10;
/// Length and checksum, 64 bits each.
const RECEIPT_BYTES: usize = 16;

/// What the server answers: how much it got, and the checksum of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The length of the body.
    pub bytes: u64,
    /// Its [`Digest`].
    pub digest: u64,
}

impl Receipt {
    /// The receipt for what a digest has taken in.
    pub fn of(digest: &Digest) -> Self {
        Self { bytes: digest.bytes(), digest: digest.finish() }
    }

    /// Two numbers of 64 bits, big-endian.
    pub fn encode(self) -> [u8; RECEIPT_BYTES] {
        (u128::from(self.bytes) << 64 | u128::from(self.digest)).to_be_bytes()
    }

    /// The receipt that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { bytes: (both >> 64) as u64, digest: both as u64 })
    }
}

/// Takes a body and answers with a [`Receipt`].
#[derive(Debug, Default)]
pub struct Receiver {
    digest: Digest,
    endings: Option<Rc<Endings>>,
}

impl Receiver {
    /// A receiver that notes how its connection ended.
    pub fn watched(endings: &Rc<Endings>) -> Self {
        Self { endings: Some(Rc::clone(endings)), ..Self::default() }
    }
}

impl Protocol for Receiver {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.digest.update(data);
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        cx.write(&Receipt::of(&self.digest).encode());
        Eof::Close
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        if let Some(endings) = &self.endings {
            endings.note(error.as_ref());
        }
    }
}

/// Sends a body, and keeps the receipt.
#[derive(Debug)]
pub struct Sender {
    body: Body,
    /// How many bytes were written, or will not be.
    passed: Progress,
    answer: Vec<u8>,
    paused: bool,
    pauses: u64,
    violation: Option<Violation>,
}

impl Sender {
    /// A sender of `bytes` bytes.
    pub fn new(bytes: u64, rng: &mut Rng) -> Self {
        let body = Body::new(bytes, rng);
        Self {
            body,
            passed: Progress::default(),
            answer: Vec::new(),
            paused: false,
            pauses: 0,
            violation: None,
        }
    }

    fn pump(&mut self, cx: &mut Cx<'_, Self>) {
        while cx.is_writable() {
            let Some(chunk) = self.body.next() else {
                return cx.write_eof();
            };
            cx.write(chunk);
            self.passed.add(chunk.len() as u64);
            let (size, bound) = (cx.write_buffer_size(), LIMITS.high + CHUNK_BYTES);
            if size > bound {
                self.violate(cx, format!("{size} bytes wait to be written, more than {bound}"));
            }
        }
    }

    fn violate(&mut self, cx: &mut Cx<'_, Self>, text: String) {
        self.violation.get_or_insert(Violation::new(text));
        cx.abort();
    }

    /// Completes when `bytes` bytes were written, or the connection is lost.
    fn passes(&mut self, lp: &Loop, bytes: u64) -> LoopFuture<()> {
        self.passed.reaches(lp, bytes)
    }

    /// Holds when the whole body arrived, in an orderly flow.
    ///
    /// # Errors
    ///
    /// What was out of order, or what the receipt says instead.
    pub fn verdict(&self) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let sent = Receipt::of(self.body.digest());
        let got = Receipt::decode(&self.answer);
        ensure!(
            self.body.left() == 0 && got == Some(sent),
            "sent {sent:?} with {} bytes to go, but the receipt is {got:?}",
            self.body.left()
        );
        ensure!(!self.paused, "the connection ended in order while writing was paused");
        Ok(())
    }
}

impl Protocol for Sender {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        match cx.set_write_buffer_limits(LIMITS) {
            Ok(()) => self.pump(cx),
            Err(error) => self.violate(cx, format!("{LIMITS:?} was refused: {error}")),
        }
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let size = cx.write_buffer_size();
        if self.paused || size <= LIMITS.high {
            self.violate(cx, format!("a pause at {size} bytes, paused before: {}", self.paused));
        }
        self.paused = true;
        self.pauses += 1;
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        let size = cx.write_buffer_size();
        if !self.paused || size > LIMITS.low {
            self.violate(cx, format!("a resume at {size} bytes, paused before: {}", self.paused));
        }
        self.paused = false;
        self.pump(cx);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.answer.extend_from_slice(data);
        if self.answer.len() > RECEIPT_BYTES {
            self.violate(cx, format!("a receipt of {} bytes or more", self.answer.len()));
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        self.passed.add(self.body.left());
    }
}

/// The scenario `upload`.
pub fn scenario() -> Scenario {
    let summary =
        "a 16 MiB body through small water marks arrives whole, and is paid for as it goes";
    Scenario::new("upload", summary, run)
        .serve(|lp, listen| async move {
            let server = lp.create_server(listen, Receiver::default).await?;
            Ok(server.into())
        })
        .faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let (host, client) = (world.host("server"), world.host("client"));
    let endings = Rc::new(Endings::default());
    let noted = Rc::clone(&endings);
    let server = host
        .server()
        .receive_buffer(SOCKET_BUFFER_BYTES)
        .bind(("server", PORT), move || Receiver::watched(&noted))
        .await?;

    let sender = Sender::new(BODY_BYTES, &mut world.rng("body"));
    let connecting =
        client.connection().send_buffer(SOCKET_BUFFER_BYTES).connect(("server", PORT), || sender);
    let conn = within(&client, "the connection", connecting).await??;
    for bytes in (STEP_BYTES..=BODY_BYTES).step_by(STEP_BYTES as usize) {
        let passed = conn.with(|sender, cx| sender.passes(cx.event_loop(), bytes));
        within(&client, "the next step of the upload", passed).await??;
    }
    let ended = within(&client, "the end of the upload", conn.closed()).await?;
    conn.with(|sender, _| sender.verdict())?;
    ended?;
    let pauses = conn.with(|sender, _| sender.pauses);
    ensure!(pauses > 0, "{BODY_BYTES} bytes never filled a buffer of {} bytes", LIMITS.high);

    server.close();
    within(&host, "the end of the server's connection", server.wait_closed()).await?;
    endings.expect_clean(1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    fn sender(bytes: u64) -> Sender {
        Sender::new(bytes, &mut Rng::from_seed([5; 32]))
    }

    #[test]
    fn the_receipt_counts_what_came_however_it_was_cut() {
        let mut peer = testing::drive(Receiver::default());
        for piece in ["a bo", "", "dy in ", "pieces"] {
            peer.feed(piece.as_bytes());
        }
        peer.feed_eof();
        let expected = Receipt { bytes: 16, digest: Digest::of(b"a body in pieces") };
        assert_eq!(Receipt::decode(&peer.take_written()), Some(expected));
        assert!(matches!(peer.lost(), Some(None)));
    }

    #[test]
    fn a_receipt_of_another_length_is_none() {
        let bytes = Receipt { bytes: 1, digest: u64::MAX }.encode();
        assert_eq!(Receipt::decode(&bytes), Some(Receipt { bytes: 1, digest: u64::MAX }));
        assert_eq!(Receipt::decode(&bytes[..15]), None);
        assert_eq!(Receipt::decode(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn the_sender_stops_above_the_high_mark_and_goes_on_at_the_low_one() {
        let mut peer = testing::drive_with_window(sender(BODY_BYTES), 0);
        let waiting = peer.transport().write_buffer_size();
        assert_eq!(waiting, LIMITS.high + CHUNK_BYTES);
        assert_eq!(peer.with(|sender, _| (sender.paused, sender.pauses)), (true, 1));
        peer.take(waiting - LIMITS.low - 1);
        assert_eq!(peer.with(|sender, _| (sender.paused, sender.pauses)), (true, 1));
        peer.take(1);
        assert_eq!(peer.with(|sender, _| (sender.paused, sender.pauses)), (true, 2));
        assert!(peer.transport().write_buffer_size() > LIMITS.high);
    }

    #[test]
    fn a_body_that_is_no_multiple_of_a_chunk_is_sent_whole() {
        let bytes = 3 * CHUNK_BYTES as u64 + 1;
        let mut peer = testing::drive(sender(bytes));
        let sent = peer.take_written();
        assert!(peer.is_eof_written());
        let receipt = Receipt { bytes, digest: Digest::of(&sent) };
        peer.feed(&receipt.encode());
        peer.feed_eof();
        assert_eq!(peer.with(|sender, _| sender.verdict()), Ok(()));
    }

    #[test]
    fn a_wrong_receipt_and_none_at_all_are_violations() {
        let verdict_on = |receipt: &[u8]| {
            let mut peer = testing::drive(sender(10));
            peer.feed(receipt);
            peer.feed_eof();
            peer.with(|sender, _| sender.verdict())
        };
        assert!(verdict_on(&Receipt { bytes: 10, digest: 0 }.encode()).is_err());
        assert!(verdict_on(b"").is_err());
        assert!(verdict_on(&[0; RECEIPT_BYTES + 1]).is_err());
    }
}
