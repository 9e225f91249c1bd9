//! What a site is asked, and who answers: the seed or the plan.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::decisions::{Entity, Site};
use crate::flow::Flow;
use crate::link::{Latency, Probability};
use crate::network::Network;
use crate::plan::{EventId, FaultSite, SegmentClass};
use crate::plane::census::OfferedCall;
use crate::plane::moment;
use crate::plane::passage::schedule;
use crate::plane::stream_name::StreamName;
use crate::stream_faults::calls::CallName;
use crate::trace::Record;
use crate::wire::Wire;

/// What a fault is about, as a plan names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// A place in a stream.
    Place(&'a StreamName, Entity, u64),
    /// A stream as a whole, whose sender has come to this place.
    Stream(&'a StreamName, Entity, u64),
    /// The opening of a connection by this flow.
    Opening(Flow, Entity),
    /// A call, or something on a disk, by the key of its draw.
    Draw(DrawName<'a>, Entity, u64),
}

/// What draws that are no packet's and no stream's are called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DrawName<'a> {
    Text(&'a str),
    /// Spelled where somebody wants it: most are hashed only.
    Call(&'a CallName<'a>),
}

impl fmt::Display for DrawName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Call(call) => call.fmt(f),
        }
    }
}

/// What a site is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) host: u32,
    pub(crate) site: Site,
    pub(crate) fault: FaultSite,
    pub(crate) likely: Probability,
    /// The key of the draw.
    pub(crate) entity: Entity,
    pub(crate) ordinal: u64,
    pub(crate) subject: Subject<'a>,
}

impl<'a> Question<'a> {
    /// What is asked about number `ordinal` of the draws of a host that are called `of`.
    pub(crate) fn of_draw(
        (site, fault): (Site, FaultSite),
        host: u32,
        of: &'a str,
        ordinal: u64,
        likely: Probability,
    ) -> Self {
        let entity = Entity::named(of);
        let subject = Subject::Draw(DrawName::Text(of), entity, ordinal);
        Self { host, site, fault, likely, entity, ordinal, subject }
    }
}

impl Network {
    /// How long something takes that is no packet: a time of `latency`, or by a plan the least and what the plan says.
    pub(crate) fn draw_latency(
        &mut self,
        latency: &Latency,
        sites: (Site, FaultSite),
        host: u32,
        of: &str,
        ordinal: u64,
    ) -> Duration {
        let is_planned = self.wire.is_planned();
        if !latency.varies() && !is_planned {
            return latency.least();
        }
        // Asked each time: how likely it is says the distribution.
        let asked = Question::of_draw(sites, host, of, ordinal, Probability::ALWAYS);
        let value = if is_planned {
            self.choice_of_plan(&asked).unwrap_or(0)
        } else {
            latency.beyond_least(self.wire.decisions.at(asked.site, asked.entity, ordinal))
        };
        if latency.varies() || value > 0 {
            self.record(host, Record::Draw { site: asked.site, value });
        }
        if value > 0 {
            self.note_stream_fault(asked.fault, asked.subject, value);
        }
        latency.least() + Duration::from_nanos(value)
    }

    /// Asks for a fault: its value, if it happens. Only then is it recorded and counted. `value` makes
    /// one of what is left of a draw.
    pub(crate) fn ask(
        &mut self,
        question: &Question<'_>,
        value: impl FnOnce(u64) -> u64,
    ) -> Option<u64> {
        let Question { site, likely, entity, ordinal, .. } = *question;
        let chosen = if self.wire.is_planned() {
            self.choice_of_plan(question)?
        } else if likely.is_never() {
            return None;
        } else {
            let Self { wire, injection, .. } = self;
            value(likely.rest(injection.recent.at(&wire.decisions, site, entity, ordinal))?)
        };
        (chosen > 0).then(|| self.happens(question, chosen))
    }

    /// What the plan of the run says.
    pub(crate) fn choice_of_plan(&mut self, question: &Question<'_>) -> Option<u64> {
        let Wire { plane, trace, .. } = &mut self.wire;
        let claims = plane.as_mut()?.claims();
        let site = question.fault;
        match question.subject {
            Subject::Place(_, entity, place) => {
                claims.take_place((entity, site), place..=place).map(|(_, value)| value)
            }
            Subject::Stream(name, entity, place) => {
                let event = || name.event(site, place, &trace.hosts);
                claims.take_only((entity, site), place, event)
            }
            Subject::Opening(_, entity) => claims.take_draw(site, entity, 0),
            Subject::Draw(_, entity, ordinal) => claims.take_draw(site, entity, ordinal),
        }
    }

    /// A fault happens.
    pub(crate) fn happens(&mut self, question: &Question<'_>, value: u64) -> u64 {
        let Question { host, site, fault, .. } = *question;
        self.record(host, Record::Draw { site, value });
        self.wire.faults.count_drawn(site);
        self.note_stream_fault(fault, question.subject, value);
        value
    }

    /// Notes what has happened, for the plan of the run.
    pub(crate) fn note_stream_fault(&mut self, fault: FaultSite, subject: Subject<'_>, value: u64) {
        let Wire { plane, trace, .. } = &mut self.wire;
        let Some(recorder) = plane.as_mut().and_then(|plane| plane.recorder.as_mut()) else {
            return;
        };
        recorder.other(fault, event(subject, fault, &trace.hosts), value);
    }

    /// Shows the census a call that could fail.
    pub(crate) fn offer_call(&mut self, question: &Question<'_>, most: u64) {
        let Wire { plane, trace, now, .. } = &mut self.wire;
        let Some(census) = plane.as_mut().and_then(|plane| plane.census.as_mut()) else { return };
        let Question { host, fault, subject, .. } = *question;
        census.called(OfferedCall {
            site: fault,
            event: event(subject, fault, &trace.hosts),
            most,
            host: Arc::clone(&trace.hosts[host as usize]),
            moment: moment(host, *now, trace.steps()),
        });
    }

    /// An application has come to a place of a stream: what follows it is scheduled.
    pub(crate) fn reach(&mut self, host: u32, stream: Entity, place: u64) {
        let Wire { plane, trace, agenda, now, .. } = &mut self.wire;
        let Some(plane) = plane else { return };
        let followers = plane.stream_followers(stream, place, &trace.hosts[host as usize]);
        followers.into_iter().for_each(|follower| schedule(follower, *now, agenda));
    }
}

/// What a plan calls the subject of a fault.
fn event(subject: Subject<'_>, fault: FaultSite, hosts: &[Arc<str>]) -> EventId {
    match subject {
        Subject::Place(name, _, place) | Subject::Stream(name, _, place) => {
            name.event(fault, place, hosts)
        }
        Subject::Opening(flow, _) => EventId::Segment {
            flow: flow.to_name(hosts),
            class: SegmentClass::Syn,
            offset: 0,
            transmission: 1,
        },
        Subject::Draw(entity, _, ordinal) => {
            EventId::Draw { site: fault.name().to_owned(), entity: entity.to_string(), ordinal }
        }
    }
}
