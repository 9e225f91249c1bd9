//! Questions to the name servers that are under way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use sim_core::driver::{Family, Question, numeric_host};
use sim_core::{NameInfo, Port, ResolveError, ResolveFailure, Time};
use slab::Slab;

use super::service::{port_of, service_at};
use super::zone::{Zone, said_of};
use super::{NameFault, Resolver};
use crate::agenda::Event;
use crate::bell::Bell;
use crate::decisions::Site;
use crate::link::Probability;
use crate::memory::{clear_map, clear_slab};
use crate::missed::Missed;
use crate::network::Network;
use crate::plan::FaultSite;
use crate::plane::question::Question as Asking;

/// How long a host waits for an answer before it asks again (`RES_TIMEOUT`).
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often it asks (`RES_DFLRETRY`).
const ATTEMPTS: u32 = 2;

/// The name servers of a world, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct NameService {
    pub(super) config: Resolver,
    pub(super) zone: Zone,
    /// What befalls questions from a host: by a plan, each begun and not ended, by the number of the fault; and by
    /// hand.
    scheduled: Vec<(u32, String, NameFault)>,
    pub(super) of_hosts: BTreeMap<String, NameFault>,
    /// What befalls questions about a name, by hand.
    pub(super) of_names: BTreeMap<String, NameFault>,
    pub(super) delays: BTreeMap<String, Duration>,
    queries: Slab<Query>,
    next_serial: u32,
    /// How many are not answered.
    waiting: usize,
    /// How often each host, in its incarnation, has asked for each name.
    asked: BTreeMap<(u32, String), (u16, u64)>,
    /// How the scheduler learns that somebody is to be woken.
    pub(crate) bell: Arc<Bell>,
}

/// A question that is under way.
#[derive(Debug)]
struct Query {
    serial: u32,
    host: u32,
    /// The name, or the address in its text form.
    name: String,
    wanted: Wanted,
    /// How often it was asked before, and when it was asked last.
    attempt: u32,
    since: Time,
    /// What will arrive, or has.
    answer: Option<io::Result<Answer>>,
    is_answered: bool,
    /// Its machine was frozen when it was asked, or when the answer came: nothing comes until that goes on.
    is_missed: bool,
    waker: Option<Waker>,
}

/// What is to be found out.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Addresses(u16, Option<Family>),
    Name(SocketAddr),
}

/// What was found out.
#[derive(Debug)]
pub(crate) enum Answer {
    Addresses(Vec<SocketAddr>),
    Name(NameInfo),
}

impl Answer {
    pub(crate) fn into_addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Name(_) => unreachable!("addresses were asked for"),
        }
    }

    pub(crate) fn into_name(self) -> NameInfo {
        match self {
            Self::Name(name) => name,
            Self::Addresses(_) => unreachable!("a name was asked for"),
        }
    }
}

/// The place of a question that is under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueryId {
    slot: u32,
    serial: u32,
}

/// What became of a question.
pub(crate) enum Asked {
    Answered(io::Result<Answer>),
    UnderWay(QueryId),
}

impl NameService {
    /// Makes it as new, for another world.
    pub(crate) fn renew(&mut self) {
        let Self {
            config,
            zone,
            scheduled,
            of_hosts,
            of_names,
            delays,
            queries,
            next_serial,
            waiting,
            asked,
            bell,
        } = self;
        *config = Resolver::default();
        zone.renew();
        scheduled.clear();
        clear_map(of_hosts);
        clear_map(of_names);
        clear_map(delays);
        clear_slab(queries);
        (*next_serial, *waiting) = (0, 0);
        clear_map(asked);
        bell.renew();
    }

    /// True while a question may take time or go wrong.
    fn is_special(&self) -> bool {
        !(self.config.is_prompt()
            && self.scheduled.is_empty()
            && self.of_hosts.is_empty()
            && self.of_names.is_empty()
            && self.delays.is_empty())
    }

