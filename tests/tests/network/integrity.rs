//! Every byte arrives, through delay, loss, reordering and duplicates.

use std::fmt::Write as _;
use std::time::Duration;

use sim_net::{Link, Sim};

use crate::linux;
use crate::seeds::{Size, median};
use crate::transfer::{MEBIBYTE, exchange, retransmissions};

const HOUR: Duration = Duration::from_secs(3_600);

/// What came of one seed of a cell.
struct Run {
    /// When both had everything, in seconds; none if an hour was not enough.
    took: Option<f64>,
    retransmissions: u64,
}

fn run(delay: u64, loss: u64, seed: u64) -> Run {
    let link = format!("latency={delay}ms,loss={loss}%,dup=1%,reorder=2%/3");
    let link: Link = link.parse().expect("a link");
    let sim = Sim::new(seed).link(link).trace(true);
    let report = sim.run(|world| exchange(world, true, HOUR));
    let cell = format!("delay {delay} ms, loss {loss} %, seed {seed}");
    let ends = report.outcome.unwrap_or_else(|finding| panic!("{cell}: {finding}"));
    for end in &ends {
        let error = end.lost.as_ref().and_then(|(error, _)| error.as_ref());
        assert!(error.is_none(), "{cell}: {error:?} after {} bytes", end.received);
        assert!(end.received > 0, "{cell}: no progress");
    }
    let all = ends.iter().all(|end| end.received == MEBIBYTE && end.ended.is_some());
    assert!(all || loss > 10, "{cell}: {:?} bytes in an hour", ends.map(|end| end.received));
    let ended = ends.iter().filter_map(|end| end.ended).max().filter(|_| all);
    let took = ended.map(|time| time.since_epoch().as_secs_f64());
    let log = report.log.expect("it was asked for");
    Run { took, retransmissions: retransmissions(&log) }
}

/// L-111, L-112: delay {0, 1, 10, 50, 300 ms} × loss {0, 1, 5, 10, 20 %}, a mebibyte each way at
/// once, with reordering and duplicates: no run fails, none takes an hour up to 10 % loss.
#[test]
fn every_byte_arrives_both_ways() {
    let size = Size::of_run();
    let mut table = String::from(
        "1 MiB each way at once; 2 % of the packets held back for 3 others, 1 % twice. Linux's figures\n\
         (CUBIC): one way, neither reordering nor duplicates.\n\n\
         delay ms  loss %  done     median s  longest s  sent again  Linux: median (range) s\n",
    );
    for cell in &linux::CUBIC {
        let runs: Vec<Run> =
            size.seeds(6, 1).map(|seed| run(cell.delay, cell.loss, seed)).collect();
        let took = |run: &Run| run.took.unwrap_or(f64::INFINITY);
        let done = runs.iter().filter(|run| run.took.is_some()).count();
        let longest = runs.iter().map(took).fold(0.0, f64::max);
        let again = median(runs.iter().map(|run| run.retransmissions as f64));
        let _ = writeln!(
            table,
            "{:>8}  {:>6}  {:<8} {:>8}  {:>9}  {again:>10.0}  {} ({}–{})",
            cell.delay,
            cell.loss,
            format!("{done}/{}", runs.len()),
            seconds(median(runs.iter().map(took))),
            seconds(longest),
            seconds(cell.median.unwrap_or(f64::INFINITY)),
            seconds(cell.range.0),
            seconds(cell.range.1),
        );
    }
    size.check_table("integrity", &table);
}

/// A time of a table: nobody waited for what has no figure.
pub(crate) fn seconds(time: f64) -> String {
    if time.is_finite() { format!("{time:.3}") } else { "> limit".to_owned() }
}
