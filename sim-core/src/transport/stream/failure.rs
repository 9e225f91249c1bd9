//! Errors of callbacks and reads: what is reported, and what costs the connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::{Phase, Stream, StreamHandler};
use crate::SharedError;
use crate::engine::report::ErrorContext;
use crate::error::CallbackPanicked;
use crate::trace::{Callback, Control};
use crate::transport::Medium;

/// What a terminal gives whose other end is gone.
const EIO: i32 = 5;

impl Stream {
    /// A report about a callback of a protocol's.
    pub(super) fn report(&self, handler: &dyn StreamHandler, context: ErrorContext) {
        self.report_on(handler.protocol_name(), context);
    }

    /// A report about the connection.
    pub(crate) fn report_on(&self, protocol: &'static str, context: ErrorContext) {
        self.core().report_made(context.on(self.number, protocol), self.place());
    }

    /// Runs a callback whose failure costs the connection (C-32).
    pub(super) fn guard<R>(
        self: &Rc<Self>,
        callback: Callback,
        handler: &dyn StreamHandler,
        code: impl FnOnce() -> R,
    ) -> Option<R> {
        match self.core().contain(code) {
            Ok(value) => Some(value),
            Err(message) => {
                self.callback_panicked(callback, handler, message);
                None
            }
        }
    }

    pub(super) fn callback_panicked(
        self: &Rc<Self>,
        callback: Callback,
        handler: &dyn StreamHandler,
        message: Arc<str>,
    ) {
        let text = format!("Fatal error: protocol.{}() call failed.", callback.name());
        self.report(handler, ErrorContext::panic(text, Arc::clone(&message)));
        let error = CallbackPanicked { callback: callback.name(), message };
        self.cut_short(io::Error::other(error));
    }

    /// Runs `pause_writing` or `resume_writing`, whose failure is only reported (C-86).
    pub(super) fn flow_guard(&self, text: &str, handler: &dyn StreamHandler, code: impl FnOnce()) {
        if let Err(message) = self.core().contain(code) {
            self.report(handler, ErrorContext::panic(text, message));
        }
    }

    pub(crate) fn fail(self: &Rc<Self>, error: io::Error) {
        if self.phase.get() >= Phase::Losing {
            return;
        }
        self.control(Control::Fail);
        self.fail_with(error);
    }

    /// Reports an error unless it is of the operating system's family, and closes.
    pub(super) fn fail_with(self: &Rc<Self>, error: io::Error) {
        let shared = SharedError::new(error);
        if shared.get().get_ref().is_some() {
            let context = ErrorContext::error("Fatal error on transport", shared.clone());
            self.report_on(self.protocol_name().unwrap_or("no protocol"), context);
        }
        self.cut_short(shared.to_io());
    }

    /// Ends the connection with a reset, unless its end has begun: what was written before that is sent.
    fn cut_short(&self, error: io::Error) {
        if self.phase.get() < Phase::Losing {
            self.reset.set(true);
            self.force_close(Some(error));
        }
    }

