//! A chat room: every line goes to everybody, and who reads slowly hurts nobody else.
//!
//! The workload seats a few talkers and two lazy members: one stops reading for a while, one stops
//! for good. The talkers speak in rounds; the next round starts when everyone who reads has heard
//! the last. Invariants: those who read hear every line, all in the same order; the one who rested
//! hears every line or how many it missed; the one who never reads is thrown out.
//!
//! | where | what |
//! | --- | --- |
//! | [`lines`] | lines on a stream |
//! | [`Room`], [`Seat`] | the server: who is there, and one member's connection |
//! | [`Member`] | the client |

pub mod lines;
mod member;
mod room;

use sim_core::{Conn, Failure, FaultMix, Loop, Scenario, World, WriteBufferLimits};

pub use self::member::{Heard, Member};
pub use self::room::{Room, Seat};
use crate::Violation;
use crate::patience::within;
use crate::violation::ensure;

const PORT: u16 = 7000;
/// What TCP stands. A lost connection would be a member who leaves.
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=1%,reorder=1%");
/// Small socket buffers, so that a member who does not read is noticed soon.
const SOCKET_BUFFER_BYTES: usize = 8 << 10;
/// How much waits for a member before lines for it are left out. A round of the workload is less.
const LIMITS: WriteBufferLimits = WriteBufferLimits { high: 8 << 10, low: 2 << 10 };
/// How many lines a member may miss before it is thrown out.
const MISSED_MAX: u64 = 100;

/// How many lines are said in all, about: enough to throw out a member who never reads.
const LINES: u64 = 300;
/// How many are said, about, while the lazy member rests: fewer than it may miss.
const LINES_AT_REST: u64 = 80;
/// The length of a line, at least and less than.
const LINE_BYTES: std::ops::Range<u64> = 800..1_000;

/// The scenario `chat`.
pub fn scenario() -> Scenario {
    let summary = "everybody hears every line in one order, and slow readers hurt nobody else";
    Scenario::new("chat", summary, run)
        .serve(|lp, listen| async move {
            let room = Room::new(WriteBufferLimits::default(), MISSED_MAX);
            let server = lp.create_server(listen, move || Seat::new(&room)).await?;
            Ok(server.into())
        })
        .faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let host = world.host("server");
    let room = Room::new(LIMITS, MISSED_MAX);
    let seats = room.clone();
    let server = host
        .server()
        .send_buffer(SOCKET_BUFFER_BYTES)
        .bind(("server", PORT), move || Seat::new(&seats))
        .await?;

    let mut talkers = Vec::new();
    for index in 0..world.size("chat.talkers", 2..=5) {
        talkers.push(join(&world, &format!("talker-{index}")).await?);
    }
    let (resting, stuck) = (join(&world, "resting").await?, join(&world, "stuck").await?);
    resting.transport().pause_reading();
    stuck.transport().pause_reading();

    let (rounds, rounds_at_rest) = rounds(talkers.len() as u64);
    let mut rng = world.rng("lines");
    for round in 0..rounds {
        if round == rounds_at_rest {
            resting.transport().resume_reading();
        }
        for (index, talker) in talkers.iter().enumerate() {
            let line = line_of(rng.range(LINE_BYTES) as usize, round, index);
            talker.with(|_, cx| cx.writelines([&line[..], "\n"]));
        }
        let said = (round + 1) * talkers.len() as u64;
        for talker in &talkers {
            heard(&host, talker, said).await?;
        }
        if round >= rounds_at_rest {
            heard(&host, &resting, said).await?;
        }
    }

    let reference = talkers[0].with(|member, _| member.take_heard());
    expect_every_line(&reference, talkers.len(), rounds)?;
    for talker in &talkers[1..] {
        let same = talker.with(|member, _| member.take_heard() == reference);
        ensure!(same, "two members heard the lines in different orders");
    }
    let rested = resting.with(|member, _| member.take_heard());
    let accounted = account(&rested, &reference)?;
    ensure!(accounted == reference.len(), "{accounted} of {} lines accounted", reference.len());
    expect_thrown_out(&host, &room, &stuck, &reference).await?;

    for member in talkers.iter().chain([&resting]) {
        member.transport().write_eof();
        within(&host, "a member's end", member.closed()).await??;
    }
    server.close();
    within(&host, "the end of the server's connections", server.wait_closed()).await?;
    ensure!(room.is_empty(), "somebody is left in the room");
    Ok(())
}

