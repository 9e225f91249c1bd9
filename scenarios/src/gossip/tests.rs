//! Groups of state machines over a pipe that loses and delays.

use sim_core::Rng;

use super::Flaw;
use super::message::{Health, Member, Message};
use super::swim::Swim;

/// A group, and what is on its way.
struct Group {
    members: Vec<Option<Swim>>,
    /// Each message with its receiver.
    wire: Vec<(Member, Message)>,
    rng: Rng,
    /// How many of a hundred messages are lost.
    loss: u64,
    flaw: Flaw,
    deaths: u32,
}

impl Group {
    fn new(size: u32, seed: u8, loss: u64, flaw: Flaw) -> Self {
        let rng = Rng::from_seed([seed; 32]);
        let mut group = Self { members: Vec::new(), wire: Vec::new(), rng, loss, flaw, deaths: 0 };
        for member in 0..size {
            let swim = group.fresh(member, size);
            group.members.push(Some(swim));
        }
        group
    }

    fn fresh(&mut self, member: Member, size: u32) -> Swim {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        Swim::new(member, size, Rng::from_seed(seed), self.flaw)
    }

    fn start(&mut self, member: Member) {
        let size = self.members.len() as u32;
        self.members[member as usize] = Some(self.fresh(member, size));
    }

    fn live(&mut self, periods: u32) {
        for _ in 0..periods {
            for half in 0..2 {
                for swim in self.members.iter_mut().flatten() {
                    let mut send = |to, message: &Message| self.wire.push((to, message.clone()));
                    match half {
                        0 => swim.begin_period(&mut send),
                        _ => swim.ask_others(&mut send),
                    }
                }
                self.deliver();
            }
        }
    }

    /// Delivers in any order what is not lost, and what it brings about.
    fn deliver(&mut self) {
        while !self.wire.is_empty() {
            let next = self.rng.below(self.wire.len() as u64) as usize;
            let (to, message) = self.wire.swap_remove(next);
            if self.rng.ratio(self.loss, 100) {
                continue;
            }
            if let Some(swim) = &mut self.members[to as usize] {
                swim.receive(&message, &mut |to, message| self.wire.push((to, message.clone())));
                let deaths = swim.take_changes();
                self.deaths +=
                    deaths.iter().filter(|news| news.health == Health::Dead).count() as u32;
            }
        }
    }

    /// True if everybody who is there takes exactly those for dead who are not.
    fn agrees(&self) -> bool {
        let gone = || (0..).zip(&self.members).filter(|(_, swim)| swim.is_none());
        let is_right = |swim: &Swim| swim.dead().eq(gone().map(|(member, _)| member));
        self.members.iter().flatten().all(is_right)
    }
}

#[test]
fn loss_alone_kills_nobody() {
    for seed in 0..60 {
        let size = 2 + u32::from(seed) % 24;
        let mut group = Group::new(size, seed, 5, Flaw::None);
        group.live(300);
        assert_eq!((group.deaths, group.agrees()), (0, true), "seed {seed}, {size} members");
    }
}

#[test]
fn everybody_learns_of_a_death_and_of_a_return() {
    for seed in 0..40 {
        let size = 3 + u32::from(seed);
        let mut group = Group::new(size, seed, 5, Flaw::None);
        group.live(5);
        group.members[1] = None;
        group.live(2 * size + 3 * Swim::suspicion_periods(size) as u32);
        assert!(group.agrees(), "seed {seed}: the death of one of {size}");
        group.start(1);
        group.live(2 * size + 20);
        assert!(group.agrees(), "seed {seed}: the return of one of {size}");
    }
}

#[test]
fn halves_that_took_each_other_for_dead_find_together() {
    for seed in 0..10 {
        let mut group = Group::new(8, seed, 5, Flaw::None);
        let half: Vec<_> = group.members[4..].iter_mut().map(Option::take).collect();
        group.live(80);
        assert!(group.agrees());
        for (seat, swim) in group.members[4..].iter_mut().zip(half) {
            *seat = swim;
        }
        group.live(40);
        assert!(group.agrees(), "seed {seed}");
    }
}

#[test]
fn each_flaw_kills_somebody_or_hides_something() {
    for flaw in [Flaw::NoIncarnationCheck, Flaw::NoRefutation, Flaw::NoSuspicion] {
        let wrong = (0..20).any(|seed| {
            let mut group = Group::new(9, seed, 10, flaw);
            group.live(300);
            if group.deaths > 0 || !group.agrees() {
                return true;
            }
            group.members[1] = None;
            group.live(100);
            group.start(1);
            group.live(100);
            !group.agrees()
        });
        assert!(wrong, "{flaw:?}");
    }
}

#[test]
fn the_cost_of_a_period_does_not_grow_with_the_group() {
    let messages = |size: u32| {
        let mut swim = Swim::new(0, size, Rng::from_seed([9; 32]), Flaw::None);
        let mut count = 0;
        swim.begin_period(&mut |_, _| count += 1);
        swim.ask_others(&mut |_, _| count += 1);
        count
    };
    assert!(messages(10) <= 4 && messages(1_000_000) <= 4);
}
