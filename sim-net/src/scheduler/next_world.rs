//! What a scheduler leaves to the next world, and what that takes.

use std::cell::Cell;
use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;

use sim_core::Time;

use super::{CONTROL, Process, Scheduler};
use crate::memory::clear;

/// For how many hosts processes are left to the next world.
const PROCESSES_LEFT_MAX: usize = 64;

impl Scheduler {
    /// Ends a process with the world.
    pub(super) fn end_life(&self, process: Option<Process>) {
        let Some(process) = process else { return };
        process.engine.end();
        let mut rested = self.rested.borrow_mut();
        if rested.len() < PROCESSES_LEFT_MAX {
            rested.push(process);
        }
    }

    /// The world has ended, and its control loop with it: leaves what became of it to the next one, if that is
    /// wanted and nobody has a handle of it.
    pub(crate) fn leave(self: &Rc<Self>, control: Option<Process>) {
        let mut rested = self.rested.take();
        rested.extend(control);
        let Some(memory) = self.memory.take() else { return };
        rested.retain(|process| {
            let is_held = process.engine.is_held() || process.driver.is_held();
            // Who holds it wakes nobody in the next world.
            if is_held {
                process.driver.die();
            } else {
                process.driver.renew();
            }
            !is_held
        });
        rested.sort_by_key(|process| Reverse(process.driver.index()));
        if Rc::strong_count(self) != 1 + rested.len() || Rc::weak_count(self) > 0 {
            return;
        }
        self.renew();
        self.rested.replace(rested);
        memory.leave(Rc::clone(self));
    }

    /// Makes it as new, but for its room.
    fn renew(&self) {
        let Self {
            now,
            network,
            seats,
            // They are empty.
            departed: _,
            rested: _,
            settlers: _,
            orders,
            properties,
            programs,
            // The network has it, too.
            bell: _,
            engines: _,
            // What is said when a world begins.
            memory: _,
            limits: _,
            end: _,
            events_max: _,
            turns_max: _,
            panics: _,
            worn_out,
            turns,
            current,
            events,
            rung,
        } = self;
        clear(&mut seats.borrow_mut());
        clear_cell(events);
        clear_cell(rung);
        now.set(Time::ZERO);
        network.borrow_mut().renew();
        orders.renew();
        properties.borrow_mut().renew();
        programs.borrow_mut().renew();
        worn_out.set(None);
        turns.set(0);
        current.set(CONTROL);
    }

    /// Nobody needs what it has left to the next world.
    pub(crate) fn drop_rested(&self) {
        let rested = self.rested.take();
        drop(rested);
    }

    /// The name of the next host, which the host of its place had in the last world, too, most likely.
    pub(super) fn name_of_next(&self, name: &str) -> Arc<str> {
        let index = self.network().hosts.len() as u32;
        let rested = self.rested.borrow();
        let mut drivers = rested.iter().rev().map(|process| &process.driver);
        match drivers.find(|driver| driver.index() >= index) {
            Some(driver) if **driver.name() == *name => Arc::clone(driver.name()),
            _ => Arc::from(name),
        }
    }

    /// The first process of a host: the one that a host of the same place and name had in the last world, if there
    /// is one.
    pub(super) fn first_process(self: &Rc<Self>, index: u32, name: &Arc<str>) -> Process {
        while let Some(mut process) =
            self.rested.borrow_mut().pop_if(|it| it.driver.index() <= index)
        {
            let is_its = process.driver.index() == index && process.driver.name() == name;
            if is_its && process.engine.renew() {
                process.engine.handle().set_panic_policy(self.panics.get());
                return process;
            }
        }
        self.new_process(index, name)
    }
}

fn clear_cell<T>(cell: &Cell<Vec<T>>) {
    let mut table = cell.take();
    clear(&mut table);
    cell.set(table);
}