    /// True when the connection ends, or has ended, with a reset from here.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.reset.get()
    }

    /// A read failed. Unlike on a socket, errors of the operating system are reported too, but for
    /// that of a terminal whose other end is gone (G-03).
    #[cold]
    pub(super) fn read_failed(&self, error: io::Error) {
        if self.medium == Medium::ReadPipe && error.raw_os_error() != Some(EIO) {
            let shared = SharedError::new(error);
            let text = "Fatal read error on pipe transport";
            let context = ErrorContext::error(text, shared.clone());
            self.report_on(self.protocol_name().unwrap_or("no protocol"), context);
            return self.force_close(Some(shared.to_io()));
        }
        self.force_close(Some(error));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use crate::driver::{Driver, Family, SocketKind};
    use crate::engine::{Engine, EngineMemory};
    use crate::testing::{self, ScriptDriver};
    use crate::{Cx, EventLoop, PanicPolicy, PipeReader, Protocol};

    struct Quiet;

    impl Protocol for Quiet {
        fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
    }

    /// G-03: a failed read of a pipe is reported, even if the error is the operating system's, but for
    /// that of a terminal whose other end is gone; `connection_lost` gets it in either case.
    #[test]
    fn a_failed_read_of_a_pipe_is_reported_unless_a_terminal_hung_up() {
        for (code, reports) in [(5, 0), (104, 1)] {
            let driver = Rc::new(ScriptDriver::new());
            let engine = Engine::new(Rc::clone(&driver) as Rc<dyn Driver>, EngineMemory::default());
            let lp = EventLoop::new(engine);
            let heard = Rc::new(RefCell::new(0));
            let count = Rc::clone(&heard);
            lp.set_exception_handler(Some(Rc::new(move |_, _| *count.borrow_mut() += 1)));
            let source = driver.open(SocketKind::Stream, Family::V4).unwrap();
            driver.feed_error(source, code);
            let (handle, reader) = ((*lp).clone(), PipeReader::from_source(&lp, source));
            let lost = async move {
                let conn = handle.connect_read_pipe(reader, || Quiet).await.unwrap();
                conn.closed().await.unwrap_err().raw_os_error()
            };
            assert_eq!(lp.run_until_complete(lost).unwrap(), Some(code));
            assert_eq!(*heard.borrow(), reports, "os error {code}");
        }
    }

    /// C-07, C-10: a panic after the protocol has closed the connection is reported, and what was written is sent:
    /// the end had begun.
    #[test]
    fn a_panic_behind_a_close_cuts_nothing_short() {
        struct Leaves;
        impl Protocol for Leaves {
            fn data_received(&mut self, cx: &mut Cx<'_, Self>, _: &[u8]) {
                cx.write(b"bye");
                cx.close();
                panic!("on purpose");
            }
        }
        let mut peer = testing::drive(Leaves);
        let lp = peer.event_loop();
        lp.set_panic_policy(PanicPolicy::Contain);
        let heard = Rc::new(RefCell::new(0));
        let count = Rc::clone(&heard);
        lp.set_exception_handler(Some(Rc::new(move |_, _| *count.borrow_mut() += 1)));
        peer.feed(b"hello");
        assert_eq!(peer.take_written(), b"bye");
        assert!(!peer.is_reset() && matches!(peer.lost(), Some(None)));
        assert_eq!(*heard.borrow(), 1);
    }

    /// C-64: what a burst took of memory is given back when it is sent.
    #[test]
    fn a_burst_leaves_no_room_behind() {
        let mut peer = testing::drive_with_window(Quiet, 0);
        let transport = peer.transport();
        transport.write(&vec![b'x'; 8 << 20]);
        assert!(transport.0.buffer.borrow().capacity() >= 8 << 20);
        peer.take(8 << 20);
        peer.settle();
        assert_eq!(transport.write_buffer_size(), 0);
        assert!(transport.0.buffer.borrow().capacity() <= super::super::writing::BUFFER_KEPT_MAX);
    }

    /// A protocol that panics when there is room again.
    struct Stumbles;

    impl Protocol for Stumbles {
        fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}

        fn resume_writing(&mut self, _: &mut Cx<'_, Self>) {
            panic!("on purpose");
        }
    }

    /// A-18, C-09: a panic in `resume_writing` that ends the run does not cost a closing connection its end.
    #[test]
    fn a_closing_connection_ends_behind_a_panic_that_ended_the_run() {
        const SENT: usize = 1 << 20;
        let mut peer = testing::drive_with_window(Stumbles, 0);
        peer.event_loop().set_panic_policy(PanicPolicy::EndRun);
        peer.transport().write(&vec![b'x'; SENT]);
        peer.settle();
        peer.transport().close();
        assert!(catch_unwind(AssertUnwindSafe(|| peer.take(SENT))).is_err());
        assert!(!peer.is_lost());
        peer.settle();
        assert!(!peer.is_reset() && matches!(peer.lost(), Some(None)));
    }

    /// A-18, C-72: nor the output of an open one its end.
    #[test]
    fn an_output_ends_behind_a_panic_that_ended_the_run() {
        const SENT: usize = 1 << 20;
        let mut peer = testing::drive_with_window(Stumbles, 0);
        peer.event_loop().set_panic_policy(PanicPolicy::EndRun);
        peer.transport().write(&vec![b'x'; SENT]);
        peer.settle();
        peer.transport().write_eof();
        assert!(catch_unwind(AssertUnwindSafe(|| peer.take(SENT))).is_err());
        peer.settle();
        assert!(peer.is_eof_written() && !peer.is_lost());
    }
}
