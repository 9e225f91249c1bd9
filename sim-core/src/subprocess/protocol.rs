//! What a user of child processes implements.

use std::io;

use super::SubprocessTransport;
use crate::Cx;

/// The callbacks of a child process: asyncio's `SubprocessProtocol`.
///
/// Descriptors are the child's: 0 is its standard input, 1 its output, 2 its errors.
///
/// # Ordering
///
/// `connection_made` comes first, even if the child has written and exited before (contract G-20).
/// `connection_lost` comes last: after `process_exited`, and after the `pipe_connection_lost` of
/// every pipe. Those come in any order, and output that a grandchild writes after the exit is
/// delivered, too (G-21).
///
/// ```
/// use sim_core::subprocess::{SubprocessProtocol, SubprocessTransport};
/// use sim_core::{Cx, Loop};
///
/// #[derive(Default)]
/// struct Collect(Vec<u8>);
/// impl SubprocessProtocol for Collect {
///     fn pipe_data_received(
///         &mut self,
///         _cx: &mut Cx<'_, Self, SubprocessTransport>,
///         fd: usize,
///         data: &[u8],
///     ) {
///         if fd == 1 {
///             self.0.extend_from_slice(data);
///         }
///     }
/// }
///
/// async fn version(lp: Loop) -> std::io::Result<Vec<u8>> {
///     let conn = lp.subprocess_exec("rustc", ["--version"]).connect(Collect::default).await?;
///     conn.closed().await?;
///     assert_eq!(conn.transport().returncode(), Some(0));
///     Ok(conn.with(|collect, _| std::mem::take(&mut collect.0)))
/// }
/// # drop(version);
/// ```
pub trait SubprocessProtocol: Sized + 'static {
    /// The child has started and its pipes are connected.
    fn connection_made(&mut self, cx: &mut Cx<'_, Self, SubprocessTransport>) {
        let _ = cx;
    }

    /// The child wrote to its output (`fd` 1) or its errors (2).
    fn pipe_data_received(
        &mut self,
        cx: &mut Cx<'_, Self, SubprocessTransport>,
        fd: usize,
        data: &[u8],
    ) {
        let _ = (cx, fd, data);
    }

    /// A pipe is closed: at its end without an error, else with what failed. Once for each (G-22).
    fn pipe_connection_lost(
        &mut self,
        cx: &mut Cx<'_, Self, SubprocessTransport>,
        fd: usize,
        error: Option<io::Error>,
    ) {
        let _ = (cx, fd, error);
    }

    /// More than the high-water mark waits to be written to the child's input.
    fn pause_writing(&mut self, cx: &mut Cx<'_, Self, SubprocessTransport>) {
        let _ = cx;
    }

    /// At most the low-water mark is left.
    fn resume_writing(&mut self, cx: &mut Cx<'_, Self, SubprocessTransport>) {
        let _ = cx;
    }

    /// The child has exited; [`returncode`](SubprocessTransport::returncode) says how (G-24).
    fn process_exited(&mut self, cx: &mut Cx<'_, Self, SubprocessTransport>) {
        let _ = cx;
    }

    /// The child has exited and its pipes are closed.
    fn connection_lost(
        &mut self,
        cx: &mut Cx<'_, Self, SubprocessTransport>,
        error: Option<io::Error>,
    ) {
        let _ = (cx, error);
    }

    /// As [`Protocol::digest`](crate::Protocol::digest).
    fn digest(&self) -> Option<String> {
        None
    }
}