    /// True while nobody waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    fn get_mut(&mut self, id: QueryId) -> Option<&mut Query> {
        self.queries.get_mut(id.slot as usize).filter(|query| query.serial == id.serial)
    }

    /// The fault of a plan with this number befalls questions no more.
    pub(crate) fn end(&mut self, number: u32) {
        self.scheduled.retain(|&(other, ..)| other != number);
    }

    /// Nothing goes wrong from now on but what a plan says.
    pub(crate) fn calm(&mut self) {
        self.config.calm();
        self.mend();
    }

    /// Takes back the faults and delays that were set by hand.
    pub(super) fn mend(&mut self) {
        self.of_hosts.clear();
        self.of_names.clear();
        self.delays.clear();
    }

    /// The fault that somebody wants for this question.
    fn ordered(&self, host: &str, name: &str) -> Option<NameFault> {
        let by_hand = said_of(&self.of_names, name).or_else(|| self.of_hosts.get(host));
        let scheduled = || self.scheduled.iter().rev().find(|(_, of, _)| of == host);
        by_hand.copied().or_else(|| scheduled().map(|(.., fault)| *fault))
    }
}

// Asking.
impl Network {
    /// Sets how the name servers are.
    pub(crate) fn set_resolver(&mut self, config: Resolver) {
        for fault in NameFault::ALL {
            if !config.likely(fault).is_never() {
                self.wire.faults.enable_drawn(fault.site());
            }
        }
        self.name_service.config = config;
    }

    /// The fault of a plan with this number begins to befall the questions of a host.
    pub(crate) fn begin_name_fault(&mut self, number: u32, host: &str, fault: NameFault) {
        self.wire.faults.enable_drawn(fault.site());
        self.name_service.scheduled.push((number, host.to_owned(), fault));
    }

    /// A host asks for the addresses of a name.
    pub(crate) fn ask_addresses(&mut self, host: u32, question: Question<'_>) -> Asked {
        let Question { host: name, port, family, kind } = question;
        let port = match port {
            Port::Number(number) => *number,
            Port::Service(service) => match port_of(service, kind) {
                Some(port) => port,
                None => {
                    let error = ResolveError::new(service.as_str(), ResolveFailure::UnknownService);
                    return Asked::Answered(Err(error.into()));
                }
            },
        };
        if let Some(ip) = numeric_host(name) {
            return Asked::Answered(Ok(Answer::Addresses(vec![SocketAddr::new(ip, port)])));
        }
        let is_local = self.is_local_name(host, name);
        self.look_up(host, name, Wanted::Addresses(port, family), is_local)
    }

    /// A host asks for the names of an address.
    pub(crate) fn ask_name(&mut self, host: u32, addr: SocketAddr) -> Asked {
        let own = |network: &Self| {
            let at = network.name_at(addr.ip());
            at.is_some_and(|name| network.host_named(&name) == Some(host))
        };
        let is_local = addr.ip().is_loopback() || own(self);
        self.look_up(host, &addr.ip().to_string(), Wanted::Name(addr), is_local)
    }

    fn look_up(&mut self, host: u32, name: &str, wanted: Wanted, is_local: bool) -> Asked {
        let is_frozen = self.hosts[host as usize].life.frozen;
        let is_named = || self.wire.plane.as_ref().is_some_and(|plane| plane.names_questions());
        if is_local || !(is_frozen || self.name_service.is_special() || is_named()) {
            if !is_local && self.wire.plane.is_some() {
                self.show_question(host, name);
            }
            return Asked::Answered(self.found(name, wanted));
        }
        let service = &mut self.name_service;
        service.next_serial = service.next_serial.wrapping_add(1);
        service.waiting += usize::from(!is_frozen);
        let serial = service.next_serial;
        let query = Query {
            serial,
            host,
            name: name.to_owned(),
            wanted,
            attempt: 0,
            since: self.wire.now,
            answer: None,
            is_answered: false,
            is_missed: is_frozen,
            waker: None,
        };
        let id = QueryId { slot: service.queries.insert(query) as u32, serial };
        if is_frozen {
            self.host(host).miss(Missed::Question(id));
        } else {
            self.send_question(id);
        }
        Asked::UnderWay(id)
    }

    /// What the servers know now.
    fn found(&self, name: &str, wanted: Wanted) -> io::Result<Answer> {
        match wanted {
            Wanted::Addresses(port, family) => match self.addresses_of(name, port, family) {
                Ok(found) => Ok(Answer::Addresses(found)),
                Err(failure) => Err(ResolveError::new(name, failure).into()),
            },
            Wanted::Name(addr) => {
                let host = match addr.ip().is_loopback() {
                    true => Some("localhost".to_owned()),
                    false => self.name_at(addr.ip()),
                };
                Ok(Answer::Name(named(addr, host)))
            }
        }
    }

