//! Samples of every distribution and loss model against its closed form.
//!
//! Seeds are fixed, so a test passes always or never. A million samples each.

use std::time::Duration;

use super::lane::Lane;
use super::loss::Chain;
use super::{Corruption, Latency, Link, Loss, Probability};
use crate::decisions::{Decisions, Entity, Site};
use crate::link::corruption::Damage;

const SAMPLES: usize = 1_000_000;
const MS: Duration = Duration::from_millis(1);

/// The draws of a site for one packet after the other.
fn draws(site: Site, seed: u64) -> impl Iterator<Item = u64> {
    let decisions = Decisions::new(seed);
    let mut lane = Lane::new(Entity::named("client@1→server:7000#1"));
    std::iter::repeat_with(move || {
        let ordinal = lane.next();
        match site {
            Site::PacketDelay => lane.delay(ordinal, &decisions),
            site => lane.fault(site, ordinal, &decisions),
        }
    })
}

/// Delays of a link in nanoseconds, sorted.
fn delays(latency: &Latency, seed: u64) -> Vec<f64> {
    let least = latency.least().as_nanos() as f64;
    let delay = |draw| least + latency.beyond_least(draw) as f64;
    let mut delays: Vec<f64> = draws(Site::PacketDelay, seed).map(delay).take(SAMPLES).collect();
    delays.sort_by(f64::total_cmp);
    delays
}

/// Kolmogorov and Smirnov: the largest distance between the sample and a continuous distribution
/// exceeds 1.95/√n once in a thousand.
#[track_caller]
fn assert_fits(latency: &Latency, distribution: impl Fn(f64) -> f64) {
    assert_fits_below(f64::INFINITY, latency, distribution);
}

/// Likewise for a distribution that is continuous below a limit.
#[track_caller]
fn assert_fits_below(limit: f64, latency: &Latency, distribution: impl Fn(f64) -> f64) {
    let delays = delays(latency, 11);
    let n = delays.len() as f64;
    let below = delays.iter().take_while(|&&delay| delay < limit).enumerate();
    let distance = below.fold(0.0_f64, |most, (index, &delay)| {
        // Delays are cut to whole nanoseconds, so what is meant lies up to one above.
        let (low, high) = (distribution(delay), distribution(delay + 1.0));
        most.max(index as f64 / n - high).max(low - (index + 1) as f64 / n)
    });
    assert!(distance < 1.95 / n.sqrt(), "{latency}: distance {distance}");
}

