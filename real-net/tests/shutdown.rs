//! The signals that end a server. They are the process's, so this test has a process of its own.

use real_net::{Shutdown, new_loop, shutdown_signal};
use rustix::process::{Signal, getpid, kill_process};

#[test]
fn the_first_signal_completes_the_future_and_the_process_goes_on() {
    let lp = new_loop().unwrap();
    // Whoever handled the signals before, and handles them no more, makes no difference.
    for signal in [sim_core::Signal::TERM, sim_core::Signal::INT] {
        lp.add_signal_handler(signal, || {}).unwrap();
        assert!(lp.remove_signal_handler(signal));
    }
    let shutdown = shutdown_signal().unwrap();
    kill_process(getpid(), Signal::TERM).unwrap();
    assert_eq!(lp.run_until_complete(shutdown).unwrap(), Shutdown::Term);
}
