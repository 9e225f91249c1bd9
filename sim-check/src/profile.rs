//! What may befall the worlds of a check, and what befalls each seed.
//!
//! A profile is a set of *families* of faults, with bounds. Each seed draws which families are on
//! (swarm testing: Groce et al., 2012): a tenth of the seeds are calm, a tenth have one family, most
//! have each with a chance of one half, some have all of them and some just two. A protocol that
//! stands everything at once may still fail under one thing alone, and the other way round.
//!
//! One seed in [`STORM_EVERY`], among them the first that a check runs by default, is a *storm*: everything at
//! once, and as often as the bounds let it, but nothing that has a time, such as a partition or a crash. Most bugs that
//! need some fault at some place fall to it at once; the others draw how often, and rarely draw that much.

mod scheduled;

use std::collections::BTreeSet;
use std::time::Duration;

use sim_core::{FaultMix, Rng, Time};
use sim_net::plan::{Entry, PlanError, Problem};
use sim_net::{Boundary, Chance, Latency, Link, LinkError, Plan, Probability, Sim, StreamFaults};

use crate::calm::AskCalm;
use crate::draws::{LENGTH_MAX, LIKELY_MAX, length, log_uniform_likely, rng};
use crate::family::Family;

/// What may befall the worlds of a check. The values are bounds: each seed draws which families are on, how often,
/// when, whom and for how long, up to them.
///
/// A seed that 16 divides is a *storm*, and so is the first that a check runs by default: all families at once, at
/// full strength, but [`Family::Ties`] and those that have a time ([`Family::Cut`], [`Family::Crash`], [`Family::Pause`],
/// [`Family::Freeze`], [`Family::Slow`], [`Family::Names`], [`Family::Clock`]). Links do what they do at most (where nothing bounds them, 5 % of everything), reads have a few
/// bytes, a fifth of what arrives is held up, and each twelfth write, accept or connect ends badly.
///
/// ```
/// use sim_check::{Family, Profile, check};
/// use sim_core::World;
/// use std::time::Duration;
///
/// async fn waits(world: World) {
///     world.host("n1").sleep(Duration::from_secs(1)).await;
/// }
///
/// let profile = Profile::swarm().without(Family::Crash);
/// check("waits").seeds(20).profile(profile).run(waits);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    families: BTreeSet<Family>,
    /// What links do at most; without it, what the check's links do, and chances up to [`LIKELY_MAX`].
    link: Option<Link>,
    /// How many cuts, crashes and pauses there are, at most, each.
    cuts: u32,
    crashes: u32,
    /// Who may crash or pause; everybody if it is `None`.
    mortals: Option<Vec<String>>,
    cut_for: Duration,
    down_for: Duration,
    /// How late the last of them may begin; 1.5 times the length of a calm run if it is `None`.
    within: Option<Duration>,
}

/// For how long a stream's faults hold things up, at most.
const HOLD_UP_MAX: Duration = Duration::from_millis(500);
/// How much longer a packet takes in a schedule, at most, beyond what it takes anyway.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// Of how many lengths packets are in a schedule of ties, and the least that one is longer than another.
const TIED_LENGTHS: u32 = 4;
const TIED_STEP_MIN: Duration = Duration::from_micros(100);
/// One seed in so many is a storm.
const STORM_EVERY: u64 = 16;
/// How likely things are in a storm: what links do that have no bound for it, what holds streams up, writes that take
/// a part and readiness for nothing, and what ends a connection, a call or a task.
const STORM_LINK: u32 = 50_000_000;
const STORM_HOLD_UPS: u32 = 200_000_000;
const STORM_PARTS: u32 = 100_000_000;
const STORM_ENDS: u32 = 80_000_000;
/// How many bytes a read has in a storm, in the mean, at most.
const STORM_READ_MAX: u64 = 8;
/// How much time there is between the end of the last scheduled fault and the end of all faults.
const AFTERMATH: Duration = Duration::from_secs(60);

