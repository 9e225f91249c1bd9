//! Pipes.

use std::collections::VecDeque;
use std::io;

use sim_core::UnixAddr;

use super::{LocalFlow, Socket};
use crate::errno::{self, EINVAL, EPIPE};
use crate::network::Network;
use crate::socket_table::{Ready, SocketId};

/// What a page of a pipe holds, in bytes.
const PAGE: usize = 4_096;
/// How many pages a pipe has.
const PAGES_MAX: usize = 16;

/// The end that is read from. It has the bytes.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) writer: SocketId,
    pub(super) flow: LocalFlow,
    pages: VecDeque<Page>,
    available: usize,
    /// Pages to be used again.
    spare: Vec<Vec<u8>>,
    is_ended: bool,
}

/// The end that is written to.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) reader: SocketId,
    pub(super) flow: LocalFlow,
    /// The pipe has a free page.
    has_room: bool,
    /// A write found no room.
    is_blocked: bool,
    /// Nobody reads any more.
    is_unread: bool,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    read: usize,
}

impl Reader {
    pub(super) fn readiness(&self) -> Ready {
        if self.is_ended {
            Ready::READABLE.with(Ready::READ_CLOSED)
        } else if self.pages.is_empty() {
            Ready::NONE
        } else {
            Ready::READABLE
        }
    }

    pub(super) fn available(&self) -> usize {
        self.available
    }

    fn is_full(&self) -> bool {
        self.pages.len() == PAGES_MAX
    }

    fn space(&self) -> Space {
        let last = self.pages.back().map_or(PAGE, |page| page.bytes.len());
        Space { pages: self.pages.len(), last }
    }

    /// How much of pieces of these lengths fits, one after the other.
    fn room(&self, pieces: impl Iterator<Item = usize>) -> usize {
        let (mut room, mut space) = (0, self.space());
        for length in pieces {
            let (added, begun) = space.take(length);
            room += added + begun;
            if added + begun < length {
                break;
            }
        }
        room
    }

    /// Adds as much of `data` as fits.
    fn fill(&mut self, data: &[u8]) -> usize {
        let (added, begun) = self.space().take(data.len());
        if let Some(last) = self.pages.back_mut() {
            last.bytes.extend_from_slice(&data[..added]);
        }
        for page in data[added..added + begun].chunks(PAGE) {
            let mut bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(PAGE));
            bytes.extend_from_slice(page);
            self.pages.push_back(Page { bytes, read: 0 });
        }
        self.available += added + begun;
        added + begun
    }

    /// Fills `buf`, and says with how much.
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < buf.len()
            && let Some(page) = self.pages.front_mut()
        {
            let bytes = (page.bytes.len() - page.read).min(buf.len() - taken);
            buf[taken..taken + bytes].copy_from_slice(&page.bytes[page.read..page.read + bytes]);
            taken += bytes;
            page.read += bytes;
            if page.read == page.bytes.len()
                && let Some(mut page) = self.pages.pop_front()
            {
                page.bytes.clear();
                self.spare.push(page.bytes);
            }
        }
        self.available -= taken;
        taken
    }
}

/// The pages of a pipe that are in use, and how full the last is.
#[derive(Clone, Copy, Debug)]
struct Space {
    pages: usize,
    last: usize,
}

impl Space {
    /// Takes as much of so many bytes as fits: how much goes into the last page, and how much of what
    /// follows into new ones. What would make whole pages takes new ones; what is over stands first,
    /// in the last page if it fits there. So up to a page is taken whole or not at all.
    fn take(&mut self, bytes: usize) -> (usize, usize) {
        let over = bytes % PAGE;
        let added = if self.pages > 0 && self.last + over <= PAGE { over } else { 0 };
        let begun = (bytes - added).min((PAGES_MAX - self.pages) * PAGE);
        self.last += added;
        if begun > 0 {
            self.pages += begun.div_ceil(PAGE);
            self.last = (begun - 1) % PAGE + 1;
        }
        (added, begun)
    }
}

impl Writer {
    pub(super) fn readiness(&self) -> Ready {
        if self.is_unread {
            Ready::ALL
        } else if self.has_room {
            Ready::WRITABLE
        } else {
            Ready::NONE
        }
    }
}

impl Network {
    fn pipe_reader(&mut self, id: SocketId) -> Option<&mut Reader> {
        match self.unix(id)? {
            Socket::Reader(reader) => Some(reader),
            _ => None,
        }
    }

    fn pipe_writer(&mut self, id: SocketId) -> Option<&mut Writer> {
        match self.unix(id)? {
            Socket::Writer(writer) => Some(writer),
            _ => None,
        }
    }

