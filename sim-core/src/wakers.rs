//! Who waits for something, mostly one.

use std::task::Waker;

/// Wakers in order of registration, each once.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakers {
    pub(crate) fn add(&mut self, waker: &Waker) {
        if self.first.iter().chain(&self.others).any(|known| known.will_wake(waker)) {
            return;
        }
        match &self.first {
            None => self.first = Some(waker.clone()),
            Some(_) => self.others.push(waker.clone()),
        }
    }

    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.others).for_each(Waker::wake);
    }
}
