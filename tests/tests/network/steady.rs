//! Without loss, what bounds a stream is its rate or its window.

use std::time::Duration;

use sim_net::Sim;

use crate::stream::{Stream, link, over};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// L-40, L-100: in the steady state goodput is min(rate · 1448/1500, window/RTT), within 2 %, where
/// the window is at most the bandwidth-delay product and the queue. (Windows that rule are large here:
/// they are used in whole segments, and a pair that is acknowledged before it is read still counts.)
#[test]
fn a_stream_takes_its_rate_or_its_window() {
    // Rate in Mbit/s, one-way delay in ms, SO_RCVBUF, and the window that it makes (L-40).
    for (rate, delay, asked, window) in [
        (1, 1, 65_536, 82_328),
        (1, 50, 65_536, 82_328),
        (10, 1, 65_536, 82_328),
        (10, 10, 65_536, 82_328),
        (10, 50, 262_144, 328_936),
        (100, 1, 65_536, 82_328),
        (100, 10, 262_144, 328_936),
        (100, 50, 262_144, 328_936),
        (1_000, 10, 262_144, 328_936),
        (1_000, 50, 1_048_576, 1_316_264),
    ] {
        let text = format!("latency={delay}ms,rate={rate}Mbit,queue=1000");
        let ours =
            over(&Sim::new(1), Duration::from_millis(delay), move |world, links| async move {
                let stream =
                    Stream::begin(world, links, link(&text), usize::MAX, Some(asked)).await?;
                Ok(stream.during(secs(10), secs(10)).await)
            });
        let by_rate = f64::from(rate) * 1_448.0 / 1_500.0;
        let by_window = f64::from(window) * 8.0 / 1e6 / (2.0 * delay as f64 / 1e3);
        let ratio = ours / by_rate.min(by_window);
        assert!(
            (0.98..=1.02).contains(&ratio),
            "{rate} Mbit/s, {delay} ms, window {window}: {ours:.3} of {:.3}",
            by_rate.min(by_window)
        );
    }
}