    /// The two ends of a new pipe: the one that is read from, and the one that is written to.
    pub(crate) fn pipe_open(&mut self, host: u32) -> [SocketId; 2] {
        let flow = self.unix_flow(host, &UnixAddr::UNNAMED);
        let reader = Reader {
            writer: SocketId::NONE,
            flow: flow.clone().reversed(),
            pages: VecDeque::new(),
            available: 0,
            spare: Vec::new(),
            is_ended: false,
        };
        let reader = self.unix_open(host, Socket::Reader(reader));
        let writer = Writer { reader, flow, has_room: true, is_blocked: false, is_unread: false };
        let writer = self.unix_open(host, Socket::Writer(writer));
        if let Some(reader) = self.pipe_reader(reader) {
            reader.writer = writer;
        }
        [reader, writer]
    }

    pub(super) fn pipe_read(&mut self, id: SocketId, buf: &mut [u8]) -> io::Result<usize> {
        let reader = self.pipe_reader(id).ok_or_else(|| errno::os(EINVAL))?;
        if reader.pages.is_empty() {
            return if reader.is_ended { Ok(0) } else { Err(errno::would_block()) };
        }
        let taken = reader.take(buf);
        let (writer, is_full) = (reader.writer, reader.is_full());
        if let Some(end) = self.pipe_writer(writer).filter(|_| !is_full) {
            end.has_room = true;
            if std::mem::take(&mut end.is_blocked) {
                self.notify(writer, Ready::WRITABLE);
            }
        }
        Ok(taken)
    }

    pub(super) fn pipe_write(&mut self, id: SocketId, data: &[u8]) -> io::Result<usize> {
        let writer = self.pipe_writer(id).ok_or_else(|| errno::os(EPIPE))?;
        let reader = writer.reader;
        let Some(end) = self.pipe_reader(reader) else {
            return Err(errno::os(EPIPE));
        };
        let taken = end.fill(data);
        let has_room = !end.is_full();
        if let Some(writer) = self.pipe_writer(id) {
            writer.has_room = has_room;
            writer.is_blocked |= taken < data.len();
        }
        if taken > 0 {
            self.notify(reader, Ready::READABLE);
        }
        Ok(taken)
    }

    /// How much of pieces of these lengths can be written to the pipe with this reader, one after the
    /// other.
    pub(super) fn pipe_room(
        &mut self,
        reader: SocketId,
        pieces: impl Iterator<Item = usize>,
    ) -> usize {
        self.pipe_reader(reader).map_or(0, |reader| reader.room(pieces))
    }

    /// The end that is read from is gone, and with it what is in the pipe.
    pub(super) fn pipe_end_reader(&mut self, reader: &Reader) {
        if let Some(writer) = self.pipe_writer(reader.writer) {
            writer.is_unread = true;
            self.notify(reader.writer, Ready::ALL);
        }
    }

    /// The end that is written to is gone: there is no more than what is in the pipe.
    pub(super) fn pipe_end_writer(&mut self, writer: &Writer) {
        if let Some(reader) = self.pipe_reader(writer.reader) {
            reader.is_ended = true;
            self.notify(writer.reader, Ready::READABLE.with(Ready::READ_CLOSED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        let name = UnixAddr::UNNAMED;
        Reader {
            writer: SocketId::NONE,
            flow: LocalFlow { host: 0, incarnation: 1, name, number: 1, is_reply: true },
            pages: VecDeque::new(),
            available: 0,
            spare: Vec::new(),
            is_ended: false,
        }
    }

    /// As measured on Linux 6.18.
    #[test]
    fn a_pipe_takes_as_much_as_linux_takes() {
        for (size, total) in [
            (1, 65_536),
            (100, 64_000),
            (1_000, 64_000),
            (3_000, 48_000),
            (4_096, 65_536),
            (4_097, 45_066),
            (5_000, 54_096),
            (65_536, 65_536),
            (100_000, 65_536),
        ] {
            let (mut reader, data) = (reader(), vec![7; size]);
            while reader.fill(&data) == size {}
            assert_eq!(reader.available(), total, "writes of {size}");
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let mut reader = reader();
        let data: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let (mut written, mut read, mut buf) = (0, Vec::new(), [0; 777]);
        while read.len() < data.len() {
            let end = data.len().min(written + 5_000);
            written += reader.fill(&data[written..end]);
            let bytes = reader.take(&mut buf);
            read.extend_from_slice(&buf[..bytes]);
        }
        assert_eq!(read, data);
        assert!(reader.spare.len() <= PAGES_MAX && reader.available() == 0);
    }
}