/// χ² of counts with these expectations, which must stay below the quantile at 0.999 of its
/// distribution, by the approximation of Wilson and Hilferty.
#[track_caller]
fn assert_chi_squared(counts: &[u64], expected: &[f64]) {
    let terms = counts.iter().zip(expected).map(|(&n, e)| (n as f64 - e).powi(2) / e);
    let chi: f64 = terms.sum();
    let degrees = (counts.len() - 1) as f64;
    let part = 2.0 / (9.0 * degrees);
    let limit = degrees * (1.0 - part + 3.09 * part.sqrt()).powi(3);
    assert!(chi < limit, "χ² {chi} with {degrees} degrees, at most {limit}");
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

fn percent(percent: u32) -> Probability {
    Probability::percent(percent).unwrap()
}

// Delays.

#[test]
fn uniform_delays_are_uniform() {
    let (from, to) = (nanos(5 * MS), nanos(80 * MS));
    let latency = Latency::from(5 * MS..80 * MS);
    assert_fits(&latency, |x| ((x - from) / (to - from)).clamp(0.0, 1.0));
    let all = delays(&latency, 12);
    assert!(all[0] >= from && all[all.len() - 1] < to);
}

#[test]
fn exponential_delays_are_exponential() {
    let (least, mean) = (nanos(20 * MS), nanos(5 * MS));
    let latency = Latency::exponential(20 * MS, 5 * MS);
    assert_fits(&latency, |x| if x < least { 0.0 } else { 1.0 - (-(x - least) / mean).exp() });
}

#[test]
fn log_normal_delays_have_their_median_and_their_99th_percentile() {
    let latency = Latency::log_normal(20 * MS, 200 * MS).unwrap();
    let sigma = 10.0_f64.ln() / 2.326_347_874_040_841;
    let z = |x: f64| (x / nanos(20 * MS)).ln() / sigma;
    assert_fits(&latency, |x| 0.5 * libm::erfc(-z(x) / std::f64::consts::SQRT_2));
    let all = delays(&latency, 12);
    let quantile = |p: f64| all[(p * all.len() as f64) as usize] / 1e6;
    let (median, p99) = (quantile(0.5), quantile(0.99));
    assert!((19.9..20.1).contains(&median) && (196.0..204.0).contains(&p99), "{median} {p99}");
}

#[test]
fn pareto_delays_follow_their_law_below_the_cap_and_pile_up_at_it() {
    let (least, cap, alpha) = (20 * MS, 400 * MS, 1.5);
    let latency = Latency::pareto(least, alpha, cap).unwrap();
    let law = |x: f64| if x < nanos(least) { 0.0 } else { 1.0 - (nanos(least) / x).powf(alpha) };
    assert_fits_below(nanos(cap), &latency, law);
    let all = delays(&latency, 12);
    let capped = all.iter().filter(|&&delay| delay == nanos(cap)).count() as u64;
    let share = 1.0 - law(nanos(cap));
    let n = all.len() as f64;
    assert_chi_squared(&[capped, all.len() as u64 - capped], &[share * n, (1.0 - share) * n]);
}

#[test]
fn a_table_gives_each_of_its_delays_as_often() {
    let table = [3 * MS, 4 * MS, 4 * MS, 9 * MS, 70 * MS];
    let all = delays(&Latency::table(table).unwrap(), 11);
    let count = |delay| all.iter().filter(|&&it| it == nanos(delay)).count() as u64;
    let fifth = all.len() as f64 / 5.0;
    let counts = [3 * MS, 4 * MS, 9 * MS, 70 * MS].map(count);
    assert_chi_squared(&counts, &[fifth, 2.0 * fifth, fifth, fifth]);
}

#[test]
fn the_delays_of_successive_packets_are_independent() {
    let latency = Latency::from(5 * MS..80 * MS);
    let spread = nanos(75 * MS);
    let beyond = |draw| latency.beyond_least(draw) as f64 / spread - 0.5;
    let delays: Vec<f64> = draws(Site::PacketDelay, 13).map(beyond).take(SAMPLES).collect();
    let n = delays.len() as f64;
    for lag in 1..=4 {
        let pairs = delays.iter().zip(&delays[lag..]);
        // The variance of a uniform distribution is 1/12.
        let correlation = 12.0 * pairs.map(|(a, b)| a * b).sum::<f64>() / n;
        assert!(correlation.abs() < 4.0 / n.sqrt(), "lag {lag}: {correlation}");
    }
}

// Losses.

/// Which packets are lost.
fn losses(loss: &Loss, seed: u64) -> Vec<bool> {
    let mut draws = draws(Site::PacketLoss, seed);
    let mut chain = Chain::default();
    let mut is_lost = |number| loss.takes(number, &mut chain, || draws.next().unwrap());
    (1..=SAMPLES as u64).map(&mut is_lost).collect()
}

/// The lengths of runs of `value`.
fn runs(of: &[bool], value: bool) -> Vec<u64> {
    let runs = of.chunk_by(|a, b| a == b).filter(|run| run[0] == value);
    runs.map(|run| run.len() as u64).collect()
}

/// Runs have the geometric distribution with this chance of ending after each packet.
#[track_caller]
fn assert_geometric(runs: &[u64], end: f64) {
    let bins = 12;
    let mut counts = vec![0; bins];
    for run in runs {
        counts[(*run as usize - 1).min(bins - 1)] += 1;
    }
    let n = runs.len() as f64;
    let mut expected: Vec<f64> = (0..bins as i32).map(|k| n * end * (1.0 - end).powi(k)).collect();
    expected[bins - 1] /= end;
    assert_chi_squared(&counts, &expected);
}

#[test]
fn independent_losses_are_as_many_as_asked_for_and_independent() {
    for (loss, seed) in [(1, 1), (5, 2), (20, 3), (50, 4)] {
        let lost = losses(&percent(loss).into(), seed);
        let share = f64::from(loss) / 100.0;
        let n = lost.len() as f64;
        let count = lost.iter().filter(|&&lost| lost).count() as u64;
        let expected = [share * n, (1.0 - share) * n];
        assert_chi_squared(&[count, lost.len() as u64 - count], &expected);
        // A loss makes the next one neither more nor less likely.
        if loss >= 20 {
            assert_geometric(&runs(&lost, true), 1.0 - share);
        }
        let pairs = lost.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
        let spread = (n * share * share).sqrt();
        assert!((pairs - share * share * n).abs() < 5.0 * spread, "{pairs}");
    }
}

#[test]
fn bursts_have_the_mean_loss_and_the_mean_length_asked_for() {
    for (loss, burst, seed) in [(1, 5.0, 1), (5, 4.0, 2), (20, 2.5, 3), (30, 1.0, 4)] {
        let lost = losses(&Loss::burst(percent(loss), burst).unwrap(), seed);
        let share = f64::from(loss) / 100.0;
        let bursts = runs(&lost, true);
        // p = L·r / (1 − L) is how likely a gap ends at each packet.
        let leave = 1.0 / burst;
        let enter = share * leave / (1.0 - share);
        if burst > 1.0 {
            assert_geometric(&bursts, leave);
        } else {
            assert!(bursts.iter().all(|&burst| burst == 1));
        }
        // The share has the variance L(1−L)/n, times (1+λ)/(1−λ) with λ = 1 − p − r for the chain.
        let n = lost.len() as f64;
        let lambda = 1.0 - enter - leave;
        let variance = share * (1.0 - share) / n * (1.0 + lambda) / (1.0 - lambda);
        let measured = bursts.iter().sum::<u64>() as f64 / n;
        assert!((measured - share).abs() < 4.0 * variance.sqrt(), "{loss}%: {measured}");
        let mean = bursts.iter().sum::<u64>() as f64 / bursts.len() as f64;
        let spread = ((1.0 - leave) / (leave * leave) / bursts.len() as f64).sqrt();
        assert!((mean - burst).abs() <= 4.0 * spread, "burst {burst}: {mean}");
    }
}

#[test]
fn the_first_packet_of_a_flow_is_lost_as_often_as_any() {
    let loss = Loss::burst(percent(20), 10.0).unwrap();
    let decisions = Decisions::new(5);
    let flows = SAMPLES / 10;
    let is_lost = |n: &usize| {
        let entity = Entity::named(format_args!("a@1→b:80#{n}"));
        let draw = || decisions.at(Site::PacketLoss, entity, 0);
        loss.takes(1, &mut Chain::default(), draw)
    };
    let lost = (0..flows).filter(is_lost).count() as u64;
    let n = flows as f64;
    assert_chi_squared(&[lost, flows as u64 - lost], &[0.2 * n, 0.8 * n]);
}

// What is left of a draw.

#[test]
fn what_is_left_of_a_draw_is_uniform() {
    let rare = percent(5);
    let mut counts = [0; 20];
    let mut hits = 0_u32;
    for draw in draws(Site::PacketDuplicate, 6).take(SAMPLES) {
        if let Some(rest) = rare.rest(draw) {
            hits += 1;
            counts[((u128::from(rest) * 20) >> 64) as usize] += 1;
        }
    }
    assert_chi_squared(&counts, &[f64::from(hits) / 20.0; 20]);
    let n = SAMPLES as f64;
    assert_chi_squared(&[u64::from(hits), SAMPLES as u64 - u64::from(hits)], &[0.05 * n, 0.95 * n]);
}

#[test]
fn damage_flips_every_bit_and_cuts_at_every_length_alike() {
    let link = Link::default().corrupt(Corruption { probability: percent(50), delivers: true });
    let (mut flips, mut cuts) = ([0; 64], [0; 8]);
    let rests = draws(Site::PacketCorrupt, 7).take(SAMPLES);
    for rest in rests.filter_map(|draw| link.corruption.probability.rest(draw)) {
        match Damage::choose(rest, 8) {
            Some(Damage::Flipped(bit)) => flips[bit as usize] += 1,
            Some(Damage::CutTo(left)) => cuts[left] += 1,
            None => unreachable!("there are bytes to damage"),
        }
    }
    let flipped: u64 = flips.iter().sum();
    let cut: u64 = cuts.iter().sum();
    assert_chi_squared(&flips, &[flipped as f64 / 64.0; 64]);
    assert_chi_squared(&cuts, &[cut as f64 / 8.0; 8]);
    assert_chi_squared(&[flipped, cut], &[(flipped + cut) as f64 / 2.0; 2]);
}