impl Profile {
    /// Nothing.
    pub fn calm() -> Self {
        Self {
            families: BTreeSet::new(),
            link: None,
            cuts: 2,
            crashes: 2,
            mortals: None,
            cut_for: LENGTH_MAX,
            down_for: LENGTH_MAX,
            within: None,
        }
    }

    /// All families but [`Family::Names`]: what a protocol stands that claims to stand the world. Lookups that fail are a world
    /// in which a scenario cannot even set itself up by the names of its hosts; [`with`](Self::with) adds them.
    pub fn swarm() -> Self {
        Self { families: Family::ALL.into(), ..Self::calm() }.without(Family::Names)
    }

    /// These families alone.
    pub fn only(families: impl IntoIterator<Item = Family>) -> Self {
        Self { families: families.into_iter().collect(), ..Self::calm() }
    }

    /// What a scenario says that it stands.
    ///
    /// # Errors
    ///
    /// A link that is none.
    ///
    /// # Panics
    ///
    /// On a word of [`FaultMix::streams`] that names no family, or one that goes by other bounds of the mix, which are 0:
    /// `dns` by those of cuts, `pause`, `freeze` and `slow` by those of crashes.
    pub fn of(mix: &FaultMix) -> Result<Self, LinkError> {
        let link: Link = mix.link.parse()?;
        let mut families: BTreeSet<Family> = Family::ALL
            .into_iter()
            .filter(|family| family.chance().is_some_and(|it| !link.chance(it).is_never()))
            .collect();
        for word in mix.streams.split(',').filter(|word| !word.is_empty()) {
            families.insert(Family::with_name(word).unwrap_or_else(|| {
                let words = Family::ALL.map(Family::name).join(",");
                panic!("FaultMix::streams: {word:?} is none of {words}")
            }));
        }
        for family in families.iter().filter(|family| family.has_time()) {
            let (has_bounds, bounds) = match family {
                Family::Clock => (true, ""),
                Family::Cut | Family::Names => (mix.cuts > 0, "cuts"),
                _ => (mix.crashes_max > 0, "crashes"),
            };
            assert!(
                has_bounds,
                "FaultMix::streams: {family} goes by FaultMix::{bounds}, which allows none"
            );
        }
        if mix.cuts > 0 {
            families.insert(Family::Cut);
        }
        if mix.crashes_max > 0 {
            families.insert(Family::Crash);
        }
        Ok(Self {
            families,
            link: Some(link),
            cuts: mix.cuts,
            crashes: mix.crashes_max,
            mortals: Some(mix.crashes.iter().map(|&host| host.to_owned()).collect()),
            cut_for: mix.cut_for,
            down_for: mix.down_for,
            within: Some(mix.within),
        })
    }

    /// This one with a family more.
    #[must_use]
    pub fn with(mut self, family: Family) -> Self {
        self.families.insert(family);
        self
    }

    /// This one without a family.
    #[must_use]
    pub fn without(mut self, family: Family) -> Self {
        self.families.remove(&family);
        self
    }

    /// This one with crashes, pauses, freezes and slowness of these hosts alone.
    #[must_use]
    pub fn mortals<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.mortals = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// This one with partitions, crashes and whatever else has a time that last at most so long.
    #[must_use]
    pub fn lasting(mut self, at_most: Duration) -> Self {
        (self.cut_for, self.down_for) = (at_most, at_most);
        self
    }

