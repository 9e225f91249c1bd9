//! Of many failures some are kept, and all are counted: the same ones on any number of threads.

use std::io;

use sim_check::{Signature, Verdict, check};
use sim_core::World;

const SEEDS: u64 = 400;

/// Fails with every seed: nearly always in one way, and now and then in one of a few others.
async fn fails(world: World) -> io::Result<()> {
    let mut dice = world.rng("dice");
    Err(io::Error::other(match dice.below(100) {
        0..97 => "the common way".to_owned(),
        _ => format!("a rare way called {}", char::from(b'a' + dice.below(20) as u8)),
    }))
}

fn verdict(jobs: usize) -> Verdict {
    check("fails").seeds(SEEDS).jobs(jobs).shrinks(false).verdict(fails)
}

/// Where it came from and what it is, of each failure that is kept.
fn kept(verdict: &Verdict) -> Vec<(u64, Signature)> {
    verdict.failures.iter().map(|failed| (failed.seed(), failed.signature.clone())).collect()
}

/// The first hundred, and behind them what is the first of its kind.
fn expected() -> Vec<(u64, Signature)> {
    let mut kept: Vec<(u64, Signature)> = Vec::new();
    for seed in 0..SEEDS {
        let alone = check("fails").seeds(1).first_seed(seed).shrinks(false).verdict(fails);
        let signature = alone.failures[0].signature.clone();
        if kept.len() < 100 || kept.iter().all(|(_, known)| *known != signature) {
            kept.push((seed, signature));
        }
    }
    kept
}

#[test]
fn the_first_hundred_and_the_first_of_each_kind_are_kept_and_the_others_counted() {
    let (one, two, expected) = (verdict(1), verdict(2), expected());
    assert!((102..120).contains(&expected.len()), "rare ones come late: {}", expected.len());
    assert_eq!(kept(&one), expected);
    assert_eq!(kept(&two), expected);
    assert_eq!((one.failed, two.failed), (SEEDS, SEEDS));
    let text = one.to_string();
    let counted = SEEDS - expected.len() as u64;
    assert!(text.contains(&format!("\n{SEEDS} runs failed, of {SEEDS} seeds (")), "{text}");
    let honest = format!(
        "\nkept are the first 100 of them and one each of up to 100 further kinds; \
         {counted} are counted and no more"
    );
    assert!(text.contains(&honest), "{text}");
    let mut kinds: Vec<&Signature> = expected.iter().map(|(_, signature)| signature).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(text.contains(&format!("\n{} different failures: ", kinds.len())), "{text}");
}

#[test]
fn of_failures_that_are_all_different_there_is_an_end_too() {
    let verdict = check("babel").seeds(300).shrinks(false).verdict(|world: World| async move {
        let mut letters = world.rng("letters");
        let word: String = (0..9).map(|_| char::from(b'a' + letters.below(26) as u8)).collect();
        Err::<(), _>(io::Error::other(word))
    });
    assert_eq!((verdict.failed, verdict.failures.len()), (300, 200));
    assert!(verdict.to_string().contains("\nat least 200 different failures: "), "{verdict}");
}
