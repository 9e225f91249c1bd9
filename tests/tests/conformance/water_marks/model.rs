//! What the contract says about the write buffer of one connection, as plain as possible: numbers
//! instead of bytes, and everything that the loop would queue done in its order.

use std::collections::VecDeque;

use sim_core::WriteBufferLimits;

use super::script::{Op, Script, Step, observed};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Open,
    Closing,
    /// `connection_lost` is queued.
    Losing,
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Incoming {
    End,
    Reset,
}

/// Mistakes that were made with water marks, to be planted: the property is to find each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Slip {
    #[default]
    None,
    /// `>=` for `>`: pauses at the high mark.
    PausesAtHigh,
    /// `<` for `<=`: does not resume at the low mark.
    ResumesBelowLow,
    /// Pauses again while it is paused.
    PausesTwice,
}

/// The model of a connection that a script happens to.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) log: Vec<String>,
    slip: Slip,
    phase: Phase,
    /// Bytes that wait.
    size: usize,
    /// Bytes that the network would take now.
    window: usize,
    sent: usize,
    limits: WriteBufferLimits,
    paused: bool,
    pause_undelivered: bool,
    eof_written: bool,
    end_sent: bool,
    reset: bool,
    reason: &'static str,
    // The other direction.
    reading_paused: bool,
    eof_received: bool,
    incoming: VecDeque<Incoming>,
    writes_fail: bool,
    // The script of the callbacks.
    on_paused: VecDeque<Vec<Op>>,
    on_resumed: VecDeque<Vec<Op>>,
    on_ended: Vec<Op>,
    on_lost: Vec<Op>,
}

impl Model {
    /// A connection that was made, and has come to rest.
    pub(super) fn new(script: &Script, slip: Slip) -> Self {
        let mut model = Self {
            log: vec!["CM".to_owned()],
            slip,
            phase: Phase::Open,
            size: 0,
            window: script.window,
            sent: 0,
            limits: WriteBufferLimits::default(),
            paused: false,
            pause_undelivered: false,
            eof_written: false,
            end_sent: false,
            reset: false,
            reason: "CL(None)",
            reading_paused: false,
            eof_received: false,
            incoming: VecDeque::new(),
            writes_fail: false,
            on_paused: script.paused.clone().into(),
            on_resumed: script.resumed.clone().into(),
            on_ended: script.ended.clone(),
            on_lost: script.lost.clone(),
        };
        model.act(&script.made);
        model.rest();
        model
    }

    pub(super) fn is_lost(&self) -> bool {
        self.phase == Phase::Lost
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_lost() && self.reset
    }

