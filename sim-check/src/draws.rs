//! What a seed draws for its profile: how likely something is, and how long it lasts.

use std::time::Duration;

use sim_core::Rng;

/// The bounds of a probability, in billionths, drawn log-uniformly: 10⁻⁴ to 0.3.
const LIKELY_MIN: u32 = 100_000;
pub(crate) const LIKELY_MAX: u32 = 300_000_000;
/// The bounds of a duration, drawn log-uniformly.
const LENGTH_MIN: Duration = Duration::from_millis(1);
pub(crate) const LENGTH_MAX: Duration = Duration::from_secs(30);
/// One in so many of the scheduled faults lasts about as long as a timer of the scenario.
const NEAR_TIMER: u64 = 4;

/// The random numbers of a seed for one purpose: one more of another purpose moves none of these.
pub(crate) fn rng(seed: u64, purpose: &str) -> Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..8 + purpose.len()].copy_from_slice(purpose.as_bytes());
    key[31] = 1;
    Rng::from_seed(key)
}

/// Billionths from [`LIKELY_MIN`] to `most`, log-uniform, by a random number.
pub(crate) fn log_uniform_likely(random: u64, most: u32) -> u32 {
    log_uniform(random, u64::from(LIKELY_MIN.min(most)), u64::from(most)) as u32
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A length up to `most`, log-uniform.
pub(crate) fn length(rng: &mut Rng, most: Duration) -> Duration {
    let least = nanos(LENGTH_MIN.min(most)).max(1);
    Duration::from_nanos(log_uniform(rng.next_u64(), least, nanos(most).max(least)))
}

/// How long a host is gone, at most `most`: log-uniform, but one in [`NEAR_TIMER`] about as long as one of the
/// scenario's own timers, which are in order: the longest of those within the bound, or any. What waits as long as
/// that may just fire, or just not.
pub(crate) fn outage(rng: &mut Rng, most: Duration, timers: &[Duration]) -> Duration {
    let plain = length(rng, most);
    let (is_near, is_longest) = (rng.ratio(1, NEAR_TIMER), rng.ratio(1, 2));
    let (place, part) = (rng.next_u64(), rng.next_u64());
    let from = timers.partition_point(|&timer| timer < LENGTH_MIN);
    let end = timers.partition_point(|&timer| timer <= most);
    let Some(timers) = timers.get(from..end).filter(|timers| is_near && !timers.is_empty()) else {
        return plain;
    };
    let share = |random: u64, of: u64| ((u128::from(random) * u128::from(of)) >> 64) as u64;
    let place =
        if is_longest { timers.len() - 1 } else { share(place, timers.len() as u64) as usize };
    // From three quarters of it to five quarters.
    let timer = timers[place];
    let quarters = Duration::from_nanos(share(part, nanos(timer / 2)));
    (timer - timer / 4 + quarters).min(most)
}

/// A number from `least` to `most`, log-uniform to the step of a power of two and uniform within it: in
/// integers, so that it is the same on every platform.
pub(crate) fn log_uniform(random: u64, least: u64, most: u64) -> u64 {
    if least >= most {
        return most;
    }
    let (low, high) = (u64::from(least.ilog2()), u64::from(most.ilog2()));
    let power = low + (((random >> 32) * (high - low + 1)) >> 32);
    let begin = (1_u64 << power).max(least);
    let end = (1_u64 << power).saturating_mul(2).min(most);
    let within = (u128::from(random as u32) * (u128::from(end.saturating_sub(begin)) + 1)) >> 32;
    begin + within as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_faults_last_about_as_long_as_a_timer_and_none_longer_than_they_may() {
        let ms = Duration::from_millis;
        let timers = [Duration::ZERO, ms(40), ms(2_000), ms(60_000)];
        let drawn = |timers: &[Duration], most| {
            let mut rng = rng(1, "test");
            (0..4_000).map(|_| outage(&mut rng, most, timers)).collect::<Vec<Duration>>()
        };
        let most = ms(30_000);
        let plain = drawn(&[], most);
        let near = drawn(&timers, most);
        let moved: Vec<Duration> = near
            .iter()
            .zip(&plain)
            .filter(|(near, plain)| near != plain)
            .map(|(near, _)| *near)
            .collect();
        assert!((800..1_200).contains(&moved.len()), "{}", moved.len());
        // Half of them by the longest that is within the bound, and the others by either.
        let long = moved.iter().filter(|&it| (ms(1_500)..=ms(2_500)).contains(it)).count();
        let short = moved.iter().filter(|&it| (ms(30)..=ms(50)).contains(it)).count();
        assert_eq!(long + short, moved.len());
        assert!(short > 150 && long > 2 * short, "{long} {short}");
        let capped = drawn(&timers, ms(2_000));
        assert!(capped.iter().all(|&it| it <= ms(2_000)) && capped.contains(&ms(2_000)));
        assert_eq!(drawn(&timers, ms(20)), drawn(&[], ms(20)));
    }

    #[test]
    fn log_uniform_numbers_stay_in_their_range_and_reach_both_ends() {
        for (least, most) in [(1, 1), (1, 2), (3, 1_000), (100_000, 300_000_000), (5, u64::MAX)] {
            let mut rng = rng(1, "test");
            let all: Vec<u64> =
                (0..20_000).map(|_| log_uniform(rng.next_u64(), least, most)).collect();
            assert!(all.iter().all(|number| (least..=most).contains(number)));
            assert!(*all.iter().min().unwrap() <= least.saturating_mul(2));
            assert!(*all.iter().max().unwrap() >= most / 2);
        }
    }
}
