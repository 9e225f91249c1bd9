//! Worlds of many hosts that do the same at the same instants, in which what comes next is looked for ahead.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sim_core::{Cx, LoopFuture, Protocol, Time};
use sim_net::{HostOperator, Sim};

use crate::protocols::{Datagrams, Echo, ms};

const ROUNDS: usize = 5;
/// Of so many clients one crashes, in the turn of the one before it, in the middle of its rounds.
const CRASHES: u32 = 7;

/// Which client had an echo, and when, in order.
type Log = Rc<RefCell<Vec<(u32, Time)>>>;

struct Client {
    number: u32,
    rounds: usize,
    log: Log,
    /// The host that this one takes down.
    victim: Option<HostOperator>,
    done: LoopFuture<()>,
}

impl Protocol for Client {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&[7; 64]);
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _: &[u8]) {
        self.log.borrow_mut().push((self.number, cx.event_loop().time()));
        self.rounds += 1;
        if self.rounds == ROUNDS / 2
            && let Some(victim) = &self.victim
        {
            assert!(victim.crash());
        }
        if self.rounds < ROUNDS {
            cx.write(&[7; 64]);
        } else {
            self.done.set_result(()).expect("only the last round sets it");
        }
    }
}

fn is_victim(number: u32) -> bool {
    number % CRASHES == CRASHES - 1
}

/// What `clients` of one server had, and the hash of the run.
fn crowd(seed: u64, clients: u32, crashes: bool) -> (Vec<(u32, Time)>, u64) {
    let simulation = Sim::new(seed).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let log = Log::default();
    let shared = Rc::clone(&log);
    let run = async move {
        let server = world.host("server");
        let _listening = server.server().backlog(clients).bind(("server", 7), || Echo).await?;
        let (mut ended, mut endpoints) = (Vec::new(), Vec::new());
        for number in 0..clients {
            let name = format!("client-{number}");
            let lp = world.host(&name);
            let next = number + 1;
            let has_victim = crashes && is_victim(next) && next < clients;
            let victim = has_victim.then(|| {
                let name = format!("client-{next}");
                world.host(&name);
                operator.host(&name)
            });
            let (log, done) = (Rc::clone(&shared), lp.create_future());
            let client = Client { number, rounds: 0, log, victim, done: done.clone() };
            let local = lp.datagram().local((name.as_str(), 8));
            let endpoint = local.bind(Datagrams::default).await?;
            // The one before it hears of each.
            if let Some(before) = number.checked_sub(1) {
                let found = lp.getaddrinfo((format!("client-{before}").as_str(), 8)).await?;
                endpoint.transport().send_to(b"hello", Some(found[0]))?;
            }
            endpoints.push(endpoint);
            let own = lp.clone();
            let task = lp.create_task(async move {
                let _conn = own.create_connection(("server", 7), || client).await?;
                done.await.map_err(io::Error::from)
            });
            if !(crashes && is_victim(number)) {
                ended.push(task);
            }
        }
        for task in ended {
            task.await.map_err(io::Error::from)??;
        }
        world.sleep(ms(10)).await;
        for (number, endpoint) in (1..clients).zip(&endpoints) {
            if !(crashes && is_victim(number - 1)) {
                assert_eq!(endpoint.with(|it, _| it.received.len()), 1, "before {number}");
            }
        }
        io::Result::Ok(())
    };
    simulation.run(run).unwrap();
    let log = log.borrow().clone();
    (log, simulation.hash())
}

/// When a client had its echoes.
fn echoes_of(log: &[(u32, Time)], client: u32) -> Vec<Time> {
    log.iter().filter(|(number, _)| *number == client).map(|&(_, time)| time).collect()
}

#[test]
fn a_client_among_many_is_served_as_one_among_few() {
    let (few, _) = crowd(1, 3, false);
    let expected = echoes_of(&few, 0);
    assert_eq!(expected.len(), ROUNDS);
    let (many, hash) = crowd(1, 600, true);
    for client in 0..600 {
        let echoes = echoes_of(&many, client);
        if is_victim(client) {
            assert!(echoes.len() <= ROUNDS / 2 && expected.starts_with(&echoes), "{client}");
        } else {
            assert_eq!(echoes, expected, "{client}");
        }
    }
    assert_eq!(crowd(1, 600, true), (many, hash));
}

#[test]
fn hosts_that_are_ready_together_go_in_another_order_each_instant_and_in_each_seed() {
    let order = |seed| -> Vec<Vec<u32>> {
        let (log, _) = crowd(seed, 600, false);
        let numbers: Vec<u32> = log.into_iter().map(|(number, _)| number).collect();
        numbers.chunks(600).map(<[u32]>::to_vec).collect()
    };
    let (one, other) = (order(1), order(2));
    for instants in [&one, &other] {
        assert_eq!(instants.len(), ROUNDS);
        for instant in instants {
            let mut sorted = instant.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..600) && !instant.is_sorted());
        }
        assert!(instants.windows(2).all(|pair| pair[0] != pair[1]));
    }
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
}
