//! What a driver and a server do when there is no descriptor left. The limit is the process's, so
//! these tests have a process of their own, and come one after the other.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use real_net::{MioDriver, new_loop};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sim_core::driver::{Driver, Family, Next, SocketKind, Source, Token};
use sim_core::{Cx, Protocol};

/// `EMFILE` in Linux.
const EMFILE: i32 = 24;

/// Whoever changes the limit holds it.
static LIMIT: Mutex<()> = Mutex::new(());

/// `EMFILE` and its kin reach the engine with their codes: what contract E-29 needs.
#[test]
fn a_driver_out_of_descriptors_says_so_with_the_kernels_code() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let driver = MioDriver::new().unwrap();
    let listener = driver.open(SocketKind::Stream, Family::V4).unwrap();
    driver.bind(listener, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    driver.listen(listener, 8).unwrap();
    driver.register(listener, Token(1)).unwrap();
    let client = driver.open(SocketKind::Stream, Family::V4).unwrap();
    driver.connect(client, driver.local_addr(listener).unwrap()).unwrap();

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
    let error = accept(&driver, listener).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EMFILE));
    let error = driver.open(SocketKind::Stream, Family::V4).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EMFILE));

    setrlimit(Resource::Nofile, limit).unwrap();
    accept(&driver, listener).unwrap();
}

fn accept(driver: &MioDriver, listener: Source) -> io::Result<Source> {
    loop {
        match driver.accept(listener) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                driver.wait(Next::Never, &mut Vec::new()).unwrap();
            }
            outcome => return outcome.map(|(source, _)| source),
        }
    }
}

struct Quiet;

impl Protocol for Quiet {
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

/// E-29, J-20: out of descriptors a listener reports it once, rests for a second although a
/// descriptor is free long before, and then accepts what waited.
#[test]
fn a_listener_out_of_descriptors_rests_for_a_second() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let lp = new_loop().unwrap();
    let handle = (*lp).clone();
    lp.run_until_complete(async move {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let reported = handle.create_future();
        let (heard, first) = (Rc::clone(&reports), reported.clone());
        handle.set_exception_handler(Some(Rc::new(move |lp, context| {
            heard.borrow_mut().push(context.to_string());
            // The second report, if there were one, would be told by the count.
            let _ = first.set_result(lp.time());
        })));
        let server = handle.create_server((Ipv4Addr::LOCALHOST, 0), || Quiet).await.unwrap();
        let place = server.sockets()[0];
        let mut client = sim_core::Socket::open(&handle, SocketKind::Stream, Family::V4).unwrap();

        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
        client.connect(place).await.unwrap();
        let reported_at = reported.await.unwrap();
        setrlimit(Resource::Nofile, limit).unwrap();

        while server.connection_count() == 0 {
            handle.sleep(Duration::from_millis(5)).await;
        }
        let rested = handle.time() - reported_at;
        assert!(rested >= Duration::from_secs(1), "{rested:?}");
        let reports = reports.borrow();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].starts_with("socket.accept() out of system resource"), "{reports:?}");
        server.close();
    })
    .unwrap();
}
