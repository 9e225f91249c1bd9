//! What is above a stream.

use std::any::Any;
use std::io;
use std::rc::Rc;

use crate::protocol::Eof;

/// What a stream calls: a protocol without its type.
pub(crate) trait StreamHandler {
    fn connection_made(&self);
    fn data_received(&self, data: &[u8]);
    fn eof_received(&self) -> Eof;
    fn pause_writing(&self);
    fn resume_writing(&self);
    fn connection_lost(&self, error: Option<io::Error>);
    /// The buffer of a buffered protocol, lent to `read`; `None` from a plain one.
    fn with_buffer(&self, hint: usize, read: &mut ReadInto<'_>) -> Option<io::Result<usize>>;
    fn buffer_updated(&self, bytes: usize);
    fn is_buffered(&self) -> bool;
    /// Puts what the protocol says of its state into the trace: the run is over.
    fn tell_last_state(&self);
    fn protocol_name(&self) -> &'static str;
    /// The connection is over for it: its pending typed callbacks, timers and tasks are cancelled.
    fn detach(&self);
    fn as_any(self: Rc<Self>) -> Rc<dyn Any>;
}

pub(crate) type ReadInto<'a> = dyn FnMut(&mut [u8]) -> io::Result<usize> + 'a;
