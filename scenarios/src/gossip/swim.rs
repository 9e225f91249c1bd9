//! The protocol of a member, as a state machine.

use std::collections::BTreeMap;
use std::fmt;

use sim_core::Rng;

use super::Flaw;
use super::message::{Health, Kind, Member, Message, NEWS_MAX, News, NewsList};

/// How many others are asked to ask, when a member does not answer.
const HELPERS: usize = 3;
/// How many news wait to be told, at most. More push out those that were told most often.
const GOSSIP_MAX: usize = 64;

/// A member of a group: who it takes for alive, and what it says next.
///
/// A value without I/O or clock, after Das, Gupta and Motivala, *SWIM* (2002), with the refutation of a
/// death as in memberlist. What it takes in is a message or the passing of half a period, and what
/// it gives out goes to `send`. The roster, who may be a member at all, is known; that somebody in it is
/// alive in incarnation 0 is what it takes for granted, so it keeps only what differs from that.
/// Its cost, per message and per period, does not depend on the size of the roster.
///
/// It counts its own periods, not time: when the machine that it runs on stands still, so do they.
#[derive(Debug)]
pub struct Swim {
    me: Member,
    size: u32,
    incarnation: u32,
    /// Of whom something else is known than being alive in incarnation 0.
    known: BTreeMap<Member, Known>,
    /// The members of `known` that are suspected.
    suspects: Vec<Member>,
    gossip: Vec<Gossip>,
    turn: Rotation,
    probe: Option<Probe>,
    next_sequence: u32,
    periods: u64,
    rng: Rng,
    flaw: Flaw,
    /// The latest deaths and lives that it declared or heard of, to be taken by whoever watches.
    changes: Vec<News>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    incarnation: u32,
    health: Health,
    /// The period in which it was heard.
    since: u64,
}

#[derive(Debug, Clone, Copy)]
struct Gossip {
    news: News,
    told: u32,
}

/// A question that waits for its answer, until the end of the period.
#[derive(Debug, Clone, Copy)]
struct Probe {
    target: Member,
    sequence: u32,
}

/// An order of all members, made as it is needed: every one comes once in a round.
#[derive(Debug, Default)]
struct Rotation {
    at: u64,
    step: u64,
    left: u32,
}

impl fmt::Display for Swim {
    /// Its incarnation, and who is not alive: `incarnation 1, suspects 4, dead 2 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incarnation {}", self.incarnation)?;
        let mut all_alive = true;
        for (health, name) in [(Health::Suspect, "suspects"), (Health::Dead, "dead")] {
            let of = self.known.iter().filter(|(_, known)| known.health == health);
            let members: Vec<String> = of.map(|(member, _)| member.to_string()).collect();
            if !members.is_empty() {
                all_alive = false;
                write!(f, ", {name} {}", members.join(" "))?;
            }
        }
        if all_alive { f.write_str(", all alive") } else { Ok(()) }
    }
}