    /// The families.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.families.iter().copied()
    }

    /// True if nothing goes wrong under it.
    pub fn is_calm(&self) -> bool {
        self.families.is_empty() && self.link.is_none()
    }

    /// True if it has this family.
    pub fn has(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    /// The simulation of a scenario whose links are what the profile says, and nothing goes wrong.
    pub(crate) fn calmed(&self, sim: Sim) -> Sim {
        let sim = match &self.link {
            Some(link) => sim.link(link.clone()),
            None => sim,
        };
        let never = |link: Link, chance| link.with_chance(chance, Probability::NEVER);
        sim.each_link(|link| Chance::ALL.into_iter().fold(link, never))
    }

    /// The simulation of a seed: `sim` with what befalls it, beside what `sim` itself says. A replay says everything.
    pub(crate) fn applied(&self, sim: Sim, seed: u64, calm: AskCalm<'_>) -> Sim {
        let Some(mut plan) = sim.planned().cloned() else {
            return sim;
        };
        let on = self.families_of(seed);
        let mut sim = match &self.link {
            Some(link) => sim.link(link.clone()),
            None => sim,
        };
        let is_storm = self.is_storm(seed);
        sim = self.with_chances(sim, &on, is_storm, &mut rng(seed, "chances"));
        if on.contains(&Family::Delay) {
            let longest =
                if is_storm { DELAY_MAX } else { length(&mut rng(seed, "delay"), DELAY_MAX) };
            sim = sim.each_link(|link| {
                let least = link.least_delay();
                link.latency(Latency::from(least..least + longest))
            });
        }
        if on.contains(&Family::Ties) {
            sim = sim.each_link(|link| {
                let least = link.least_delay();
                let step = least.max(TIED_STEP_MIN);
                let lengths = (0..TIED_LENGTHS).map(|steps| least + step * steps);
                link.latency(Latency::table(lengths).expect("it is not empty"))
            });
        }
        let streams = streams(&on, is_storm, &mut rng(seed, "streams"));
        sim = sim.map_stream_faults(|own| own.or(streams));
        let drawn = self.plan(&on, seed, calm);
        let quiesce = self.quiesce_behind(&sim, &[&drawn], calm);
        if plan.entries.is_empty() {
            plan = drawn;
        } else {
            drawn.entries.into_iter().for_each(|entry| add(&mut plan, entry, calm));
        }
        sim.plan(&plan).expect("scheduled faults alone").quiesce(quiesce)
    }

    /// The families that a seed has.
    pub(crate) fn families_of(&self, seed: u64) -> BTreeSet<Family> {
        if self.is_storm(seed) {
            return self.of_storms().collect();
        }
        self.draw_families(&mut rng(seed, "families"))
    }

    /// True if everything befalls a seed that has no time of its own, as often as it may.
    fn is_storm(&self, seed: u64) -> bool {
        seed.is_multiple_of(STORM_EVERY) && self.of_storms().next().is_some()
    }

    /// The families that are no faults with a time, and leave packets a length of their own.
    fn of_storms(&self) -> impl Iterator<Item = Family> + '_ {
        self.families().filter(|family| !family.has_time() && *family != Family::Ties)
    }

    /// When all faults end in a run of a seed's simulation under `plan`: the same for all that the seed drew and for
    /// what is left of it in a smaller plan, whose run is to differ in nothing else.
    pub(crate) fn quiesce(&self, sim: &Sim, seed: u64, plan: &Plan, calm: AskCalm<'_>) -> Duration {
        let drawn = self.plan(&self.families_of(seed), seed, calm);
        self.quiesce_behind(sim, &[&drawn, plan], calm)
    }

    /// When all faults end, which is behind those of the simulation's own plan and of these.
    fn quiesce_behind(&self, sim: &Sim, plans: &[&Plan], calm: AskCalm<'_>) -> Duration {
        let plans = plans.iter().copied().chain(sim.planned());
        sim.quiesces_at().unwrap_or_else(|| {
            let last = plans.map(last_end).max().unwrap_or_default();
            last.max(self.latest(calm)).saturating_add(AFTERMATH)
        })
    }

    /// Which families a seed has.
    fn draw_families(&self, rng: &mut Rng) -> BTreeSet<Family> {
        let all: Vec<Family> = self.families.iter().copied().collect();
        let one = |rng: &mut Rng| all[rng.below(all.len() as u64) as usize];
        if all.is_empty() {
            return BTreeSet::new();
        }
        match rng.below(100) {
            0..10 => BTreeSet::new(),
            10..20 => [one(rng)].into(),
            20..80 => all.iter().copied().filter(|_| rng.ratio(1, 2)).collect(),
            80..95 => self.families.clone(),
            _ => {
                let first = one(rng);
                let others: Vec<Family> = all.iter().copied().filter(|&it| it != first).collect();
                let second = rng.below(others.len().max(1) as u64) as usize;
                [Some(first), others.get(second).copied()].into_iter().flatten().collect()
            }
        }
    }

    fn with_chances(
        &self,
        mut sim: Sim,
        on: &BTreeSet<Family>,
        is_storm: bool,
        rng: &mut Rng,
    ) -> Sim {
        for family in Family::ALL {
            let Some(chance) = family.chance() else { continue };
            let part = rng.next_u64();
            let is_on = on.contains(&family);
            let bounded = self.link.is_some();
            sim = sim.each_link(|link| {
                let most = match link.chance(chance) {
                    most if most.is_never() && !bounded && is_storm => STORM_LINK,
                    most if most.is_never() && !bounded => LIKELY_MAX,
                    most => most.as_billionths(),
                };
                let likely = match (is_on, is_storm) {
                    (false, _) => 0,
                    (true, true) => most,
                    (true, false) => log_uniform_likely(part, most),
                };
                let likely = Probability::billionths(likely).expect("it is at most its bound");
                link.with_chance(chance, likely)
            });
        }
        sim
    }

    /// The latest moment at which a scheduled fault begins.
    fn latest(&self, calm: AskCalm<'_>) -> Duration {
        self.within.unwrap_or_else(|| calm().length * 3 / 2)
    }

    /// How long its partitions last, at most.
    pub(crate) fn longest_cut(&self) -> Duration {
        self.cut_for
    }

    /// How long its crashes and pauses last, at most.
    pub(crate) fn longest_stop(&self) -> Duration {
        self.down_for
    }

    /// True if a host may crash.
    pub(crate) fn is_mortal(&self, host: &String) -> bool {
        self.mortals.as_ref().is_none_or(|mortals| mortals.contains(host))
    }
}

