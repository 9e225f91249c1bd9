//! The oracle of streams, in every run: what a reader is about to get is what its peer wrote, byte for
//! byte, in order; and the end of a stream is behind everything that was written before it.
//!
//! It looks where bytes enter the queue that reads take from. They are not acknowledged yet, so the
//! peer still has them, and nothing is kept for the comparison. A violation is a bug of this
//! simulator: it ends the run as a finding that names the byte.

use super::connection::{Connection, State};
use super::segment::Seq;
use crate::network::Network;
use crate::socket_table::SocketId;

impl Network {
    /// A connection has taken in bytes, or an end, from number `before` on.
    #[inline]
    pub(super) fn check_stream(&self, id: SocketId, before: Seq) {
        let Some(own) = self.sockets.get_stream(id) else { return };
        let Some(peer) = self.sockets.get_stream(own.peer()) else { return };
        // After a crash, an abort or a reset there is nothing left to compare with.
        let gone = peer.connection.state() == State::Closed || peer.flow() != own.flow().reversed();
        if gone || own.connection.state() == State::Closed {
            return;
        }
        if let Err(offset) = compare(&own.connection, &peer.connection, before) {
            self.report_violation(id, offset);
        }
    }

    #[cold]
    fn report_violation(&self, id: SocketId, offset: u64) {
        let flow = self.sockets.get_stream(id).map(|stream| stream.flow().reversed());
        let flow = flow.map(|flow| flow.name(&self.wire.trace.hosts).to_string());
        panic!(
            "stream integrity: {} delivers something else than was written, from byte {offset} on",
            flow.unwrap_or_default()
        );
    }
}

/// Compares what `reader` has taken in from number `before` on with what `writer` has written: the
/// offset of the first byte that differs, or of an end that is not where the stream ends.
fn compare(reader: &Connection, writer: &Connection, before: Seq) -> Result<(), u64> {
    let (end, ended) = reader.taken_in();
    let length = end.since(before) as usize;
    // The usual case: the very bytes that the writer holds first, which need no comparison.
    if !ended
        && reader.latest_payload(length).is_some_and(|bytes| writer.begins_with(before, bytes))
    {
        return Ok(());
    }
    let first = writer.first_number();
    let mut at = before;
    for bytes in reader.latest(length) {
        if let Some(differs) = writer.differs_from(at, bytes) {
            return Err(u64::from(at.plus(differs as u32).since(first)));
        }
        at = at.plus(bytes.len() as u32);
    }
    if ended && end != writer.written_to() {
        return Err(u64::from(end.since(first)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::segment::{Flags, Segment};
    use super::*;
    use crate::buffer::Pool;
    use sim_core::Time;

    /// A reader and a writer after a handshake, with `written` at the writer.
    fn pair(pool: &mut Pool, written: &[u8]) -> (Connection, Connection) {
        let (now, config) = (Time::ZERO, Config::new(1_448));
        let mut writer = Connection::connect(now, Seq(u32::MAX - 2), config);
        let syn = writer.transmit(now, pool).unwrap();
        let mut reader = Connection::accept(&syn, now, Seq(7), config);
        writer.on_segment(&mut reader.transmit(now, pool).unwrap(), now, pool);
        reader.on_segment(&mut writer.transmit(now, pool).unwrap(), now, pool);
        assert_eq!(writer.write(written, pool), Ok(written.len()));
        (reader, writer)
    }

    fn take_in(reader: &mut Connection, mut segment: Segment, pool: &mut Pool) -> Seq {
        let before = reader.taken_in().0;
        reader.on_segment(&mut segment, Time::ZERO, pool);
        before
    }

    #[test]
    fn what_was_written_passes() {
        let pool = &mut Pool::default();
        let (mut reader, mut writer) = pair(pool, b"hello, world");
        writer.shutdown_write();
        let segment = writer.transmit(Time::ZERO, pool).unwrap();
        assert!(segment.flags.has(Flags::FIN));
        let before = take_in(&mut reader, segment, pool);
        assert_eq!(compare(&reader, &writer, before), Ok(()));
    }

    #[test]
    fn a_byte_that_changed_on_the_way_is_named() {
        let pool = &mut Pool::default();
        let (mut reader, mut writer) = pair(pool, b"hello, world");
        let mut segment = writer.transmit(Time::ZERO, pool).unwrap();
        segment.payload = Some(pool.copy(b"hello, World"));
        let before = take_in(&mut reader, segment, pool);
        assert_eq!(compare(&reader, &writer, before), Err(7));
    }

    #[test]
    fn an_end_before_the_last_byte_is_named() {
        let pool = &mut Pool::default();
        let (mut reader, mut writer) = pair(pool, b"hello, world");
        let mut segment = writer.transmit(Time::ZERO, pool).unwrap();
        segment.payload = Some(pool.copy(b"hello"));
        segment.flags = segment.flags.with(Flags::FIN);
        let before = take_in(&mut reader, segment, pool);
        assert_eq!(compare(&reader, &writer, before), Err(5));
    }

    #[test]
    fn bytes_that_nobody_wrote_are_named() {
        let pool = &mut Pool::default();
        let (mut reader, mut writer) = pair(pool, b"hello");
        let mut segment = writer.transmit(Time::ZERO, pool).unwrap();
        segment.payload = Some(pool.copy(b"hello?"));
        let before = take_in(&mut reader, segment, pool);
        assert_eq!(compare(&reader, &writer, before), Err(5));
    }
}
