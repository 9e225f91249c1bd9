//! The parent's ends of a child's pipes, which hand what happens on to the child.

use std::io;
use std::rc::{Rc, Weak};

use super::child::Child;
use crate::stream::StreamProtocol;
use crate::transport::Medium;
use crate::{Conn, Cx, Protocol};

/// What happens at the end of a pipe, told to the child.
struct End {
    child: Weak<Child>,
    fd: usize,
}

impl End {
    fn lost(&self, error: Option<io::Error>) {
        if let Some(child) = self.child.upgrade() {
            child.pipe_lost(self.fd, error);
        }
    }
}

/// A pipe for callbacks, in either direction.
pub(super) struct Pipe(End);

impl Pipe {
    pub(super) fn new(child: &Rc<Child>, fd: usize) -> Self {
        Self(End { child: Rc::downgrade(child), fd })
    }
}

impl Protocol for Pipe {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        if let Some(child) = self.0.child.upgrade() {
            child.data_received(self.0.fd, data);
        }
    }

    fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        if let Some(child) = self.0.child.upgrade() {
            child.pause_writing();
        }
    }

    fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        if let Some(child) = self.0.child.upgrade() {
            child.resume_writing();
        }
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.0.lost(error);
    }
}

/// A pipe for a task: a stream that tells the child of its end.
pub(super) fn stream(child: &Rc<Child>, fd: usize, limit: usize) -> StreamProtocol {
    let end = End { child: Rc::downgrade(child), fd };
    StreamProtocol::with_limit(limit).on_loss(move || end.lost(None))
}

/// The streams of a child, as [`Process`](super::Process) has them.
pub(super) type Streams = [Option<Conn<StreamProtocol>>; 3];

/// What the parent's end of a standard stream is.
pub(super) fn medium(fd: usize) -> Medium {
    if fd == 0 { Medium::WritePipe } else { Medium::ReadPipe }
}