/// When the last fault of a plan ends that has a time.
fn last_end(plan: &Plan) -> Duration {
    let ends = plan.entries.iter().filter_map(|entry| match entry {
        Entry::Fault(fault) => {
            let start = fault.start.time().unwrap_or(Time::ZERO).since_epoch();
            Some(start.saturating_add(fault.length().unwrap_or_default()))
        }
        _ => None,
    });
    ends.max().unwrap_or_default()
}

/// Adds what a seed drew to a plan that was there before, unless one of the two would find a machine off that it needs, or
/// a clock is set already.
fn add(plan: &mut Plan, drawn: Entry, calm: AskCalm<'_>) {
    let hosts: Vec<&str> = calm().hosts.iter().map(String::as_str).collect();
    let misses = |plan: &Plan| {
        let is_one = |error: &&PlanError| {
            matches!(error.problem, Problem::Off { .. } | Problem::ClockSetTwice { .. })
        };
        plan.check(&hosts).err().map_or(0, |errors| errors.iter().filter(is_one).count())
    };
    let before = misses(plan);
    plan.entries.push(drawn);
    if misses(plan) > before {
        plan.entries.pop();
    }
}

/// What streams show in a seed: of everything as much as it draws, or as a storm has.
fn streams(on: &BTreeSet<Family>, is_storm: bool, rng: &mut Rng) -> StreamFaults {
    let mut faults = StreamFaults::new();
    for family in Family::ALL {
        let (part, mut lasts) = (rng.next_u64(), length(rng, HOLD_UP_MAX));
        if !on.contains(&family) {
            continue;
        }
        let mut likely = log_uniform_likely(part, LIKELY_MAX);
        // How likely something is that is asked about once for a stream, and not for each packet or write.
        let mut once = Probability::HALF.as_billionths().max(likely);
        let mut boundary = Boundary::Drawn;
        if is_storm {
            likely = match family {
                Family::Coalesce | Family::Stall => STORM_HOLD_UPS,
                Family::ShortWrite | Family::Spurious => STORM_PARTS,
                _ => STORM_ENDS,
            };
            once = Probability::ALWAYS.as_billionths();
            lasts = HOLD_UP_MAX;
            boundary = Boundary::Geometric(1 + (part % STORM_READ_MAX) as u32);
        }
        let [likely, once] = [likely, once]
            .map(|chance| Probability::billionths(chance).expect("it is at most its bound"));
        faults = match family {
            Family::Boundary => faults.boundaries(once, boundary),
            Family::ShortWrite => faults.short_writes(likely),
            Family::Coalesce => faults.held_reads(likely, lasts),
            Family::Stall => faults.stalls(likely, lasts),
            Family::DelayFin => faults.late_ends(once, lasts),
            Family::Spurious => faults.spurious_readiness(likely),
            Family::Reset => faults.resets(likely),
            Family::EarlyEnd => faults.early_ends(likely),
            Family::AcceptReset => faults.accept_resets(likely),
            Family::AcceptError => faults.accept_errors(likely),
            Family::ConnectError => faults.connect_errors(likely),
            Family::SpawnError => faults.spawn_errors(likely),
            Family::EarlyDeath => faults.early_deaths(likely),
            Family::Cancel => faults.cancellations(likely),
            _ => faults,
        };
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::LazyLock;

    use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
    use sim_net::LinkRule;
    use sim_net::plan::{Action, Condition};

    use super::*;
    use crate::calm::Calm;

    const MIX: FaultMix = FaultMix::new("latency=1ms..20ms,loss=2%")
        .streams(FaultMix::HARMLESS)
        .cuts(2, Duration::from_secs(1))
        .crashes(&["a", "nobody"], 3, Duration::from_secs(2))
        .within(Duration::from_secs(10));

    fn calm() -> &'static Calm {
        static CALM: LazyLock<Calm> = LazyLock::new(|| {
            let moments = (0..100).map(|n| Time::from_nanos(n * 1_000_000)).collect();
            let hosts = ["a", "b"].map(String::from).to_vec();
            Calm { hosts, length: Duration::from_secs(1), moments, timers: Vec::new() }
        });
        &CALM
    }

    #[test]
    fn what_befalls_a_seed_is_a_function_of_it_and_stays_within_its_bounds() {
        let profile = Profile::of(&MIX).unwrap();
        let mut texts = BTreeSet::new();
        let all = profile.families.clone();
        for seed in 0..300 {
            let plan = profile.plan(&all, seed, &calm);
            assert_eq!(profile.plan(&all, seed, &calm), plan);
            texts.insert(plan.to_string());
            assert!(plan.check(&["a", "b"]).is_ok(), "{plan}");
            assert!(!plan.to_string().contains("crash b"), "{plan}");
            assert!(last_end(&plan) <= Duration::from_secs(10 + 3 * 2 + 1));
            let on = profile.draw_families(&mut rng(seed, "families"));
            assert!(on.is_subset(&all));
        }
        assert!(texts.len() > 150, "{}", texts.len());
    }

    #[test]
    fn seeds_are_calm_single_mixed_and_full_as_often_as_they_should_be() {
        let profile = Profile::swarm();
        let all = profile.families().count();
        let count = |wanted: &dyn Fn(usize) -> bool| {
            (0..1_000)
                .filter(|&seed| wanted(profile.draw_families(&mut rng(seed, "families")).len()))
                .count()
        };
        assert!((70..130).contains(&count(&|families| families == 0)));
        assert!((70..150).contains(&count(&|families| families == 1)));
        assert!((30..70).contains(&count(&|families| families == 2)));
        assert!((560..640).contains(&count(&|families| (3..all).contains(&families))));
        assert!((110..190).contains(&count(&|families| families == all)));
    }

    #[test]
    fn a_storm_is_all_that_has_no_time_as_often_as_it_may_be() {
        let profile = Profile::of(&MIX).unwrap();
        for seed in [0, 16, 32, 16 << 30] {
            let on = profile.families_of(seed);
            let harmless: Vec<&str> = FaultMix::HARMLESS.split(',').collect();
            let expected: Vec<&str> = [&["drop"], &harmless[..]].concat();
            assert_eq!(on.iter().map(|family| family.name()).collect::<Vec<_>>(), expected);
            let sim =
                profile.applied(Sim::new(seed), seed, &|| panic!("a storm needs no calm run"));
            assert_eq!(sim.planned().unwrap().entries, []);
            let sim = sim.each_link(|link| {
                assert_eq!(link.chance(Chance::Loss).as_billionths(), 20_000_000);
                assert!(link.chance(Chance::Duplicate).is_never());
                link
            });
            let _same = sim.map_stream_faults(|faults| {
                let again = streams(&on, true, &mut rng(seed, "streams"));
                assert_eq!((faults, again == StreamFaults::new()), (again, false));
                faults
            });
        }
        // Where everything has a time, seeds are as the others.
        let cuts = Profile::only([Family::Cut]);
        let drawn = (0..100).filter(|storm| !cuts.families_of(storm * STORM_EVERY).is_empty());
        assert!((30..100).contains(&drawn.count()));
    }

    #[test]
    fn a_mix_names_its_families_and_only_those_happen() {
        let profile = Profile::of(&MIX).unwrap();
        let names: Vec<&str> = profile.families().map(Family::name).collect();
        let expected = [
            "drop",
            "cut",
            "crash",
            "boundary",
            "short-write",
            "coalesce",
            "stall",
            "delay-fin",
            "spurious",
        ];
        assert_eq!(names, expected);
        let sim = profile.applied(Sim::new(3), 3, &calm);
        assert!(!format!("{sim:?}").contains("duplicate: Probability { billionths: 1"));
    }

    struct Quiet;
    impl DatagramProtocol for Quiet {
        fn datagram_received(
            &mut self,
            _cx: &mut Cx<'_, Self, DatagramTransport>,
            _data: &[u8],
            _from: SocketAddr,
        ) {
        }
    }

    async fn datagrams(world: World) -> io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        let _heard = b.datagram().local(("b", 9)).bind(|| Quiet).await?;
        let conn = a.datagram().remote(("b", 9)).bind(|| Quiet).await?;
        for number in 0..100 {
            conn.transport().send_to(&[number], None)?;
            a.sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// A family that is on and never bites would make every check green.
    #[test]
    fn families_bite_where_they_are_on_and_nowhere_else() {
        let families = [
            (Family::Drop, "packet.loss"),
            (Family::Duplicate, "packet.duplicate"),
            (Family::Corrupt, "packet.corrupt"),
            (Family::Reorder, "packet.reorder"),
        ];
        let profile = Profile::only(families.map(|(family, _)| family));
        let mut bites = [0; 4];
        for seed in 0..100 {
            let on = profile.families_of(seed);
            let report = profile.applied(Sim::new(seed), seed, &calm).run(datagrams);
            for ((family, name), bites) in families.iter().zip(&mut bites) {
                let count = report.faults.get(name).copied().unwrap_or_default();
                assert!(count == 0 || on.contains(family), "seed {seed}: {name} {count}");
                *bites += count;
            }
        }
        assert!(bites.iter().all(|&count| count > 50), "{bites:?}");
    }

    async fn lookups(world: World) -> io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        for asking in [&a, &b].into_iter().cycle().take(1_000) {
            drop(asking.getaddrinfo(("b", 9)).await);
            a.sleep(Duration::from_millis(1)).await;
        }
        datagrams(world).await
    }

    #[test]
    fn what_has_a_time_befalls_seeds_that_have_its_family_and_no_others() {
        let timed = Family::ALL.into_iter().filter(|family| family.has_time());
        let profile = Profile::only(timed).lasting(Duration::from_millis(50));
        let mut bites = std::collections::BTreeMap::new();
        for seed in 0..300 {
            let on = profile.families_of(seed);
            let report = profile.applied(Sim::new(seed), seed, &calm).run(lookups);
            for family in profile.families() {
                for counter in family.counters() {
                    let count = report.faults.get(counter).copied().unwrap_or_default();
                    assert!(count == 0 || on.contains(&family), "seed {seed}: {counter} {count}");
                    *bites.entry(counter).or_insert(0) += count;
                }
            }
        }
        assert_eq!(bites.len(), 10, "{bites:?}");
        assert!(bites.values().all(|&count| count > 5), "{bites:?}");
    }

    #[test]
    fn packets_that_a_link_lists_are_lost_under_any_profile_and_without_what_befalls_a_seed() {
        let lost = |sim: Sim| {
            let report = sim.run(datagrams);
            report.faults.get("packet.loss").copied().unwrap_or_default()
        };
        let sim = |seed| {
            let rule: LinkRule = "a->b: loss=packets(1,3)".parse().unwrap();
            Sim::new(seed).link(rule)
        };
        let others = Profile::only([Family::Spurious, Family::Reorder]);
        let drops = Profile::only([Family::Drop]);
        let mut more = 0;
        for seed in 0..40 {
            assert_eq!(lost(others.applied(sim(seed), seed, &calm)), 2);
            assert_eq!(lost(drops.calmed(sim(seed))), 2);
            let count = lost(drops.applied(sim(seed), seed, &calm));
            assert!(count >= 2, "seed {seed}");
            more += u64::from(count > 2);
        }
        assert!(more > 10, "{more}");
    }

    #[test]
    fn what_the_simulation_says_itself_stays() {
        let swarm = Profile::swarm();
        let secs = Duration::from_secs;
        let own_streams = StreamFaults::new().boundaries(Probability::ALWAYS, Boundary::Byte);
        let own = Plan::new().crash(secs(1), "a", secs(400)).pause(secs(2), "b", secs(1));
        let sim = |seed| Sim::new(seed).stream_faults(own_streams).plan(&own).unwrap();
        // With the crash, which has begun then.
        let overlaps = |entry: &Entry| {
            let Entry::Fault(fault) = entry else { return false };
            let stops = match &fault.action {
                Action::Interval { condition: Condition::Crash { host, .. }, .. }
                | Action::Interval { condition: Condition::Freeze { host }, .. } => host == "a",
                _ => false,
            };
            let end = fault.length().zip(fault.start.time()).map(|(length, at)| at + length);
            stops && end > Some(Time::ZERO + secs(1))
        };
        let (mut most, mut overlapping) = (0, 0);
        for seed in 0..200 {
            let applied = swarm.applied(sim(seed), seed, &calm);
            let plan = applied.planned().unwrap();
            assert_eq!(plan.entries[..2], own.entries[..]);
            assert!(plan.check(&["a", "b"]).is_ok(), "{plan}");
            overlapping += plan.entries[2..].iter().filter(|entry| overlaps(entry)).count();
            most = most.max(plan.entries.len());
            let _unchanged = applied.map_stream_faults(|streams| {
                assert_eq!(streams, own_streams.or(streams));
                streams
            });
        }
        assert!(overlapping > 0, "each ends by itself");
        assert!(most > 4, "{most}");

        let applied = swarm.applied(sim(0).quiesce(secs(2)), 0, &calm);
        assert_eq!(applied.quiesces_at(), Some(secs(2)));
        let replay = Sim::new(0).replay(&own).unwrap();
        let applied = swarm.applied(replay.clone(), 0, &calm);
        assert_eq!(format!("{applied:?}"), format!("{replay:?}"));
    }

    /// What a smaller plan leaves out, or gives an event for its time, does not end the faults earlier.
    #[test]
    fn all_faults_end_at_the_same_time_in_a_seed_and_in_what_is_left_of_it() {
        let swarm = Profile::swarm();
        let (late, long) = (Duration::from_secs(300), Duration::from_secs(50));
        for own in [Plan::new(), Plan::new().crash(late, "a", long)] {
            for seed in 0..200 {
                let sim = Sim::new(seed).plan(&own).unwrap();
                let applied = swarm.applied(sim.clone(), seed, &calm);
                let left = swarm.quiesce(&sim, seed, &Plan::new(), &calm);
                assert_eq!(applied.quiesces_at(), Some(left), "seed {seed}");
                assert!(own.entries.is_empty() || left >= late + long + AFTERMATH);
            }
        }
    }

    #[test]
    fn a_world_without_hosts_has_no_plan() {
        static EMPTY: LazyLock<Calm> = LazyLock::new(Calm::default);
        let all = Profile::swarm().families;
        assert_eq!(Profile::swarm().plan(&all, 7, &|| &EMPTY), Plan::new());
    }
}
