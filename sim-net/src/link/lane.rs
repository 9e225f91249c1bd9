//! What is remembered of a flow in one direction: how many packets it had, its draws, and the state
//! of its losses.

use crate::decisions::{Decisions, Draws, Entity, Site};
use crate::link::loss::Chain;
use crate::plane::Watch;

/// The packets of a flow in one direction, for what chance does to them.
///
/// The ordinal of every draw about a packet is the packet's number, so that what happens to one
/// renumbers no other.
#[derive(Debug)]
pub(crate) struct Lane {
    entity: Entity,
    /// How many packets went through it.
    packets: u64,
    delays: Draws,
    faults: Option<Box<FaultDraws>>,
    pub(crate) chain: Chain,
    /// The packets that are held back for later ones, by their keys.
    pub(crate) held_back: Vec<super::table::HeldBackKey>,
    /// What the run's plane knows of the flow, if there is one and it was asked.
    pub(crate) watch: Option<Watch>,
}

/// The draws of faults.
#[derive(Debug)]
struct FaultDraws {
    loss: Draws,
    duplicate: Draws,
    corrupt: Draws,
    reorder: Draws,
}

impl Lane {
    /// The lane whose draws are keyed by `entity`.
    pub(crate) fn new(entity: Entity) -> Box<Self> {
        Box::new(Self {
            entity,
            packets: 0,
            delays: Draws::new(Site::PacketDelay, entity),
            faults: None,
            chain: Chain::default(),
            held_back: Vec::new(),
            watch: None,
        })
    }

    /// Counts a packet, and returns its ordinal: from 0 on.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.packets += 1;
        self.packets - 1
    }

    /// The ordinal of the next packet.
    #[inline]
    pub(crate) fn upcoming(&self) -> u64 {
        self.packets
    }

    /// The draw for a packet's delay.
    #[inline]
    pub(crate) fn delay(&mut self, ordinal: u64, decisions: &Decisions) -> u64 {
        self.delays.at(decisions, ordinal)
    }

    /// The draw of a fault's site for a packet.
    #[inline]
    pub(crate) fn fault(&mut self, site: Site, ordinal: u64, decisions: &Decisions) -> u64 {
        let entity = self.entity;
        let faults = self.faults.get_or_insert_with(|| {
            Box::new(FaultDraws {
                loss: Draws::new(Site::PacketLoss, entity),
                duplicate: Draws::new(Site::PacketDuplicate, entity),
                corrupt: Draws::new(Site::PacketCorrupt, entity),
                reorder: Draws::new(Site::PacketReorder, entity),
            })
        });
        let draws = match site {
            Site::PacketDuplicate => &mut faults.duplicate,
            Site::PacketCorrupt => &mut faults.corrupt,
            Site::PacketReorder => &mut faults.reorder,
            _ => &mut faults.loss,
        };
        debug_assert_eq!(draws.site(), site);
        draws.at(decisions, ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_keyed_by_the_number_of_the_packet() {
        let decisions = Decisions::new(3);
        let entity = Entity::named("a@1→b:80#1");
        let mut lane = Lane::new(entity);
        for ordinal in 0..20 {
            assert_eq!(lane.next(), ordinal);
            // Some packets are asked about less.
            if ordinal % 3 == 0 {
                let draw = lane.fault(Site::PacketLoss, ordinal, &decisions);
                assert_eq!(draw, decisions.at(Site::PacketLoss, entity, ordinal));
            }
            if ordinal % 5 == 0 {
                let draw = lane.delay(ordinal, &decisions);
                assert_eq!(draw, decisions.at(Site::PacketDelay, entity, ordinal));
            }
        }
    }
}