/// How many rounds there are, and how many of them the lazy member rests.
fn rounds(talkers: u64) -> (u64, u64) {
    (LINES.div_ceil(talkers), LINES_AT_REST / talkers)
}

/// Connects a member from a host of its name, and waits until it is seated.
async fn join(world: &World, name: &str) -> Result<Conn<Member>, Failure> {
    let lp = world.host(name);
    let connecting = lp
        .connection()
        .receive_buffer(SOCKET_BUFFER_BYTES)
        .connect(("server", PORT), || Member::new(name));
    let conn = within(&lp, "a member's connection", connecting).await??;
    let seated = conn.with(|member, cx| member.seated(cx.event_loop()));
    within(&lp, "a member's welcome", seated).await??;
    Ok(conn)
}

/// Waits until `member` has heard, or was told that it missed, `lines` lines.
async fn heard(host: &Loop, member: &Conn<Member>, lines: u64) -> Result<(), Failure> {
    let (what, heard) = member.with(|member, cx| {
        let what = format!("{} hearing {lines} lines", member.name());
        (what, member.hears(cx.event_loop(), lines))
    });
    within(host, &what, heard).await??;
    Ok(())
}

/// Something to say, of `bytes` bytes: which round and whose it is, and padding.
fn line_of(bytes: usize, round: u64, talker: usize) -> String {
    format!("{:.<bytes$}", format!("{round}/{talker}/"))
}

/// Holds if `heard` is what every talker said, in its order, round by round.
fn expect_every_line(heard: &[Heard], talkers: usize, rounds: u64) -> Result<(), Violation> {
    let expected = rounds as usize * talkers;
    ensure!(heard.len() == expected, "{} of {expected} lines were heard", heard.len());
    for (round, lines) in (0..).zip(heard.chunks(talkers)) {
        for talker in 0..talkers {
            let start = format!("talker-{talker}: {round}/{talker}/");
            let said = lines.iter().any(|line| line.text().is_some_and(|t| t.starts_with(&start)));
            ensure!(said, "round {round}: nobody heard talker {talker}");
        }
    }
    Ok(())
}

/// How many lines of `reference` what a lazy member heard accounts for: heard in order, or reported
/// as missed.
fn account(heard: &[Heard], reference: &[Heard]) -> Result<usize, Violation> {
    let mut place = 0;
    for event in heard {
        match event {
            Heard::Missed(lines) => place += *lines as usize,
            Heard::Line(line) => {
                let expected = reference.get(place).and_then(Heard::text);
                ensure!(
                    expected == Some(line),
                    "line {place} is another than the others heard, or reported as missed"
                );
                place += 1;
            }
        }
    }
    Ok(place)
}

/// Holds if `stuck` was thrown out: it finds a prefix of the lines, and then the connection reset.
async fn expect_thrown_out(
    host: &Loop,
    room: &Room,
    stuck: &Conn<Member>,
    reference: &[Heard],
) -> Result<(), Failure> {
    ensure!(room.thrown_out() == 1, "{} members were thrown out, not one", room.thrown_out());
    stuck.transport().resume_reading();
    let ended = within(host, "the end of who was thrown out", stuck.closed()).await?;
    ensure!(ended.is_err(), "who was thrown out did not notice");
    account(&stuck.with(|member, _| member.take_heard()), reference)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Heard {
        Heard::Line(text.into())
    }

    #[test]
    fn a_lazy_member_accounts_for_every_line_by_hearing_or_missing_it() {
        let reference = ["a", "b", "c", "d"].map(line);
        assert_eq!(account(&reference, &reference), Ok(4));
        assert_eq!(account(&[line("a"), Heard::Missed(2), line("d")], &reference), Ok(4));
        assert_eq!(account(&[line("a")], &reference), Ok(1));
        assert!(account(&[line("b")], &reference).is_err());
        assert!(account(&[Heard::Missed(4), line("d")], &reference).is_err());
    }

    #[test]
    fn the_workload_throws_out_who_never_reads_and_not_who_rests() {
        for talkers in 2..=5 {
            let (rounds, rounds_at_rest) = rounds(talkers);
            assert!(rounds_at_rest * talkers <= MISSED_MAX);
            assert!(talkers * LINE_BYTES.end < LIMITS.high as u64, "a round is less than the mark");
            // What waits in the buffers of both sockets, which a kernel doubles, and above the mark.
            let buffered = 4 * SOCKET_BUFFER_BYTES as u64 + LIMITS.high as u64;
            assert!(rounds * talkers > MISSED_MAX + buffered / LINE_BYTES.start + talkers);
        }
    }
}
