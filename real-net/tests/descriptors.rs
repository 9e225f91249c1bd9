//! What a driver says when there is no descriptor left. The limit is the process's, so this test has
//! a process of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use real_net::MioDriver;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sim_core::driver::{Driver, Family, Next, SocketKind, Source, Token};

/// `EMFILE` in Linux.
const EMFILE: i32 = 24;

/// `EMFILE` and its kin reach the engine with their codes: what contract E-29 needs.
#[test]
fn a_driver_out_of_descriptors_says_so_with_the_kernels_code() {
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
