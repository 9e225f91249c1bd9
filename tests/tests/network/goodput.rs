//! Goodput under loss, beside Linux's and beside the formula of Mathis et al. 1997.

use std::fmt::Write as _;
use std::time::Duration;

use sim_net::{CongestionControl, Sim, TcpConfig};

use crate::linux::{Control, GOODPUT, Goodput};
use crate::seeds::{Size, median};
use crate::stream::{Stream, link, over};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config(control: Control, sack: bool) -> TcpConfig {
    let control = match control {
        Control::Reno => CongestionControl::Reno,
        Control::Cubic => CongestionControl::Cubic,
    };
    TcpConfig::default().congestion(control).sack(sack)
}

/// Mbit/s of 20 MB or 20 s over 100 Mbit/s with a queue of 100 packets.
fn goodput(cell: &Goodput, seed: u64) -> f64 {
    let text = format!("latency={}ms,loss={},rate=100Mbit,queue=100", cell.delay, cell.loss);
    let sim = Sim::new(seed).tcp(config(cell.control, cell.sack));
    over(&sim, Duration::from_millis(cell.delay), move |world, links| async move {
        let stream = Stream::begin(world, links, link(&text), 20_000_000, None).await?;
        Ok(stream.finish(secs(20)).await)
    })
}

/// L-100, L-101, L-102, L-105: loss ≤ 1 % or RTT ≥ 20 ms: the median is within 1.5 × of Linux's, or inside
/// its range widened by 1.2.
#[test]
fn goodput_is_about_that_of_linux() {
    let size = Size::of_run();
    let mut table = String::from(
        "Mbit/s of 20 MB or 20 s over 100 Mbit/s, queue of 100 packets. Held to: loss ≤ 1 % or RTT ≥ 20 ms,\n\
         median within 1.5 × of Linux's or inside its range widened by 1.2.\n\n\
         control  SACK  delay ms  loss    median (range)            Linux: median (range)     ratio\n",
    );
    let mut wrong = Vec::new();
    // With few seeds, the cells in which losses are many, so that runs differ little.
    let is_sure = |cell: &&Goodput| size != Size::Quick || ["1%", "5%"].contains(&cell.loss);
    let cells = GOODPUT.iter().filter(is_sure);
    for cell in cells {
        let runs: Vec<f64> = size.seeds(5, 2).map(|seed| goodput(cell, seed)).collect();
        let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = runs.iter().copied().fold(0.0, f64::max);
        let ours = median(runs);
        let ratio = ours / cell.median;
        let (low, high) = cell.range;
        let line = format!(
            "{:<7}  {:<4}  {:>8}  {:<6}  {:<24}  {:<24}  {ratio:.2}",
            format!("{:?}", cell.control),
            if cell.sack { "on" } else { "off" },
            cell.delay,
            cell.loss,
            format!("{ours:.3} ({least:.3}–{most:.3})"),
            format!("{:.3} ({low:.3}–{high:.3})", cell.median),
        );
        let near = (1.0 / 1.5..=1.5).contains(&ratio) || (low / 1.2..=high * 1.2).contains(&ours);
        let is_held = cell.loss != "5%" || cell.delay >= 10;
        if is_held && !near {
            wrong.push(line.clone());
        }
        let _ = writeln!(table, "{line}");
    }
    assert!(wrong.is_empty(), "outside of the bounds:\n{}\n\n{table}", wrong.join("\n"));
    size.check_table("goodput", &table);
}

/// Mbit/s of MSS/RTT · √1.5/√p.
fn mathis(rtt: u64, loss: f64) -> f64 {
    1_448.0 * 8.0 / 1e6 / (rtt as f64 / 1e3) * (1.5 / loss).sqrt()
}

/// L-101, L-104: Reno over 300 s less the first 30, at 0.1 and 1 %, is within 1.35 of Mathis.
#[test]
fn reno_follows_mathis() {
    let size = Size::of_run();
    let reno = config(Control::Reno, true);
    let mut table = String::from(
        "Reno, Mbit/s over 300 s less the first 30. Held to: within 1.35 of Mathis.\n\n\
         RTT ms  loss   median    Mathis    ratio\n",
    );
    let mut wrong = Vec::new();
    for rtt in [10, 20, 50, 100] {
        for (text, loss) in [("0.1%", 0.001), ("1%", 0.01)] {
            // Fast paths are left to large runs.
            if size == Size::Quick && mathis(rtt, loss) > 10.0 {
                continue;
            }
            let run = |seed| {
                let sim = Sim::new(seed).tcp(reno);
                let delay = Duration::from_millis(rtt / 2);
                over(&sim, delay, move |world, links| async move {
                    let lossy = link(&format!("latency={}ms,loss={text}", rtt / 2));
                    let stream = Stream::begin(world, links, lossy, usize::MAX, None).await?;
                    Ok(stream.during(secs(30), secs(270)).await)
                })
            };
            let ours = median(size.seeds(2, 5).map(run));
            let formula = mathis(rtt, loss);
            let ratio = ours / formula;
            let line = format!("{rtt:>6}  {text:<5}  {ours:<8.3}  {formula:<8.3}  {ratio:.2}");
            if !(1.0 / 1.35..=1.35).contains(&ratio) {
                wrong.push(line.clone());
            }
            let _ = writeln!(table, "{line}");
        }
    }
    assert!(wrong.is_empty(), "outside of the bounds:\n{}\n\n{table}", wrong.join("\n"));
    size.check_table("mathis", &table);
}
