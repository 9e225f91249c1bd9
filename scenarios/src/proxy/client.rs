//! A client: sends a body through the proxy, and takes one.

use std::io;
use std::time::Duration;

use sim_core::stream::{StreamProtocol, StreamReader, StreamWriter};
use sim_core::{Failure, Loop, Rng};

use super::origin::Request;
use super::{PORT, SOCKET_BUFFER_BYTES};
use crate::body::Body;
use crate::upload::Receipt;
use crate::violation::ensure;
use crate::{Digest, Violation};

/// How long one try may take.
const TRY_MAX: Duration = Duration::from_secs(12);
/// How long a client waits before it tries again: twice as long after each try.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long a slow client waits between two reads, at most.
const REST_MAX: Duration = Duration::from_millis(1);
/// How much it reads at once.
const READ_BYTES: usize = 4 << 10;
/// What follows a body that was given: a receipt of each body.
const RECEIPTS_BYTES: usize = 32;

/// A client of the proxy.
pub(super) struct Client {
    pub(super) lp: Loop,
    pub(super) request: Request,
    pub(super) rng: Rng,
}

/// How a try ended.
enum End {
    /// In good order, with all that was to come.
    Whole,
    /// In good order, before anything came: the server behind the proxy cannot be had.
    Nothing,
}

impl Client {
    /// Tries until both bodies have come through whole; after each try that fails it is for half as
    /// much, since a connection on which every write may be its last carries little.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        let mut pause = RETRY_FIRST;
        loop {
            let connecting = self.lp.connection().receive_buffer(SOCKET_BUFFER_BYTES);
            let connecting = connecting.connect(("proxy", PORT), StreamProtocol::new);
            if let Ok(Ok(conn)) = self.lp.timeout(TRY_MAX, connecting).await {
                let (mut reader, writer) = StreamProtocol::split(&conn);
                let lp = self.lp.clone();
                let tried = lp.timeout(TRY_MAX, self.exchange(&mut reader, &writer)).await;
                // Whatever is open of it is for nobody.
                writer.transport().abort();
                // A try that failed, or took too long, says nothing: it is made again.
                if let Ok(Ok(ended)) = tried
                    && let End::Whole = ended?
                {
                    return Ok(());
                }
            }
            self.request.upload /= 2;
            self.request.download /= 2;
            self.lp.sleep(self.rng.duration(pause / 2..pause)).await;
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// One try. The outer error is that of the connection.
    async fn exchange(
        &mut self,
        reader: &mut StreamReader,
        writer: &StreamWriter,
    ) -> io::Result<Result<End, Violation>> {
        let mut body = Body::new(self.request.upload, &mut self.rng);
        writer.write(&self.request.encode());
        while let Some(chunk) = body.next() {
            writer.write(chunk);
            writer.drain().await?;
        }
        writer.write_eof();

        let (mut given, mut digest, mut receipts) =
            (self.request.download, Digest::default(), Vec::new());
        loop {
            let data = reader.read(READ_BYTES).await?;
            if data.is_empty() {
                break;
            }
            let (part, rest) =
                data.split_at(data.len().min(usize::try_from(given).unwrap_or(usize::MAX)));
            given -= part.len() as u64;
            digest.update(part);
            receipts.extend_from_slice(rest);
            self.lp.sleep(self.rng.duration(Duration::ZERO..REST_MAX)).await;
        }
        writer.close();
        if digest.bytes() == 0 && receipts.is_empty() {
            return Ok(Ok(End::Nothing));
        }
        let bodies = [Receipt::of(&digest), Receipt::of(body.digest())];
        Ok(self.judge(&receipts, bodies))
    }

    /// An end in good order is the end of everything, and everything is as it was sent.
    fn judge(&self, receipts: &[u8], bodies: [Receipt; 2]) -> Result<End, Violation> {
        let [given, sent] = bodies;
        ensure!(
            given.bytes == self.request.download && receipts.len() == RECEIPTS_BYTES,
            "an answer ended in good order after {} bytes of {}, and {} of its receipts",
            given.bytes,
            self.request.download,
            receipts.len()
        );
        let told = receipts.chunks(RECEIPTS_BYTES / 2).map(Receipt::decode);
        let told: Vec<_> = told.collect();
        ensure!(told == [Some(given), Some(sent)], "the receipts are {told:?}, not {bodies:?}");
        Ok(End::Whole)
    }
}
