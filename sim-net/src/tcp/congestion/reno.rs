//! Reno: a segment more for each round trip, half of it after a loss (RFC 5681 §3.1).

/// How many acknowledged segments the window grows by one for.
pub(super) fn per_segment(window: u32) -> u32 {
    window
}

/// What a loss leaves of the window.
pub(super) fn after_loss(window: u32) -> u32 {
    window / 2
}

#[cfg(test)]
mod tests {
    use sim_core::Time;

    use crate::tcp::congestion::{Congestion, CongestionControl};

    #[test]
    fn avoidance_adds_a_segment_a_round_trip_and_a_loss_takes_half() {
        let mut congestion = Congestion::new(CongestionControl::Reno);
        congestion.threshold = 10;
        for round in 0..5 {
            for _ in 0..10 + round {
                congestion.grow(1, 1, Time::ZERO);
            }
        }
        assert_eq!(congestion.window, 15);
        congestion.on_loss();
        assert_eq!(congestion.threshold, 7);
    }
}
