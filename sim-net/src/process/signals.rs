//! Signals of a host's process (contract G-43).

use std::io;
use std::rc::Rc;

use sim_core::driver::{Signals, Source};
use sim_core::{DefaultAction, Signal};

use super::Notice;
use crate::driver::HostDriver;
use crate::errno::{self, EBADF, ESRCH};
use crate::holds::{End, Holder};
use crate::network::Network;
use crate::scheduler::{CONTROL, Scheduler};
use crate::socket_table::{Kind, Ready, SocketId};
use crate::trace::{HostChange, Record};

/// The first signal of which each that is sent counts (`SIGRTMIN` of the kernel).
const REALTIME: i32 = 32;

impl Network {
    /// Tells the process of a host that a signal came. False if it does not handle that one.
    fn tell_signal(&mut self, index: u32, signal: Signal) -> bool {
        let mut is_handled = false;
        // A standard signal is pending once, however often it comes (signal(7)).
        let is_pending_once = signal.number() < REALTIME && self.host(index).is_halted();
        for id in self.sockets.of_host(index) {
            if let Some(Notice::Signal { signal: own, came }) = self.notice(id)
                && *own == signal
            {
                *came = if is_pending_once { 1 } else { *came + 1 };
                is_handled = true;
                self.notify_now(id, Ready::READABLE);
            }
        }
        is_handled
    }
}

impl Scheduler {
    /// Sends the process of a host a signal. False if there is none. If the signal stops it, it is
    /// stopped `by` whom.
    pub(crate) fn signal(self: &Rc<Self>, index: u32, signal: Signal, by: Holder) -> bool {
        let mut network = self.network();
        if network.host(index).life.dead {
            return false;
        }
        network.record(index, Record::Host(HostChange::Signal));
        drop(network);
        self.act_on(index, signal, by);
        true
    }

    /// The process of a host acts on a signal, if it has not died of another.
    pub(crate) fn act_on(self: &Rc<Self>, index: u32, signal: Signal, by: Holder) {
        let mut network = self.network();
        let is_handled = network.tell_signal(index, signal);
        if is_handled && signal != Signal::CONT {
            return;
        }
        match signal.default_action() {
            DefaultAction::Ignore => {}
            // Whether or not the process wants to hear of it, too.
            DefaultAction::Continue => {
                drop(network);
                self.resume(index, End::ByHand);
            }
            DefaultAction::Stop => {
                network.pause(index, by);
            }
            DefaultAction::End => {
                if !network.put_off_signal(index, signal) {
                    drop(network);
                    self.kill(index);
                }
            }
        }
    }
}

impl Signals for HostDriver {
    fn watch(&self, signal: Signal) -> io::Result<Source> {
        self.may_open(1)?;
        let notice = Kind::Notice(Box::new(Notice::Signal { signal, came: 0 }));
        let id = self.network().sockets.insert(self.index(), notice);
        self.opened(1);
        Ok(id.source())
    }

    fn take_signals(&self, source: Source) -> io::Result<usize> {
        match self.network().notice(SocketId::from_source(source)) {
            Some(Notice::Signal { came, .. }) => Ok(std::mem::take(came)),
            _ => Err(errno::os(EBADF)),
        }
    }

    fn raise(&self, signal: Signal) -> io::Result<()> {
        if self.is_dead() {
            return Err(errno::os(ESRCH));
        }
        let acts = signal.default_action() != DefaultAction::Ignore;
        if self.index() == CONTROL && acts && !self.network().handles(CONTROL, signal) {
            let text = format!("{signal}: the control loop has no process that it could end");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.scheduler().signal(self.index(), signal, Holder::Hand);
        Ok(())
    }
}

impl Network {
    /// True if a signal ends the process of a host, now or when that goes on.
    pub(crate) fn is_ended_by(&self, index: u32, signal: Signal) -> bool {
        signal.default_action() == DefaultAction::End && !self.handles(index, signal)
    }

    /// True if the process of a host handles a signal.
    fn handles(&self, index: u32, signal: Signal) -> bool {
        let mut own = self.sockets.of_host(index).into_iter();
        own.any(|id| match self.sockets.get(id).map(|socket| &socket.kind) {
            Some(Kind::Notice(notice)) => {
                matches!(**notice, Notice::Signal { signal: own, .. } if own == signal)
            }
            _ => false,
        })
    }
}
