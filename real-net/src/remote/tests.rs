//! Calls from other threads (contract ).

use super::*;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use sim_core::EventLoop;

use crate::new_loop;

/// What ran: by which thread it was called, and its number.
type Seen = Arc<Mutex<Vec<(usize, usize)>>>;

/// A loop whose calls write numbers down until `count` came, and what they wrote.
struct Notes {
    lp: EventLoop,
    remote: Remote,
    seen: Seen,
}

impl Notes {
    fn new() -> Self {
        let lp = new_loop().unwrap();
        let remote = Remote::new(&lp);
        Self { lp, remote, seen: Seen::default() }
    }

    fn run_until(&self, count: usize) -> Vec<(usize, usize)> {
        let (lp, seen) = (self.lp.clone(), Arc::clone(&self.seen));
        let all = async move {
            while seen.lock().unwrap().len() < count {
                lp.sleep(std::time::Duration::ZERO).await;
            }
        };
        self.lp.run_until_complete(all).unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn note(&self, thread: usize, number: usize) -> impl FnOnce(&Loop) + Send + use<> {
        note(&self.seen, thread, number)
    }
}

fn note(seen: &Seen, thread: usize, number: usize) -> impl FnOnce(&Loop) + Send + use<> {
    let seen = Arc::clone(seen);
    move |_| seen.lock().unwrap().push((thread, number))
}

#[test]
fn calls_of_each_thread_keep_their_order() {
    let notes = Notes::new();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (remote, seen) = (notes.remote.clone(), Arc::clone(&notes.seen));
            thread::spawn(move || {
                (0..100).for_each(|number| remote.call_soon(note(&seen, thread, number)).unwrap());
            })
        })
        .collect();
    let seen = notes.run_until(400);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for thread in 0..4 {
        let numbers: Vec<_> =
            seen.iter().filter(|(by, _)| *by == thread).map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_call_wakes_a_loop_that_waits_without_a_limit() {
    let lp = new_loop().unwrap();
    let remote = Remote::new(&lp);
    let (sender, receiver) = futures::channel::oneshot::channel();
    let other = thread::spawn(move || remote.call_soon(move |_| sender.send(1).unwrap()));
    assert_eq!(lp.run_until_complete(receiver).unwrap(), Ok(1));
    other.join().unwrap().unwrap();
}

#[test]
fn a_call_from_the_loops_own_thread_works() {
    let notes = Notes::new();
    notes.remote.call_soon(notes.note(0, 1)).unwrap();
    assert_eq!(notes.run_until(1), [(0, 1)]);
}

#[test]
fn a_panic_in_a_call_costs_that_call_alone() {
    let notes = Notes::new();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&reports);
    notes.lp.set_exception_handler(Some(Rc::new(move |_, context| {
        heard.borrow_mut().push(context.to_string());
    })));
    notes.remote.call_soon(|_| panic!("ouch")).unwrap();
    notes.remote.call_soon(notes.note(0, 2)).unwrap();
    assert_eq!(notes.run_until(1), [(0, 2)]);
    assert!(reports.borrow()[0].contains("ouch"), "{reports:?}");
}

#[test]
fn calls_after_the_close_are_refused_and_those_before_it_dropped() {
    struct Dropped(Remote);
    impl Drop for Dropped {
        fn drop(&mut self) {
            // A destructor may call back: no lock is held.
            assert!(self.0.is_closed());
        }
    }

    let notes = Notes::new();
    let remote = notes.remote.clone();
    let captured = Dropped(remote.clone());
    remote.call_soon(move |_| drop(captured)).unwrap();
    notes.lp.close().unwrap();
    assert_eq!(remote.call_soon(notes.note(0, 0)), Err(LoopClosed));
    assert!(Remote::new(&notes.lp).is_closed());
    drop(notes);
    assert!(remote.is_closed());
}

#[test]
fn a_close_that_races_with_calls_refuses_the_late_ones() {
    for _ in 0..20 {
        let lp = new_loop().unwrap();
        let remote = Remote::new(&lp);
        let caller = thread::spawn(move || while remote.call_soon(|_| {}).is_ok() {});
        lp.run_until_complete(async {}).unwrap();
        drop(lp);
        caller.join().unwrap();
    }
}