    /// The peer has seen the end of the stream, by `write_eof` or by a close.
    pub(super) fn is_end_sent(&self) -> bool {
        if self.is_lost() { !self.reset } else { self.end_sent }
    }

    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Enter(ops) => self.act(ops),
            Step::Take(bytes) => {
                self.window += bytes;
                if *bytes > 0 {
                    self.writer();
                }
            }
            Step::End => self.incoming.push_back(Incoming::End),
            Step::Reset => {
                self.incoming.push_back(Incoming::Reset);
                self.writes_fail = true;
                // The reader is asked before the writer.
                if !self.reads() {
                    self.writer();
                }
            }
        }
        self.rest();
    }

    /// What the loop does until nothing is left.
    fn rest(&mut self) {
        loop {
            self.deliver_pause();
            if self.phase == Phase::Losing {
                self.lose();
            } else if self.reads() && !self.incoming.is_empty() {
                self.read();
            } else {
                return;
            }
        }
    }

    fn reads(&self) -> bool {
        self.phase == Phase::Open && !self.reading_paused && !self.eof_received
    }

    fn read(&mut self) {
        match self.incoming[0] {
            Incoming::Reset => self.force_close("CL(ConnectionReset)"),
            Incoming::End => {
                self.eof_received = true;
                self.log.push("ER".to_owned());
                let ops = std::mem::take(&mut self.on_ended);
                self.act(&ops);
                self.close();
            }
        }
    }

    fn deliver_pause(&mut self) {
        if std::mem::take(&mut self.pause_undelivered) && self.phase != Phase::Lost {
            self.log.push("PW".to_owned());
            let ops = self.on_paused.pop_front().unwrap_or_default();
            self.act(&ops);
        }
    }

    /// The network has room, or an error.
    fn writer(&mut self) {
        if self.size == 0 || self.phase >= Phase::Losing {
            return;
        }
        if self.writes_fail {
            return self.force_close("CL(BrokenPipe)");
        }
        let sent = self.take(self.size);
        self.size -= sent;
        if sent == 0 {
            return;
        }
        let is_low = match self.slip {
            Slip::ResumesBelowLow => self.size < self.limits.low,
            _ => self.size <= self.limits.low,
        };
        if self.paused && is_low {
            self.paused = false;
            self.log.push("RW".to_owned());
            let ops = self.on_resumed.pop_front().unwrap_or_default();
            self.act(&ops);
            self.deliver_pause();
        }
        if self.size > 0 {
            return;
        }
        match self.phase {
            Phase::Closing => self.lose(),
            Phase::Open => self.end_sent |= self.eof_written,
            Phase::Losing | Phase::Lost => {}
        }
    }

    /// How many of `bytes` the network takes.
    fn take(&mut self, bytes: usize) -> usize {
        let taken = bytes.min(self.window);
        self.window -= taken;
        self.sent += taken;
        taken
    }

    fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.log.push(self.reason.to_owned());
        let ops = std::mem::take(&mut self.on_lost);
        self.act(&ops);
    }

    // What a protocol does.

    fn act(&mut self, ops: &[Op]) {
        for op in ops {
            self.apply(op);
            let writable = !self.paused && !self.eof_written && self.phase == Phase::Open;
            let closing = self.phase >= Phase::Closing;
            let flags = [writable, closing, self.reads()];
            self.log.push(observed(op, flags, self.size, self.limits));
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(bytes) => self.write(*bytes),
            Op::Writelines(sizes) => self.write(sizes.iter().sum()),
            Op::Limits(high, low) => {
                if high >= low && self.phase != Phase::Lost {
                    self.limits = WriteBufferLimits { high: *high, low: *low };
                    self.judge();
                }
            }
            Op::Close => self.close(),
            Op::Abort => {
                self.reset |= self.phase != Phase::Lost;
                self.force_close("CL(None)");
            }
            Op::Fail => {
                self.reset |= self.phase < Phase::Losing;
                self.force_close("CL(TimedOut)");
            }
            Op::WriteEof => {
                if self.phase == Phase::Open && !self.eof_written {
                    self.eof_written = true;
                    self.end_sent |= self.size == 0;
                }
            }
            Op::PauseReading if self.phase == Phase::Open => self.reading_paused = true,
            Op::ResumeReading if self.phase == Phase::Open => self.reading_paused = false,
            Op::PauseReading | Op::ResumeReading => {}
        }
    }

    fn write(&mut self, bytes: usize) {
        if self.eof_written || bytes == 0 || self.phase >= Phase::Losing {
            return;
        }
        let mut sent = 0;
        if self.size == 0 {
            if self.writes_fail {
                return self.force_close("CL(BrokenPipe)");
            }
            sent = self.take(bytes);
        }
        if sent < bytes {
            self.size += bytes - sent;
            self.judge();
        }
    }

    fn judge(&mut self) {
        let is_high = match self.slip {
            Slip::PausesAtHigh => self.size >= self.limits.high,
            _ => self.size > self.limits.high,
        };
        if is_high && (!self.paused || self.slip == Slip::PausesTwice) {
            self.paused = true;
            self.pause_undelivered = true;
        }
    }

    fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = if self.size == 0 { Phase::Losing } else { Phase::Closing };
        }
    }

    fn force_close(&mut self, reason: &'static str) {
        if self.phase < Phase::Losing {
            self.phase = Phase::Losing;
            self.size = 0;
            self.reason = reason;
        }
    }
}
