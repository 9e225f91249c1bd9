//! The ends of a pipe as values, before transports have them.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;

use crate::connect::start;
use crate::driver::Source;
use crate::handle::closed_error;
use crate::protocol::Attach;
use crate::transport::Medium;
use crate::{Conn, Loop};

/// An end of a pipe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PipeEnd {
    /// The one that is read from.
    Read,
    /// The one that is written to.
    Write,
}

/// The end of a pipe that is read from, owned: closed when dropped, unless
/// [`Loop::connect_read_pipe`] took it. [`Loop::pipe`] makes one on either loop.
#[derive(Debug)]
pub struct PipeReader(End);

/// The end of a pipe that is written to, owned: closed when dropped, unless
/// [`Loop::connect_write_pipe`] took it. [`Loop::pipe`] makes one on either loop.
#[derive(Debug)]
pub struct PipeWriter(End);

impl PipeReader {
    /// Takes over the end of a pipe that the loop's driver has: for drivers that adopt descriptors.
    pub fn from_source(lp: &Loop, source: Source) -> Self {
        Self(End::new(lp, source))
    }
}

impl PipeWriter {
    /// Takes over the end of a pipe that the loop's driver has: for drivers that adopt descriptors.
    pub fn from_source(lp: &Loop, source: Source) -> Self {
        Self(End::new(lp, source))
    }
}

/// An end, until a transport has it.
struct End {
    lp: Loop,
    source: Option<Source>,
}

impl End {
    fn new(lp: &Loop, source: Source) -> Self {
        Self { lp: lp.clone(), source: Some(source) }
    }

    /// Makes its transport.
    async fn connect<P, K>(
        mut self,
        lp: &Loop,
        medium: Medium,
        factory: impl FnOnce() -> P,
        place: &'static Location<'static>,
    ) -> io::Result<Conn<P>>
    where
        P: Attach<K>,
    {
        if lp.core.is_closed() {
            return Err(closed_error());
        }
        if self.lp != *lp {
            let text = "the pipe is another loop's: connect it there";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // A panic of the factory leaves the end to its destructor.
        let protocol = factory();
        let source = self.source.take().expect("only connect takes it, and consumes the end");
        start(lp, protocol, (source, None), medium, None, Some(place)).await
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            self.lp.core.driver.close(source);
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Loop {
    /// Makes a pipe, for [`connect_read_pipe`](Self::connect_read_pipe) and
    /// [`connect_write_pipe`](Self::connect_write_pipe). In a simulation it holds what Linux's does:
    /// 16 pages of 4 KiB.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left; on a closed loop, and on one without pipes.
    ///
    /// ```
    /// # use sim_core::{Cx, Loop, Protocol};
    /// # struct Lines;
    /// # impl Protocol for Lines { fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {} }
    /// async fn through_a_pipe(lp: Loop) -> std::io::Result<()> {
    ///     let (reader, writer) = lp.pipe()?;
    ///     let received = lp.connect_read_pipe(reader, || Lines).await?;
    ///     let sent = lp.connect_write_pipe(writer, || Lines).await?;
    ///     sent.with(|_, cx| {
    ///         cx.write(b"hello\n");
    ///         cx.write_eof();
    ///     });
    ///     received.closed().await
    /// }
    /// # drop(through_a_pipe);
    /// ```
    pub fn pipe(&self) -> io::Result<(PipeReader, PipeWriter)> {
        if self.core.is_closed() {
            return Err(closed_error());
        }
        let (reader, writer) = self.core.driver.unix()?.pipe()?;
        Ok((PipeReader::from_source(self, reader), PipeWriter::from_source(self, writer)))
    }

    /// Gives the end of a pipe that is read from a protocol. The end of the pipe closes the
    /// transport, whatever `eof_received` answers (contract G-01).
    ///
    /// The end is the call's from here on: it is closed if the call fails or is dropped.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for another loop's; on a closed loop.
    #[track_caller]
    pub fn connect_read_pipe<P, K>(
        &self,
        pipe: PipeReader,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P>>>
    where
        P: Attach<K>,
    {
        pipe.0.connect(self, Medium::ReadPipe, factory, Location::caller())
    }

    /// Gives the end of a pipe that is written to a protocol. It hears of a reader that goes without
    /// writing anything: `connection_lost(None)` if nothing waits to be written, else with
    /// `BrokenPipe` (contract G-04).
    ///
    /// # Errors
    ///
    /// As [`connect_read_pipe`](Self::connect_read_pipe).
    #[track_caller]
    pub fn connect_write_pipe<P, K>(
        &self,
        pipe: PipeWriter,
        factory: impl FnOnce() -> P,
    ) -> impl Future<Output = io::Result<Conn<P>>>
    where
        P: Attach<K>,
    {
        pipe.0.connect(self, Medium::WritePipe, factory, Location::caller())
    }
}
