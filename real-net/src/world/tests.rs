//! Names, addresses and quiet of the real world.

use super::*;

use crate::{new_loop_and_driver, run};

/// Runs `test` with a new world, as its loop sees it, without the runner.
fn in_world<F: Future<Output = ()> + 'static>(test: impl FnOnce(World) -> F) {
    let (lp, driver) = new_loop_and_driver().unwrap();
    let world = new_world(&lp, &driver, None).unwrap();
    lp.run_until_complete(test(world)).unwrap();
}

#[test]
fn a_host_has_one_address_and_every_host_resolves_it() {
    in_world(|world| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        assert_eq!((a.host(), b.host()), ("a".to_owned(), "b".to_owned()));
        let of_b = a.getaddrinfo(("b", 7)).await.unwrap();
        assert_eq!(of_b, b.getaddrinfo(("b", 7)).await.unwrap());
        assert_eq!(of_b, world.host("b").getaddrinfo(("b", 7)).await.unwrap());
        assert_ne!(of_b, b.getaddrinfo(("a", 7)).await.unwrap());
        assert!(of_b[0].ip().is_loopback());
    });
}

#[test]
fn localhost_is_the_machines_and_unknown_names_are_the_resolvers() {
    in_world(|world| async move {
        let host = world.host("a");
        let local = host.getaddrinfo(("localhost", 1)).await.unwrap();
        assert_eq!(local, [(Ipv4Addr::LOCALHOST, 1).into()]);
        let error = host.getaddrinfo(("no-such-host.invalid", 1)).await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    });
}

#[test]
fn two_worlds_at_once_have_no_address_in_common() {
    in_world(|one| async move {
        let (lp, driver) = new_loop_and_driver().unwrap();
        let two = new_world(&lp, &driver, None).unwrap();
        two.host("a");
        let here = one.host("a").getaddrinfo(("a", 1)).await.unwrap();
        // The other loop does not run, but a known name needs no waiting.
        let there = two.host("a").getaddrinfo(("a", 1)).await.unwrap();
        assert_ne!(here, there);
    });
}

#[test]
fn a_size_is_the_middle_of_its_range() {
    in_world(|world| async move {
        assert_eq!(world.size("n", 10..=20), 15);
        assert_eq!(world.size("n", 0..=u64::MAX), u64::MAX / 2);
        assert_eq!(world.size("n", 7..=7), 7);
    });
}

#[test]
#[should_panic(expected = "room for 253 hosts")]
fn a_host_too_many_panics_and_says_the_bound() {
    run(|world: World| async move {
        for number in 0..=HOSTS_MAX {
            world.host(&format!("h{number}"));
        }
    })
    .map_err(|error| panic!("{error}"))
    .unwrap();
}

#[test]
fn settle_returns_when_nothing_happens() {
    in_world(|world| async move { world.settle().await });
}
