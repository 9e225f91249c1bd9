//! Who is there when the server ends.

use std::rc::Rc;

use sim_core::sync::Event;
use sim_core::{Failure, Loop, World};

use super::client::{Client, Errand, Held, Version};
use super::server::Resources;
use crate::patience::within;
use crate::violation::ensure;

/// Of each version an idle connection that is kept, and one with a request under way.
pub(super) struct Guests {
    lp: Loop,
    idle: Vec<Client>,
    held: Vec<Held>,
    /// Set when the requests may go on.
    go: Event,
}

impl Guests {
    /// Connects them, and has half of what they ask answered.
    pub(super) async fn arrive(world: &World, resources: &Rc<Resources>) -> Result<Self, Failure> {
        let (lp, go, mut rng) = (world.host("guest"), Event::new(), world.rng("guest"));
        let (mut idle, mut held) = (Vec::new(), Vec::new());
        for version in [Version::Http1, Version::Http2] {
            let client = Client::new(&lp, version, resources);
            let errand = Errand::random(rng.below(1000), &mut rng);
            within(&lp, "the answer of who is idle then", client.run(errand)).await??;
            idle.push(client);
            let client = Client::new(&lp, version, resources);
            let seed = rng.next_u64();
            held.push(within(&lp, "half an answer", client.begin(seed, &go)).await??);
        }
        Ok(Self { lp, idle, held, go })
    }

    /// Sees all of them off, while the server ends.
    pub(super) async fn part(self) -> Result<(), Failure> {
        for client in self.idle {
            for ended in client.ended().await? {
                ensure!(
                    matches!(ended, Ok(Ok(()))),
                    "the end of the server cut an idle connection: {ended:?}"
                );
            }
        }
        // Whoever is idle has been told, so the rest of what was asked comes after the end has begun.
        self.go.set();
        for held in self.held {
            held.finish(&self.lp).await?;
        }
        Ok(())
    }
}
