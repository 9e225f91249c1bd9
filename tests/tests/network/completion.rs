//! How long a mebibyte takes, beside Linux.

use std::fmt::Write as _;
use std::time::Duration;

use sim_net::{CongestionControl, Link, Sim, TcpConfig};

use crate::integrity::seconds;
use crate::linux::{self, Completion};
use crate::seeds::{Size, median};
use crate::transfer::{MEBIBYTE, exchange};

/// The limit of the slowest measurements.
const LIMIT: Duration = Duration::from_secs(900);

/// From `connect` to the reader's end of stream, in seconds; infinite if it takes too long.
fn completion(control: CongestionControl, cell: &Completion, seed: u64) -> f64 {
    let link: Link =
        format!("latency={}ms,loss={}%", cell.delay, cell.loss).parse().expect("a link");
    let sim = Sim::new(seed).link(link).tcp(TcpConfig::default().congestion(control));
    let [client, server] = sim.run(|world| exchange(world, false, LIMIT)).unwrap();
    for end in [&client, &server] {
        let error = end.lost.as_ref().and_then(|(error, _)| error.as_ref());
        assert!(error.is_none(), "{control:?}, {cell:?}, seed {seed}: {error:?}");
    }
    assert!(server.ended.is_none() || server.received == MEBIBYTE);
    server.ended.map_or(f64::INFINITY, |time| time.since_epoch().as_secs_f64())
}

/// L-110, L-111, L-112: delay ≥ 1 ms, loss ≤ 10 %: the median is within twice of Linux's, or inside
/// its range. No run fails.
#[test]
fn a_mebibyte_takes_about_as_long_as_on_linux() {
    let size = Size::of_run();
    let mut table = String::from(
        "1 MiB one way, from connect to end of stream. Held to: delay ≥ 1 ms, loss ≤ 10 %, median within\n\
         2 × of Linux's or inside its range.\n\n\
         control  delay ms  loss %  median s  p10–p90 s          Linux: median (range) s        ratio\n",
    );
    let mut wrong = Vec::new();
    for (control, cells) in
        [(CongestionControl::Reno, &linux::RENO), (CongestionControl::Cubic, &linux::CUBIC)]
    {
        for cell in cells {
            let mut times: Vec<f64> =
                size.seeds(15, 1).map(|seed| completion(control, cell, seed)).collect();
            times.sort_unstable_by(f64::total_cmp);
            let ours = median(times.iter().copied());
            let decile = |n: usize| seconds(times[(times.len() * n / 10).min(times.len() - 1)]);
            let spread = format!("{}–{}", decile(1), decile(9));
            let linux = cell.median.unwrap_or(f64::INFINITY);
            let (least, most) = cell.range;
            let measured = format!("{} ({}–{})", seconds(linux), seconds(least), seconds(most));
            let ratio = ours / linux;
            let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() };
            let name = format!("{control:?}");
            let line = format!(
                "{name:<7}  {:>8}  {:>6}  {:>8}  {spread:<17}  {measured:<29}  {ratio:>5}",
                cell.delay,
                cell.loss,
                seconds(ours),
            );
            let near =
                (linux / 2.0..=linux * 2.0).contains(&ours) || (least..=most).contains(&ours);
            if cell.delay >= 1 && cell.loss <= 10 && !near {
                wrong.push(line.clone());
            }
            let _ = writeln!(table, "{line}");
        }
    }
    assert!(wrong.is_empty(), "outside of the bounds:\n{}\n\n{table}", wrong.join("\n"));
    size.check_table("completion", &table);
}
