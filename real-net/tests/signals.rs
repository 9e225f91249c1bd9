//! Signals that a loop handles. They are the process's, so this test has a process of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use real_net::{new_loop, shutdown_signal};
use sim_core::Signal;

#[test]
fn handlers_hear_of_every_signal_and_after_a_shutdown_that_nobody_waits_for() {
    let lp = new_loop().unwrap();
    let heard = Rc::new(Cell::new(0));
    // SIGPWR, and one of real time: those have no handler that is known by a name.
    let numbers = [30, 40];
    for number in numbers {
        let heard = Rc::clone(&heard);
        lp.add_signal_handler(Signal::new(number).unwrap(), move || {
            heard.set(heard.get() + number)
        })
        .unwrap();
    }
    drop(shutdown_signal().unwrap());
    let terms = Rc::new(Cell::new(0));
    let own = Rc::clone(&terms);
    lp.add_signal_handler(Signal::TERM, move || own.set(own.get() + 1)).unwrap();
    drop(shutdown_signal().unwrap());
    let handle = (*lp).clone();
    lp.run_until_complete(async move {
        for number in numbers {
            handle.raise_signal(Signal::new(number).unwrap()).unwrap();
        }
        handle.raise_signal(Signal::TERM).unwrap();
        handle.sleep(Duration::from_millis(50)).await;
    })
    .unwrap();
    assert_eq!((heard.get(), terms.get()), (70, 1));
}
