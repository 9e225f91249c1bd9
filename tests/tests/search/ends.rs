//! Streams that end before their writers end them: a part that is taken for the whole.

use std::io;
use std::time::Duration;

use sim_check::{Check, Family, Origin, Profile, Verdict, check};
use sim_core::World;
use sim_core::stream::{StreamReader, StreamWriter};
use sim_net::Recording;
use sim_net::plan::{Entry, FIN_RECEIVER, FaultSite};

const SERVER: (&str, u16) = ("server", 7000);
const BODY: usize = 300;
const HEADER: usize = 4;

/// Who reads a body until the stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Client {
    /// It takes what there is for the body.
    Trusting,
    /// It looks whether that is as long as the header says, and asks again if not.
    Counting,
}

fn body() -> Vec<u8> {
    (0..BODY).map(|at| at as u8).collect()
}

/// The body that a server has, if the connection did not break.
async fn fetch(world: &World, client: Client) -> io::Result<Option<Vec<u8>>> {
    let lp = world.host("client");
    let (mut reader, writer) = lp.open_connection(SERVER).await?;
    writer.write(b"GET\n");
    let read = reader.read_to_end().await;
    writer.close();
    let answer = read?;
    let Some((header, body)) = answer.split_at_checked(HEADER) else { return Ok(None) };
    let length = u32::from_be_bytes(header.try_into().expect("it has four bytes"));
    let is_whole = client == Client::Trusting || body.len() == length as usize;
    Ok(is_whole.then(|| body.to_vec()))
}

/// A client fetches a body and asks again while connections break. What it takes for the body is the body.
async fn fetches(world: World, client: Client) -> io::Result<()> {
    let serve = |mut reader: StreamReader, writer: StreamWriter| async move {
        if reader.read_exact(4).await.is_ok() {
            writer.write(&(BODY as u32).to_be_bytes());
            body().chunks(100).for_each(|part| writer.write(part));
            let _ = writer.drain().await;
        }
        writer.close();
        Ok::<(), io::Error>(())
    };
    let server = world.host("server");
    let _listening = server.start_server(SERVER, serve).await?;
    let lp = world.host("client");
    // Behind the end of all faults it is well.
    for _ in 0..200 {
        // The server may have been told of a reset alone, and answer nothing.
        let fetched = lp.timeout(Duration::from_secs(5), fetch(&world, client)).await;
        match fetched.unwrap_or(Ok(None)) {
            Ok(Some(found)) if found == body() => return Ok(()),
            Ok(Some(found)) => {
                let part = format!("{} bytes were taken for the body", found.len());
                return Err(io::Error::other(part));
            }
            Ok(None) | Err(_) => lp.sleep(Duration::from_secs(1)).await,
        }
    }
    Err(io::Error::other("nothing was fetched"))
}

async fn trusts(world: World) -> io::Result<()> {
    fetches(world, Client::Trusting).await
}

async fn counts(world: World) -> io::Result<()> {
    fetches(world, Client::Counting).await
}

fn fetching(profile: Profile) -> Check {
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    check("fetch").seeds(400).latency(latency).profile(profile)
}

/// One line, about the server's stream, is left of the first failure.
#[track_caller]
fn assert_is_one_end(verdict: &Verdict) {
    let explanation = verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}"));
    let plan = &explanation.shrunk.plan;
    let [Entry::Deviation(end)] = &plan.faults().collect::<Vec<_>>()[..] else { panic!("{plan}") };
    assert_eq!(
        (end.site, end.value, explanation.bound),
        (FaultSite::Fin, FIN_RECEIVER, 1),
        "{plan}"
    );
    let text = plan.to_string();
    assert!(text.contains("\nfin@") && text.contains("client@1←server:7000#1"), "{text}");
}

/// Each place of each stream was tried, and every part of a body that there is was taken for one; the client that
/// counts asks again.
#[test]
fn a_part_that_is_taken_for_the_whole_is_found_by_single_faults() {
    let profile = || Profile::only([Family::EarlyEnd]);
    let verdict = fetching(profile()).verdict(trusts);
    let singles = verdict.failures.iter().filter(|it| matches!(it.origin, Origin::Single(_)));
    let found = singles.count();
    // Behind the header and before the end of the body; failures are kept up to a number.
    assert!(found > 30, "{found}: {verdict}");
    let [coverage] = verdict.coverage[..] else { panic!("{verdict}") };
    let places = (HEADER + BODY + 1 + "GET\n".len() + 1) as u64;
    assert_eq!(
        (coverage.family, coverage.done, coverage.total),
        (Family::EarlyEnd, places, places)
    );
    assert_is_one_end(&verdict);
    let verdict = fetching(profile()).verdict(counts);
    assert!(verdict.is_green(), "{verdict}");
    assert!(verdict.faults["stream.fin"] > places, "{verdict}");
}

/// So it is by seeds under everything, of which nothing else is left; and by those that have this alone.
#[test]
fn a_part_that_is_taken_for_the_whole_is_found_by_seeds() {
    for profile in [Profile::swarm().without(Family::Crash), Profile::only([Family::EarlyEnd])] {
        let check = fetching(profile).singles(false).seeds(100);
        let verdict = check.verdict(trusts);
        assert!(verdict.failed > 5, "{verdict}");
        assert_is_one_end(&verdict);
        let verdict = check.verdict(counts);
        assert!(verdict.is_green(), "{verdict}");
        assert!(verdict.faults["stream.fin"] > 10, "{verdict}");
    }
}

/// What is recorded of a seed with such ends is a plan that gives the same run, of which every entry finds its event.
#[test]
fn a_seed_with_early_ends_is_run_again_from_its_plan() {
    let mut ends = 0;
    // Every other one is a storm.
    for seed in (0..320).step_by(8) {
        let check = fetching(Profile::swarm().without(Family::Crash));
        let sim = check.simulation(seed, counts);
        let found = sim.clone().record(Recording::new()).run(counts);
        let plan = found.recording.as_ref().expect("it was written down");
        ends += plan.to_string().matches("\nfin@").count();
        let again = sim.replay(plan).unwrap().run(counts);
        assert_eq!(again.hash, found.hash, "{plan}");
        assert_eq!(again.bindings.unbound().count(), 0, "{plan}");
    }
    assert!(ends > 10, "{ends}");
}
