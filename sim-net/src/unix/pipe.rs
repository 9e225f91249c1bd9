//! Pipes.

use std::collections::VecDeque;
use std::io;

use sim_core::UnixAddr;

use super::{Directions, Socket};
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
    pub(super) directions: Directions,
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
    pub(super) directions: Directions,
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

    /// Adds as much of `data` as fits. What would make whole pages takes new ones; what is over
    /// stands first, in the last page if it fits there. So up to a page is taken whole or not at all.
    fn fill(&mut self, data: &[u8]) -> usize {
        let mut taken = 0;
        let over = data.len() % PAGE;
        if over > 0
            && let Some(last) = self.pages.back_mut().filter(|page| page.bytes.len() + over <= PAGE)
        {
            last.bytes.extend_from_slice(&data[..over]);
            taken = over;
        }
        while taken < data.len() && !self.is_full() {
            let end = data.len().min(taken + PAGE);
            let mut bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(PAGE));
            bytes.extend_from_slice(&data[taken..end]);
            self.pages.push_back(Page { bytes, read: 0 });
            taken = end;
        }
        self.available += taken;
        taken
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
    pub(super) fn pipe_open(&mut self, host: u32) -> [SocketId; 2] {
        let directions = self.unix_directions(host, &UnixAddr::UNNAMED);
        let reader = Reader {
            writer: SocketId::NONE,
            directions: directions.reversed(),
            pages: VecDeque::new(),
            available: 0,
            spare: Vec::new(),
            is_ended: false,
        };
        let reader = self.unix_open(host, Socket::Reader(reader));
        let writer =
            Writer { reader, directions, has_room: true, is_blocked: false, is_unread: false };
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
    use crate::decisions::Entity;

    fn reader() -> Reader {
        let entity = Entity::named("pipe");
        Reader {
            writer: SocketId::NONE,
            directions: Directions { out: entity, inward: entity },
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
