//! Several addresses at once (E.1).

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::connecting::{addresses, full_listener, serve};
use crate::resolving::with_names;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

both_loops! {
    /// E-08: when an address does not answer, the next is tried after the delay, and wins; the attempt before it
    /// is over.
    async fn an_address_that_does_not_answer_is_overtaken(world: World) -> io::Result<()> {
        let (mut listener, filler) = full_listener(&world, "silent").await?;
        let served = serve(&world, "answers").await?;
        let all = addresses(&world, &["silent", "answers"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        let begun = lp.time();
        let conn = lp.connection().happy_eyeballs(20 * MS).connect(("any", 7000), quiet).await?;
        assert!(lp.time() >= begun + 20 * MS);
        assert_eq!(conn.transport().peername().unwrap().ip(), all[1]);
        world.settle().await;
        assert_eq!(served.text(), "CM");
        // The listener gets room, and nobody comes.
        drop(listener.accept().await?);
        filler.closed().await.ok();
        let waits = lp.timeout(20 * MS, listener.accept()).await;
        assert!(waits.is_err());
        Ok(())
    }

    /// E-08: when an attempt fails, the next begins at once.
    async fn an_address_that_refuses_holds_nobody_up(world: World) -> io::Result<()> {
        serve(&world, "answers").await?;
        let all = addresses(&world, &["refuses", "answers"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        let connecting = lp.connection().happy_eyeballs(HOUR);
        let conn = lp.timeout(HOUR / 2, connecting.connect(("any", 7000), quiet)).await??;
        assert_eq!(conn.transport().peername().unwrap().ip(), all[1]);
        Ok(())
    }

    /// E-05, E-08: when all fail, the errors are told in the order in which the attempts began.
    async fn all_failures_are_told(world: World) -> io::Result<()> {
        let all = addresses(&world, &["one", "two"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        let connecting = lp.connection().happy_eyeballs(Duration::ZERO);
        let error = connecting.connect(("any", 7000), quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let place = |ip: &IpAddr| error.to_string().find(&ip.to_string()).expect("it is named");
        assert!(place(&all[0]) < place(&all[1]), "{error}");
        Ok(())
    }

    /// E-09: the families of a name take turns with happy eyeballs, and as said otherwise.
    async fn families_take_turns(world: World) -> io::Result<()> {
        let two = addresses(&world, &["one", "two"]).await?;
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let (lp, _) = with_names(&world.host("client"), &[("any", &[two[0], two[1], six])]).await?;
        let tried = async |connecting: sim_core::Connecting| {
            let error = connecting.connect(("any", 7000), quiet).await.unwrap_err().to_string();
            let mut tried = [two[0], two[1], six].map(|ip| (error.find(&ip.to_string()), ip));
            tried.sort_unstable();
            tried.map(|(_, ip)| ip)
        };
        let (resolved, turns) = ([two[0], two[1], six], [two[0], six, two[1]]);
        assert_eq!(tried(lp.connection()).await, resolved);
        assert_eq!(tried(lp.connection().interleave(1)).await, turns);
        assert_eq!(tried(lp.connection().interleave(2)).await, resolved);
        assert_eq!(tried(lp.connection().happy_eyeballs(HOUR)).await, turns);
        assert_eq!(tried(lp.connection().happy_eyeballs(HOUR).interleave(0)).await, resolved);
        Ok(())
    }

    /// E-10, J-39: of two attempts that succeed together one wins, and the other's socket is closed.
    async fn of_two_that_succeed_together_one_wins(world: World) -> io::Result<()> {
        let logs = [serve(&world, "one").await?, serve(&world, "two").await?];
        let all = addresses(&world, &["one", "two"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        for round in 1..=10 {
            let connecting = lp.connection().happy_eyeballs(Duration::ZERO);
            let conn = connecting.connect(("any", 7000), quiet).await?;
            world.settle().await;
            let open = |log: &Log| log.count("CM") - log.entries().iter().filter(|entry| entry.starts_with("CL")).count();
            assert_eq!(open(&logs[0]) + open(&logs[1]), 1, "round {round}: {logs:?}");
            conn.transport().close();
            conn.closed().await?;
            world.settle().await;
        }
        Ok(())
    }

    /// E-08, E-11: giving up closes all attempts.
    async fn giving_up_closes_all_attempts(world: World) -> io::Result<()> {
        let (mut first, _filler) = full_listener(&world, "first").await?;
        let all = addresses(&world, &["first", "first"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        let connecting = lp.connection().happy_eyeballs(MS);
        let waits = lp.timeout(20 * MS, connecting.connect(("any", 7000), quiet)).await;
        assert!(waits.is_err());
        drop(first.accept().await?);
        assert!(lp.timeout(20 * MS, first.accept()).await.is_err());
        Ok(())
    }
}