    /// What the servers say if a fault befalls the question; `None` for nothing.
    fn failed(name: &str, wanted: Wanted, fault: NameFault) -> Option<io::Result<Answer>> {
        match (fault, wanted) {
            (NameFault::Silent, _) => None,
            (NameFault::TryAgain, _) => {
                Some(Err(ResolveError::new(name, ResolveFailure::TryAgain).into()))
            }
            (NameFault::Unknown, Wanted::Addresses(..)) => {
                Some(Err(ResolveError::new(name, ResolveFailure::Unknown).into()))
            }
            (NameFault::Empty, Wanted::Addresses(..)) => Some(Ok(Answer::Addresses(Vec::new()))),
            // An address without a name is its own.
            (NameFault::Unknown | NameFault::Empty, Wanted::Name(addr)) => {
                Some(Ok(Answer::Name(named(addr, None))))
            }
        }
    }

    /// A question leaves its host. What befalls it and what is answered is settled here; the answer
    /// arrives later.
    fn send_question(&mut self, id: QueryId) {
        let now = self.wire.now;
        let Some(query) = self.name_service.get_mut(id) else {
            return;
        };
        query.since = now;
        let (host, name, wanted) = (query.host, query.name.clone(), query.wanted);
        let (of, ordinal) = self.count_question(host, &name);
        let asking = &self.wire.trace.hosts[host as usize];
        let ordered = self.name_service.ordered(asking, &name);
        let fault = match ordered {
            Some(fault) => {
                self.wire.faults.count_drawn(fault.site());
                Some(fault)
            }
            None => self.draw_name_fault(host, &of, ordinal),
        };
        let answer = match fault {
            Some(fault) => Self::failed(&name, wanted, fault),
            None => Some(self.found(&name, wanted)),
        };
        let delay = match answer {
            None => ATTEMPT,
            Some(_) => match said_of(&self.name_service.delays, &name) {
                Some(&delay) => delay,
                None => self.draw_name_delay(host, &of, ordinal),
            },
        };
        if let Some(query) = self.name_service.get_mut(id) {
            query.answer = answer;
        }
        self.wire.agenda.push(now + delay, Event::NameAnswer(id));
    }

    /// What the draws about a host's next question for a name are keyed by.
    fn count_question(&mut self, host: u32, name: &str) -> (String, u64) {
        let incarnation = self.host(host).incarnation;
        let asked = self.name_service.asked.entry((host, name.to_owned())).or_default();
        if asked.0 != incarnation {
            *asked = (incarnation, 0);
        }
        let ordinal = asked.1;
        asked.1 += 1;
        let asking = &self.wire.trace.hosts[host as usize];
        (format!("{asking}@{incarnation}?{name}"), ordinal)
    }

    /// Shows the census a question that is answered at once.
    #[cold]
    fn show_question(&mut self, host: u32, name: &str) {
        let (of, ordinal) = self.count_question(host, name);
        if self.may_befall_names() {
            for fault in NameFault::ALL {
                let sites = (fault.site(), fault.fault_site());
                self.offer_call(&Asking::of_draw(sites, host, &of, ordinal, Probability::NEVER), 1);
            }
        }
    }

    /// False once the faults of the run are over.
    fn may_befall_names(&self) -> bool {
        self.wire.plane.as_ref().is_none_or(|plane| !plane.is_calm())
    }

    /// What befalls a question by chance, or by a plan.
    fn draw_name_fault(&mut self, host: u32, of: &str, ordinal: u64) -> Option<NameFault> {
        if !self.may_befall_names() {
            return None;
        }
        NameFault::ALL.into_iter().find(|fault| {
            let likely = self.name_service.config.likely(*fault);
            let sites = (fault.site(), fault.fault_site());
            let asked = Asking::of_draw(sites, host, of, ordinal, likely);
            self.offer_call(&asked, 1);
            self.ask(&asked, |_| 1).is_some()
        })
    }

    /// How long the answer takes.
    fn draw_name_delay(&mut self, host: u32, of: &str, ordinal: u64) -> Duration {
        let latency = self.name_service.config.latency.clone();
        self.draw_latency(&latency, (Site::NameDelay, FaultSite::NameDelay), host, of, ordinal)
    }
}

