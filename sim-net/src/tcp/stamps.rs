//! Timestamps: the clock that segments carry, and protection against old duplicates
//! (RFC 7323 §4, §5).

use sim_core::Time;

use super::recovery::millis;
use super::rtt::between;
use super::segment::{Segment, Seq, Timestamps};

/// After so long a silence TS.Recent says nothing: the clock may have gone half around
/// (RFC 7323 §5.5).
const RECENT_MAX: u64 = 24 * 86_400 * 1_000_000_000;

/// A connection's timestamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    /// Both ends have asked for them.
    pub(super) on: bool,
    /// Where this connection's clock began (RFC 7323 §5.4): for a pair of hosts always the same.
    offset: u32,
    /// TS.Recent: what is echoed.
    recent: u32,
}

impl Stamps {
    /// With a clock that shows `offset` when the host's begins.
    pub(super) fn new(offset: u32) -> Self {
        Self { on: true, offset, recent: 0 }
    }

    /// The connection's clock.
    #[inline]
    pub(super) fn clock(&self, now: Time) -> u32 {
        millis(now).wrapping_add(self.offset)
    }

    /// The option of a segment that goes out.
    #[inline]
    pub(super) fn option(&self, now: Time) -> Option<Timestamps> {
        self.on.then(|| Timestamps { value: self.clock(now), echo: self.recent })
    }

    /// Takes the option of the peer's SYN.
    pub(super) fn begin(&mut self, syn: &Segment) {
        self.on = syn.timestamps.is_some();
        self.recent = syn.timestamps.map_or(0, |timestamps| timestamps.value);
    }

    /// False if a segment is older than what was heard last: a duplicate from before the sequence
    /// numbers wrapped (PAWS, RFC 7323 §5.3).
    #[inline]
    pub(super) fn is_recent(&self, segment: &Segment, heard_at: Time, now: Time) -> bool {
        match segment.timestamps {
            Some(timestamps) if self.on => {
                (timestamps.value.wrapping_sub(self.recent) as i32) >= 0
                    || between(heard_at, now) > RECENT_MAX
            }
            _ => true,
        }
    }

    /// True if a segment was sent later than what was heard last, by its timestamp.
    pub(super) fn is_newer(&self, segment: &Segment) -> bool {
        let newer = |stamps: Timestamps| (self.recent.wrapping_sub(stamps.value) as i32) < 0;
        self.on && segment.timestamps.is_some_and(newer)
    }

    /// Takes TSval from a segment that begins where the last acknowledgement ended, or before
    /// (RFC 7323 §4.3).
    #[inline]
    pub(super) fn take(&mut self, segment: &Segment, told: Seq) {
        if let Some(timestamps) = segment.timestamps
            && segment.seq.at_most(told)
        {
            self.recent = timestamps.value;
        }
    }

    /// Turns what a segment echoes into milliseconds of the host's clock.
    #[inline]
    pub(super) fn host_echo(&self, segment: &mut Segment) {
        if let Some(timestamps) = &mut segment.timestamps {
            timestamps.echo = timestamps.echo.wrapping_sub(self.offset);
        }
    }
}
