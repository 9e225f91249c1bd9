//! What a connection is made with: the sysctls and socket options that TCP looks at.

use std::time::Duration;

use sim_core::Keepalive;
use sim_core::driver::TcpOptions;

use super::congestion::CongestionControl;

/// Bytes of the timestamps option in every segment; the MSS option does not count them (RFC 6691).
pub(crate) const TIMESTAMPS: u32 = 12;
/// Of a kernel's buffer memory, payload is 1448 bytes in 2304 (L-40).
const fn payload_of(memory: usize) -> usize {
    memory / 2_304 * 1_448
}
/// The memory that a kernel takes for so many bytes of payload.
pub(super) const fn memory_for(payload: usize) -> usize {
    payload / 1_448 * 2_304
}
/// Bytes that a new stream takes before its peer has acknowledged any (L-41).
const SEND_BUFFER: usize = 21 * 1_448;
/// What the send buffer grows to (`tcp_wmem`).
const SEND_BUFFER_MAX: usize = payload_of(4_194_304);
/// Bytes that wait unread before the peer is held back (L-40).
const RECEIVE_BUFFER: usize = 57 * 1_448;
/// What the receive buffer grows to while the application reads (`tcp_rmem`).
const RECEIVE_BUFFER_MAX: usize = payload_of(6_291_456);
/// The smallest buffers that can be asked for.
const BUFFER_MIN: usize = 3 * 1_448;

/// A buffer's size in bytes: now, and what it may grow to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BufferSize {
    pub(crate) now: usize,
    pub(crate) max: usize,
}

impl BufferSize {
    pub(crate) const SEND: Self = Self { now: SEND_BUFFER, max: SEND_BUFFER_MAX };
    pub(crate) const RECEIVE: Self = Self { now: RECEIVE_BUFFER, max: RECEIVE_BUFFER_MAX };

    /// A buffer that does not grow.
    pub(crate) const fn fixed(bytes: usize) -> Self {
        Self { now: bytes, max: bytes }
    }

    /// `SO_SNDBUF`, rounded as Linux does (L-41: 1.27 to 1.33 times what was asked).
    pub(crate) fn send_buffer_of(asked: usize) -> Self {
        Self::fixed((asked.saturating_mul(13) / 10).max(BUFFER_MIN))
    }

    /// `SO_RCVBUF`, rounded as Linux does (L-40: 2 · 1448/2304 of what was asked).
    pub(crate) fn receive_buffer_of(asked: usize) -> Self {
        Self::fixed((asked.min(1 << 29) * 2 * 1_448 / 2_304).max(BUFFER_MIN))
    }
}

/// What the TCP of every host of a world is set to: its sysctls. The default is Linux's.
///
/// ```
/// use sim_net::{CongestionControl, Sim, TcpConfig};
///
/// let newreno = TcpConfig::default().congestion(CongestionControl::Reno).sack(false);
/// let sim = Sim::new(1).tcp(newreno);
/// # let _ = sim;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpConfig {
    congestion: CongestionControl,
    sack: bool,
    abort_on_overflow: bool,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self { congestion: CongestionControl::Cubic, sack: true, abort_on_overflow: false }
    }
}

impl TcpConfig {
    /// Sets how much may be on its way: `tcp_congestion_control`, CUBIC by default.
    #[must_use]
    pub fn congestion(mut self, control: CongestionControl) -> Self {
        self.congestion = control;
        self
    }

    /// Sets whether receivers say what they have beyond a gap (RFC 2018): `tcp_sack`, on by default.
    /// Without it recovery is NewReno's (RFC 6582), one hole each round trip, and there are no tail
    /// loss probes.
    #[must_use]
    pub fn sack(mut self, on: bool) -> Self {
        self.sack = on;
        self
    }

    /// Sets whether a client is reset whose handshake ends while as many connections wait to be
    /// accepted as may: `tcp_abort_on_overflow`, off by default. Off, the client takes the connection
    /// for open and is not heard until there is room, or for 63 s.
    #[must_use]
    pub fn abort_on_overflow(mut self, on: bool) -> Self {
        self.abort_on_overflow = on;
        self
    }

    pub(super) fn resets_on_overflow(self) -> bool {
        self.abort_on_overflow
    }

    /// It, for a connection with these options on a path with segments of `mss` bytes.
    pub(super) fn on_path(self, mss: u32, options: TcpOptions) -> Config {
        let TcpOptions { nodelay, keepalive, user_timeout } = options;
        Config {
            algorithm: self.congestion,
            sack: self.sack,
            nagle: !nodelay,
            keepalive,
            user_timeout,
            ..Config::new(mss)
        }
    }
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// The most data bytes that a segment with timestamps may carry on this end's interface.
    pub(crate) mss: u32,
    /// The most data bytes that leave as one: `mss`, or more where trains may travel.
    pub(crate) train: u32,
    pub(crate) send_buffer: BufferSize,
    pub(crate) receive_buffer: BufferSize,
    /// `tcp_congestion_control`.
    pub(crate) algorithm: CongestionControl,
    /// `tcp_sack`: without it recovery is NewReno's (RFC 6582), and there are no loss probes.
    pub(crate) sack: bool,
    /// `tcp_early_retrans`: tail loss probes (RFC 8985 §7).
    pub(crate) loss_probes: bool,
    /// True without `TCP_NODELAY`.
    pub(crate) nagle: bool,
    pub(crate) keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT` (RFC 5482).
    pub(crate) user_timeout: Option<Duration>,
    /// What the clock of its timestamps shows when the host's begins (RFC 7323 §5.4).
    pub(crate) stamps_from: u32,
    /// `tcp_syn_retries`, or `TCP_SYNCNT`.
    pub(crate) syn_retries: u8,
    /// `tcp_syn_linear_timeouts`.
    pub(crate) syn_linear_timeouts: u8,
    /// `tcp_synack_retries`.
    pub(crate) syn_ack_retries: u8,
    /// `tcp_retries2`.
    pub(crate) retries: u8,
    /// `tcp_orphan_retries`.
    pub(crate) orphan_retries: u8,
}

impl Config {
    /// Linux's defaults, with Nagle's algorithm off.
    pub(crate) const fn new(mss: u32) -> Self {
        Self {
            mss,
            train: mss,
            send_buffer: BufferSize::SEND,
            receive_buffer: BufferSize::RECEIVE,
            algorithm: CongestionControl::Cubic,
            sack: true,
            loss_probes: true,
            nagle: false,
            keepalive: None,
            user_timeout: None,
            stamps_from: 0,
            syn_retries: 6,
            syn_linear_timeouts: 4,
            syn_ack_retries: 5,
            retries: 15,
            orphan_retries: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L-40: 20 272 for 16 384, 82 328 for 65 536, 1 316 264 for 1 048 576.
    #[test]
    fn a_receive_buffer_takes_a_quarter_more_than_asked() {
        for (asked, measured) in [(16_384, 20_272), (65_536, 82_328), (1_048_576, 1_316_264)] {
            let kept = BufferSize::receive_buffer_of(asked).now;
            assert!(kept.abs_diff(measured) <= measured / 60, "{asked}: {kept}");
        }
    }

    /// L-41: 84 192 for 65 536, 1 332 128 for 1 048 576.
    #[test]
    fn a_send_buffer_takes_a_third_more_than_asked() {
        for (asked, measured) in [(65_536, 84_192), (262_144, 333_248), (1_048_576, 1_332_128)] {
            let kept = BufferSize::send_buffer_of(asked).now;
            assert!(kept.abs_diff(measured) <= measured / 30, "{asked}: {kept}");
        }
    }
}
