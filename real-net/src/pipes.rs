//! Descriptors that were opened elsewhere, as ends of pipes.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;

use sim_core::PipeEnd;
use sim_core::driver::Source;

use crate::MioDriver;
use crate::sockets::{Descriptor, Reads};

/// A descriptor was not taken in: why, and the descriptor, still open.
#[derive(Debug)]
pub struct NotTaken<D = OwnedFd> {
    /// What was not taken.
    pub descriptor: D,
    /// Why.
    pub error: io::Error,
}

impl<D> fmt::Display for NotTaken<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<D: fmt::Debug> Error for NotTaken<D> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<D> From<NotTaken<D>> for io::Error {
    /// The reason alone; the descriptor is closed.
    fn from(not_taken: NotTaken<D>) -> Self {
        not_taken.error
    }
}

impl MioDriver {
    /// Takes in a pipe, a FIFO, a socket or a character device such as a terminal, as an end of a
    /// pipe: what asyncio's `connect_read_pipe` and `connect_write_pipe` take (contract G-02).
    ///
    /// A socket as a writing end has lost its reader when both directions have ended, or the connection is lost: whoever
    /// only closes its own half may still read. Of a TCP connection that its peer has closed that is not known before
    /// something was written to it (G-04).
    ///
    /// It is made non-blocking, and so is every duplicate of it, in other processes too. A program
    /// whose `SIGPIPE` is not ignored, as Rust's standard library does at its start, dies of writing
    /// to a pipe that nobody reads.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for any other file, which is left as it was.
    ///
    /// ```
    /// use std::io::Write;
    /// use sim_core::{Cx, PipeEnd, PipeReader, Protocol};
    ///
    /// #[derive(Default)]
    /// struct Count(usize);
    /// impl Protocol for Count {
    ///     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
    ///         self.0 += data.len();
    ///     }
    /// }
    ///
    /// let (lp, driver) = real_net::new_loop_and_driver()?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"hello")?;
    /// drop(writer);
    /// let reader = PipeReader::from_source(&lp, driver.adopt_pipe(reader, PipeEnd::Read)?);
    /// let handle = (*lp).clone();
    /// let read = async move {
    ///     let conn = handle.connect_read_pipe(reader, Count::default).await?;
    ///     conn.closed().await?;
    ///     std::io::Result::Ok(conn.with(|count, _| count.0))
    /// };
    /// assert_eq!(lp.run_until_complete(read)??, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn adopt_pipe(
        &self,
        descriptor: impl Into<OwnedFd>,
        end: PipeEnd,
    ) -> Result<Source, NotTaken> {
        let file = File::from(descriptor.into());
        let prepared = file.metadata().and_then(|metadata| {
            let kind = metadata.file_type();
            if !(kind.is_fifo() || kind.is_socket() || kind.is_char_device()) {
                let text = "pipe transports are for pipes, sockets and character devices only";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            rustix::io::ioctl_fionbio(&file, true)?;
            Ok(match end {
                PipeEnd::Read => Reads::Messages,
                PipeEnd::Write if kind.is_char_device() => Reads::Nothing,
                PipeEnd::Write => Reads::Loss,
            })
        });
        let descriptor = OwnedFd::from(file);
        match prepared {
            Ok(reads) => {
                let pipe = Descriptor::Pipe { end: descriptor, is_shared: true };
                let inserted = self.insert_descriptor(pipe, reads);
                Ok(inserted.expect("a table of 2³² sockets is never full"))
            }
            Err(error) => Err(NotTaken { descriptor, error }),
        }
    }
}
