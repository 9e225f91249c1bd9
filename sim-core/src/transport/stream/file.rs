//! A stream while a file is sent over it.

use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Phase, Stream};
use crate::store::Storage;
use crate::trace::Record;
use crate::transport::{Medium, Transport};

/// The time of a file on a transport: nothing else is written, and nothing is read.
pub(crate) struct FileTurn<'a> {
    transport: &'a Transport,
    was_reading: bool,
}

impl<'a> FileTurn<'a> {
    pub(crate) fn begin(transport: &'a Transport) -> io::Result<Self> {
        let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let stream = &transport.0;
        if transport.is_closing() {
            let text = "sendfile: the connection is closing";
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        if stream.medium == Medium::ReadPipe {
            return invalid("sendfile: this is the reading end of a pipe");
        }
        if stream.eof_written.get() {
            return invalid("sendfile: the output has ended by write_eof()");
        }
        if stream.sends_file.replace(true) {
            return invalid("sendfile is in progress");
        }
        let was_reading = transport.is_reading();
        if was_reading {
            transport.pause_reading();
        }
        Ok(Self { transport, was_reading })
    }
}

impl Drop for FileTurn<'_> {
    fn drop(&mut self) {
        self.transport.0.sends_file.set(false);
        if self.was_reading {
            self.transport.resume_reading();
        }
    }
}

impl Transport {
    /// A piece of the file whose turn it is.
    pub(crate) fn write_of_file(&self, piece: &[u8]) {
        match self.0.top() {
            None => self.0.write(piece),
            Some(layer) => layer.write(piece),
        }
    }
}

impl Stream {
    /// For what a user writes. What would be dropped, since the connection is closing, is not refused.
    #[inline]
    #[track_caller]
    pub(in crate::transport) fn refuse_beside_file(&self) {
        let is_free = !self.sends_file.get() || self.is_closing();
        assert!(is_free, "unable to write: sendfile is in progress");
    }

    pub(crate) fn is_losing(&self) -> bool {
        self.phase.get() >= Phase::Losing
    }

    /// Has whoever sends a file woken when there is more room, or the connection is over.
    pub(crate) fn wake_for_file(&self, waker: &Waker) {
        self.add_waker(waker);
    }

    /// There may be more room.
    #[inline]
    pub(crate) fn tell_room(&self) {
        if self.sends_file.get() {
            self.wake_all();
        }
    }

    /// Has the kernel send a part of a file, or the waker woken when it can take some. `Unsupported`
    /// if it never can. An error of the connection ends it.
    pub(crate) fn send_file(
        self: &Rc<Self>,
        file: &dyn Storage,
        offset: u64,
        count: usize,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        if self.is_layered.get() {
            let text = "sendfile: the kernel does not speak the layer";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, text)));
        }
        loop {
            let error = match self.core().driver.send_file(self.source, file, offset, count) {
                Ok(bytes) => {
                    let record = Record::Write { connection: self.number, bytes: bytes as u64 };
                    self.core().trace(record);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    self.wake_for_file(waker);
                    return Poll::Pending;
                }
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::NotConnected
                | io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::ConnectionRefused => {
                    let kind = error.kind();
                    self.force_close(Some(error));
                    let text = "the connection was lost while a file was sent";
                    return Poll::Ready(Err(io::Error::new(kind, text)));
                }
                _ => return Poll::Ready(Err(error)),
            }
        }
    }
}
