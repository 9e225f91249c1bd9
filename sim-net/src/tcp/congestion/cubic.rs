//! CUBIC: the window is a cubic function of the time since the last loss (RFC 9438), with its
//! plateau where that loss was. C is 0.4 and β is 717/1024, as on Linux; times are in 1/1024 s, so
//! that a cube needs shifts alone.

use sim_core::Time;

use crate::tcp::rtt::between;

/// β: what a loss leaves of the window, of 1024.
const BETA: u32 = 717;
/// C·1024.
const C: u64 = 410;
/// An acknowledged segment is worth 8/`FRIENDLY` segments to Reno's window
/// (RFC 9438 §4.3: 3·(1−β)/(1+β) a round trip).
const FRIENDLY: u32 = 8 * (1_024 + BETA) / 3 / (1_024 - BETA);
/// The window's growth is worked out anew when it has changed, or after a 32nd of a second.
const STALE: u64 = 32;

/// What is remembered of the last loss.
#[derive(Debug, Default)]
pub(super) struct Cubic {
    /// W_max: the window at the last loss, less if windows shrink (RFC 9438 §4.7).
    window_max: u32,
    epoch: Option<Epoch>,
}

/// The climb since that loss.
#[derive(Debug)]
struct Epoch {
    /// In 1/1024 s, as is `looked`.
    began: u64,
    /// K: how long the climb to the plateau takes.
    climb: u64,
    /// The plateau.
    origin: u32,
    /// W_est: what Reno would have (RFC 9438 §4.3), and segments towards its next one.
    reno: u32,
    reno_credit: u32,
    /// When, and at which window, the growth was worked out.
    looked: u64,
    looked_at: u32,
    per_segment: u32,
}

fn ticks(nanos: u64) -> u64 {
    (u128::from(nanos) * 1_024 / 1_000_000_000) as u64
}

/// The integer cube root, rounded down.
fn cube_root(value: u64) -> u64 {
    let mut root = 0_u64;
    for bit in (0..22).rev() {
        let tried = root | 1 << bit;
        if u128::from(tried).pow(3) <= u128::from(value) {
            root = tried;
        }
    }
    root
}

impl Cubic {
    /// How many acknowledged segments the window grows by one for.
    pub(super) fn per_segment(&mut self, window: u32, acked: u32, min_rtt: u64, now: Time) -> u32 {
        let now = ticks(between(Time::ZERO, now));
        let window_max = self.window_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(window, window_max, now));
        epoch.reno_credit += acked;
        if epoch.looked_at == window && now <= epoch.looked + STALE {
            return epoch.per_segment;
        }
        (epoch.looked, epoch.looked_at) = (now, window);
        let time =
            now.saturating_sub(epoch.began) + if min_rtt == u64::MAX { 0 } else { ticks(min_rtt) };
        let target = epoch.target(time);
        let mut per_segment =
            if target > window { window / (target - window) } else { window.saturating_mul(100) };
        // Before the first loss nothing is known of a plateau: at least 5 % a round trip.
        if window_max == 0 {
            per_segment = per_segment.min(20);
        }
        per_segment = per_segment.min(epoch.friendly(window));
        // At most half of what is acknowledged.
        epoch.per_segment = per_segment.max(2);
        epoch.per_segment
    }

    /// What a loss leaves of the window.
    pub(super) fn after_loss(&mut self, window: u32) -> u32 {
        self.epoch = None;
        let converges = window < self.window_max;
        self.window_max = if converges { window * (1_024 + BETA) / 2_048 } else { window };
        (u64::from(window) * u64::from(BETA) / 1_024) as u32
    }

    /// A pause does not count as climb.
    pub(super) fn on_idle(&mut self, idle: u64) {
        if let Some(epoch) = &mut self.epoch {
            epoch.began += ticks(idle);
        }
    }
}

impl Epoch {
    fn new(window: u32, window_max: u32, now: u64) -> Self {
        let distance = u64::from(window_max.saturating_sub(window));
        Self {
            began: now,
            climb: cube_root((distance << 40) / C),
            origin: window_max.max(window),
            reno: window,
            reno_credit: 0,
            looked: 0,
            looked_at: 0,
            per_segment: 1,
        }
    }

    /// W_cubic(t) = C·(t − K)³ + W_max.
    fn target(&self, time: u64) -> u32 {
        let offset = u128::from(time.abs_diff(self.climb));
        let delta = ((u128::from(C) * offset * offset * offset) >> 40).min(u32::MAX.into()) as u32;
        if time < self.climb {
            self.origin.saturating_sub(delta)
        } else {
            self.origin.saturating_add(delta)
        }
    }

    /// Keeps up with Reno: how many segments for one, so that the window is not below its.
    fn friendly(&mut self, window: u32) -> u32 {
        let per_segment = (window.saturating_mul(FRIENDLY) / 8).max(1);
        self.reno += self.reno_credit / per_segment;
        self.reno_credit %= per_segment;
        if self.reno > window { window / (self.reno - window) } else { u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn cube_roots_are_exact() {
        for root in [0, 1, 2, 3, 10, 999, 65_535, 1_000_000] {
            assert_eq!(cube_root(root * root * root), root);
            assert_eq!(cube_root((root + 1).pow(3) - 1), root);
        }
    }

    /// RFC 9438 §4.2: after a loss at W the window is 0.7·W, and W again K = ∛(0.3·W/0.4) s later.
    #[test]
    fn the_window_is_back_at_its_plateau_after_k() {
        let mut cubic = Cubic::default();
        let (rtt, mut window, mut credit) = (Duration::from_millis(100), 1_000, 0);
        window = cubic.after_loss(window);
        assert_eq!(window, 700);
        let mut now = Time::ZERO;
        let mut reached = None;
        while now < Time::ZERO + Duration::from_secs(14) {
            let acked = window;
            for _ in 0..acked {
                credit += 1;
                if credit >= cubic.per_segment(window, 1, 100_000_000, now) {
                    (credit, window) = (0, window + 1);
                }
            }
            now += rtt;
            if reached.is_none() && window >= 995 {
                reached = Some(now);
            }
        }
        // K = ∛750 = 9.09 s; five segments below the plateau ∛12.5 = 2.32 s earlier.
        let reached = reached.expect("it comes back").since_epoch();
        assert!((6_500..=7_000).contains(&reached.as_millis()), "{reached:?}");
        assert!(window > 1_020, "and goes on beyond it: {window}");
    }

    /// RFC 9438 §4.7: a flow that loses below its last plateau leaves room for others.
    #[test]
    fn a_second_loss_below_the_plateau_lowers_it_further() {
        let mut cubic = Cubic::default();
        cubic.after_loss(100);
        cubic.after_loss(80);
        assert_eq!(cubic.window_max, 80 * (1_024 + BETA) / 2_048);
    }
}