impl Rotation {
    fn next(&mut self, size: u32, rng: &mut Rng) -> Member {
        let size = u64::from(size);
        if self.left == 0 {
            self.left = size as u32;
            self.at = rng.below(size);
            // A step without a divisor in common with the size visits everybody.
            self.step = rng.range(1..size.max(2));
            while gcd(self.step, size) != 1 {
                self.step = self.step % size + 1;
            }
        }
        self.left -= 1;
        self.at = (self.at + self.step) % size;
        self.at as Member
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// How many binary digits a number of members has: news reach everybody in about so many periods.
fn digits(size: u32) -> u32 {
    u32::BITS - size.leading_zeros()
}

impl Swim {
    /// Member `me` of a roster of `size`.
    ///
    /// # Panics
    ///
    /// If there is no such member, or it is the only one.
    pub fn new(me: Member, size: u32, rng: Rng, flaw: Flaw) -> Self {
        assert!(me < size && size > 1, "Swim::new({me}, {size}): no such member, or no other");
        Self {
            me,
            size,
            incarnation: 0,
            known: BTreeMap::new(),
            suspects: Vec::new(),
            gossip: Vec::new(),
            turn: Rotation::default(),
            probe: None,
            next_sequence: 0,
            periods: 0,
            rng,
            flaw,
            changes: Vec::new(),
        }
    }

    /// How many of its periods a member has to say that it is alive, in a roster of `size`.
    pub fn suspicion_periods(size: u32) -> u64 {
        4 + 4 * u64::from(digits(size))
    }

    /// How often each member tells the same news, in a roster of `size`.
    fn tell_max(size: u32) -> u32 {
        4 + 3 * digits(size)
    }

    /// The members that it takes for dead, in order.
    pub fn dead(&self) -> impl Iterator<Item = Member> + '_ {
        let dead = self.known.iter().filter(|(_, known)| known.health == Health::Dead);
        dead.map(|(member, _)| *member)
    }

    /// What it takes `member` for.
    pub fn health(&self, member: Member) -> Health {
        self.known.get(&member).map_or(Health::Alive, |known| known.health)
    }

    /// Its own incarnation: how often it had to say that it is alive.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The deaths that it took for true, and what it heard of the dead, since this was asked last.
    pub fn take_changes(&mut self) -> Vec<News> {
        std::mem::take(&mut self.changes)
    }

    /// A period begins: who did not answer in the last one is suspected, who was suspected for too
    /// long is dead, and the next one is asked.
    pub fn begin_period(&mut self, send: &mut impl FnMut(Member, &Message)) {
        self.periods += 1;
        if let Some(probe) = self.probe.take() {
            let News { incarnation, health, .. } = self.belief(probe.target);
            if health == Health::Alive {
                self.learn(News { about: probe.target, incarnation, health: Health::Suspect });
            }
        }
        self.bury();
        let mut target = self.turn.next(self.size, &mut self.rng);
        while target == self.me {
            target = self.turn.next(self.size, &mut self.rng);
        }
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let sequence = self.next_sequence;
        // The dead are asked too, so that two halves of a group find each other again.
        self.probe = Some(Probe { target, sequence });
        self.say(Kind::Ping, target, self.me, sequence, send);
    }

    /// Some of the period has passed: if there is no answer yet, others are asked to ask.
    pub fn ask_others(&mut self, send: &mut impl FnMut(Member, &Message)) {
        let Some(Probe { target, sequence }) = self.probe else { return };
        if self.health(target) == Health::Dead {
            return;
        }
        for _ in 0..HELPERS {
            let helper = self.rng.below(self.size.into()) as Member;
            let apt = helper != self.me && helper != target;
            if apt && self.health(helper) != Health::Dead {
                self.say(Kind::PingRequest { target }, helper, self.me, sequence, send);
            }
        }
    }

    /// A message came.
    pub fn receive(&mut self, message: &Message, send: &mut impl FnMut(Member, &Message)) {
        let Message { kind, from, incarnation, origin, sequence, ref news } = *message;
        if from >= self.size || origin >= self.size || from == self.me {
            return;
        }
        self.learn(News { about: from, incarnation, health: Health::Alive });
        for news in news.as_slice() {
            if news.about < self.size {
                self.learn(*news);
            }
        }
        match kind {
            Kind::Ping => self.say(Kind::Ack, from, origin, sequence, send),
            Kind::PingRequest { target } if target < self.size && target != self.me => {
                self.say(Kind::Ping, target, origin, sequence, send);
            }
            Kind::PingRequest { .. } => {}
            Kind::Ack if origin == self.me => {
                self.probe.take_if(|probe| probe.sequence == sequence);
            }
            Kind::Ack => self.say(Kind::Ack, origin, origin, sequence, send),
        }
    }

    fn belief(&self, about: Member) -> News {
        match self.known.get(&about) {
            Some(known) => News { about, incarnation: known.incarnation, health: known.health },
            None => News { about, incarnation: 0, health: Health::Alive },
        }
    }

    /// Takes in news, and tells them on if they are new.
    fn learn(&mut self, news: News) {
        if news.about == self.me {
            return self.defend(news);
        }
        let belief = self.belief(news.about);
        if !news.is_later_than(&belief) {
            if belief.is_later_than(&news) {
                // Somebody believes what is out of date: this is told again.
                self.tell(belief);
            }
            return;
        }
        if belief.health == Health::Suspect {
            self.suspects.retain(|suspect| *suspect != news.about);
        }
        if news.health == Health::Suspect {
            self.suspects.push(news.about);
        }
        if news.health == Health::Dead || belief.health == Health::Dead {
            self.changes.push(news);
        }
        let News { incarnation, health, .. } = news;
        self.known.insert(news.about, Known { incarnation, health, since: self.periods });
        self.tell(news);
    }

    /// Somebody says something about this member itself.
    fn defend(&mut self, news: News) {
        let accused = news.health != Health::Alive && news.incarnation == self.incarnation;
        // An incarnation that this member never had is one of its former life.
        let former = news.incarnation > self.incarnation && self.flaw != Flaw::NoIncarnationCheck;
        if former || (accused && self.flaw != Flaw::NoRefutation) {
            self.incarnation = news.incarnation + 1;
            let me = News { about: self.me, incarnation: self.incarnation, health: Health::Alive };
            self.tell(me);
        }
    }

    /// Declares those dead who were suspected for long enough.
    fn bury(&mut self) {
        let after = match self.flaw {
            Flaw::NoSuspicion => 0,
            _ => Self::suspicion_periods(self.size),
        };
        let mut index = 0;
        while let Some(&suspect) = self.suspects.get(index) {
            let known = self.known[&suspect];
            if self.periods - known.since >= after {
                let incarnation = known.incarnation;
                // It leaves the list of suspects with that.
                self.learn(News { about: suspect, incarnation, health: Health::Dead });
            } else {
                index += 1;
            }
        }
    }

    /// Has news told, instead of what was told of the same member.
    fn tell(&mut self, news: News) {
        self.gossip.retain(|gossip| gossip.news.about != news.about);
        if self.gossip.len() == GOSSIP_MAX {
            let most = (0..GOSSIP_MAX).max_by_key(|index| self.gossip[*index].told);
            self.gossip.swap_remove(most.expect("it is full"));
        }
        self.gossip.push(Gossip { news, told: 0 });
    }

    fn say(
        &mut self,
        kind: Kind,
        to: Member,
        origin: Member,
        sequence: u32,
        send: &mut impl FnMut(Member, &Message),
    ) {
        let (from, incarnation, news) = (self.me, self.incarnation, NewsList::default());
        let mut message = Message { kind, from, incarnation, origin, sequence, news };
        self.choose_news(to, &mut message.news);
        send(to, &message);
    }

    /// Chooses what goes along with a message: what is said of its receiver, if that is bad, and then
    /// the news that were told least.
    fn choose_news(&mut self, to: Member, list: &mut NewsList) {
        let belief = self.belief(to);
        if belief.health != Health::Alive {
            list.push(belief);
        }
        if self.gossip.is_empty() {
            return;
        }
        self.gossip.sort_by_key(|gossip| gossip.told);
        for gossip in self.gossip.iter_mut().take(NEWS_MAX) {
            if gossip.news.about != to && list.push(gossip.news) {
                gossip.told += 1;
            }
        }
        let tell_max = Self::tell_max(self.size);
        self.gossip.retain(|gossip| gossip.told < tell_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swim(me: Member, size: u32) -> Swim {
        Swim::new(me, size, Rng::from_seed([me as u8; 32]), Flaw::None)
    }

    fn message(kind: Kind, from: Member, origin: Member, sequence: u32) -> Message {
        Message { kind, from, incarnation: 0, origin, sequence, news: NewsList::default() }
    }

    /// What a member sends when `act` is done to it.
    fn sent(act: impl FnOnce(&mut dyn FnMut(Member, &Message))) -> Vec<(Member, Message)> {
        let mut sent = Vec::new();
        act(&mut |to, message| sent.push((to, message.clone())));
        sent
    }

    #[test]
    fn a_round_asks_everybody_once() {
        let mut rng = Rng::from_seed([3; 32]);
        for size in 1..40 {
            let mut rotation = Rotation::default();
            for _ in 0..3 {
                let mut round: Vec<_> = (0..size).map(|_| rotation.next(size, &mut rng)).collect();
                round.sort_unstable();
                assert_eq!(round, (0..size).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_ping_is_answered_and_an_answer_passed_on() {
        let mut helper = swim(1, 4);
        let pings = sent(|mut send| helper.receive(&message(Kind::Ping, 0, 0, 7), &mut send));
        assert_eq!(pings, [(0, message(Kind::Ack, 1, 0, 7))]);
        let request = message(Kind::PingRequest { target: 3 }, 0, 0, 8);
        let asked = sent(|mut send| helper.receive(&request, &mut send));
        assert_eq!(asked, [(3, message(Kind::Ping, 1, 0, 8))]);
        let passed_on = sent(|mut send| helper.receive(&message(Kind::Ack, 3, 0, 8), &mut send));
        assert_eq!(passed_on, [(0, message(Kind::Ack, 1, 0, 8))]);
    }

    #[test]
    fn silence_is_suspected_and_in_the_end_death() {
        let mut swim = swim(0, 2);
        for _ in 0..3 {
            swim.begin_period(&mut |_, _| {});
        }
        assert_eq!(swim.health(1), Health::Suspect);
        for _ in 1..Swim::suspicion_periods(2) - 2 {
            swim.begin_period(&mut |_, _| {});
        }
        assert_eq!(swim.health(1), Health::Suspect);
        for _ in 0..3 {
            swim.begin_period(&mut |_, _| {});
        }
        assert_eq!(swim.dead().collect::<Vec<_>>(), [1]);
        let death = News { about: 1, incarnation: 0, health: Health::Dead };
        assert_eq!(swim.take_changes(), [death]);
    }

    #[test]
    fn whoever_is_suspected_says_that_it_is_alive_in_a_higher_incarnation() {
        let (mut accused, mut accuser) = (swim(1, 3), swim(0, 3));
        accuser.learn(News { about: 1, incarnation: 0, health: Health::Suspect });
        let pings = sent(|mut send| accuser.say(Kind::Ping, 1, 0, 1, &mut send));
        let acks = sent(|mut send| accused.receive(&pings[0].1, &mut send));
        assert_eq!(accused.incarnation(), 1);
        accuser.receive(&acks[0].1, &mut |_, _| {});
        assert_eq!((accuser.health(1), accuser.suspects.len()), (Health::Alive, 0));
        accuser.learn(News { about: 1, incarnation: 0, health: Health::Dead });
        assert_eq!(accuser.health(1), Health::Alive, "that is out of date");
    }

    #[test]
    fn a_member_that_starts_again_outbids_its_former_life() {
        let mut member = swim(1, 3);
        member.learn(News { about: 1, incarnation: 4, health: Health::Alive });
        assert_eq!(member.incarnation(), 5);
        member.learn(News { about: 1, incarnation: 5, health: Health::Alive });
        assert_eq!(member.incarnation(), 5);
        member.learn(News { about: 1, incarnation: 5, health: Health::Dead });
        assert_eq!(member.incarnation(), 6);
    }

    #[test]
    fn news_are_told_so_often_and_no_more_and_never_pile_up() {
        let mut swim = swim(0, 1_000);
        for about in 1..1_000 {
            swim.learn(News { about, incarnation: 1, health: Health::Alive });
        }
        assert_eq!(swim.gossip.len(), GOSSIP_MAX);
        let mut told = 0;
        while !swim.gossip.is_empty() {
            let mut list = NewsList::default();
            swim.choose_news(0, &mut list);
            told += list.as_slice().len();
        }
        assert_eq!(told, GOSSIP_MAX * Swim::tell_max(1_000) as usize);
    }
}