// Answers.
impl Network {
    /// An answer arrives, or it is time to ask again.
    #[cold]
    pub(crate) fn name_answer(&mut self, id: QueryId) {
        let asking = self.name_service.get_mut(id).map(|query| query.host);
        let is_frozen = asking.is_some_and(|index| self.hosts[index as usize].life.frozen);
        // Who waits may have heard already: that the host that asked is gone.
        let Some(query) = self.name_service.get_mut(id).filter(|query| !query.is_answered) else {
            return;
        };
        if is_frozen {
            // Nobody is there to hear it, or to ask again; and nothing is on its way.
            (query.answer, query.is_missed) = (None, true);
            let host = query.host;
            self.name_service.waiting -= 1;
            self.host(host).miss(Missed::Answer(id));
            return;
        }
        if query.answer.is_none() {
            query.attempt += 1;
            if query.attempt < ATTEMPTS {
                self.send_question(id);
                return;
            }
            let error = ResolveError::new(query.name.as_str(), ResolveFailure::TryAgain);
            query.answer = Some(Err(error.into()));
        }
        self.tell_answer(id);
    }

    /// A machine that goes on was to ask a question: it does so now.
    #[cold]
    pub(crate) fn name_missed_question(&mut self, id: QueryId) {
        if let Some(query) = self.name_service.get_mut(id).filter(|query| query.is_missed) {
            query.is_missed = false;
            self.name_service.waiting += 1;
            self.send_question(id);
        }
    }

    /// A machine that goes on has missed the answer of a question: it asks again when it has waited long
    /// enough.
    #[cold]
    pub(crate) fn name_missed_answer(&mut self, id: QueryId) {
        let now = self.wire.now;
        let Some(query) = self.name_service.get_mut(id).filter(|query| query.is_missed) else {
            return;
        };
        query.is_missed = false;
        let again = (query.since + ATTEMPT).max(now);
        self.name_service.waiting += 1;
        self.wire.agenda.push(again, Event::NameAnswer(id));
    }

    /// The answer of a question is there.
    fn tell_answer(&mut self, id: QueryId) {
        let Some(query) = self.name_service.get_mut(id) else {
            return;
        };
        query.is_answered = true;
        let was_missed = std::mem::take(&mut query.is_missed);
        let waker = query.waker.take();
        self.name_service.waiting -= usize::from(!was_missed);
        // Whoever waits for the world to be quiet looks again, too.
        self.name_service.bell.ring();
        self.is_watched = true;
        self.woken.extend(waker);
    }

    /// Takes the answer of a question; if there is none yet, notes who is to be woken, and returns who
    /// was before.
    pub(crate) fn take_answer(
        &mut self,
        id: QueryId,
        waker: &Waker,
    ) -> Result<io::Result<Answer>, Option<Waker>> {
        let Some(query) = self.name_service.get_mut(id) else {
            return Ok(Err(gone()));
        };
        if !query.is_answered {
            return Err(query.waker.replace(waker.clone()));
        }
        let answer = query.answer.take().unwrap_or_else(|| Err(gone()));
        self.name_service.queries.remove(id.slot as usize);
        Ok(answer)
    }

    /// Nobody waits for the answer of a question any more. Returns who did.
    pub(crate) fn forget_question(&mut self, id: QueryId) -> Option<Waker> {
        self.name_service.get_mut(id)?;
        let query = self.name_service.queries.remove(id.slot as usize);
        self.name_service.waiting -= usize::from(!query.is_answered && !query.is_missed);
        query.waker
    }

    /// The process of a host is gone: whoever waits elsewhere for what it asked hears of that.
    pub(crate) fn end_questions_of(&mut self, index: u32) {
        let queries = self.name_service.queries.iter_mut();
        let open = queries.filter(|(_, query)| query.host == index && !query.is_answered);
        let mut ended = Vec::new();
        for (slot, query) in open {
            query.answer = Some(Err(gone()));
            ended.push(QueryId { slot: slot as u32, serial: query.serial });
        }
        ended.into_iter().for_each(|id| self.tell_answer(id));
    }
}

/// The names of an address and its port.
fn named(addr: SocketAddr, host: Option<String>) -> NameInfo {
    let host = host.unwrap_or_else(|| addr.ip().to_string());
    NameInfo { host, service: service_at(addr.port()) }
}

/// The process that asked is no more.
pub(crate) fn gone() -> io::Error {
    io::Error::other("event loop is closed")
}
