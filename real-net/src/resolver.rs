//! Host names to addresses, by the system's resolver on threads of its own.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures::channel::oneshot;
use sim_core::driver::Resolution;

/// How many lookups of one driver run at the same time, each on a thread.
pub(crate) const LOOKUPS_MAX: usize = 4;
/// How many more may wait for their turn.
pub(crate) const WAITING_MAX: usize = 1_024;

type Answer = io::Result<Vec<IpAddr>>;

/// The resolver of one driver.
///
/// `getaddrinfo` blocks, and knows everything: `/etc/hosts`, search domains, the local cache. So it
/// runs on at most [`LOOKUPS_MAX`] threads called `resolver`, each of which ends when no lookup
/// waits: a loop that has looked up its names has no threads left over.
#[derive(Default)]
pub(crate) struct Resolver {
    shared: Arc<Mutex<Lookups>>,
}

#[derive(Default)]
struct Lookups {
    waiting: VecDeque<Lookup>,
    threads: usize,
}

struct Lookup {
    name: String,
    answer: oneshot::Sender<Answer>,
}

impl Resolver {
    /// Looks `name` up; the answer wakes the task that waits for it. Dropping the future forgets a
    /// lookup that has not begun.
    pub(crate) fn resolve(&self, name: &str) -> Resolution {
        let (answer, answered) = oneshot::channel();
        if let Err(error) = self.submit(Lookup { name: name.to_owned(), answer }) {
            return Resolution::Now(Err(error));
        }
        let name = name.to_owned();
        Resolution::Later(Box::pin(async move {
            answered.await.unwrap_or_else(|_| Err(failed(&name, "the resolver's thread is gone")))
        }))
    }

    fn submit(&self, lookup: Lookup) -> io::Result<()> {
        let mut lookups = lock(&self.shared);
        lookups.waiting.retain(|waiting| !waiting.answer.is_canceled());
        if lookups.waiting.len() >= WAITING_MAX {
            return Err(failed(&lookup.name, "too many lookups are waiting"));
        }
        lookups.waiting.push_back(lookup);
        if lookups.threads == LOOKUPS_MAX {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name("resolver".into()).spawn(move || work(&shared)) {
            Ok(_) => lookups.threads += 1,
            // The threads that run already will get to it.
            Err(_) if lookups.threads > 0 => {}
            Err(error) => {
                lookups.waiting.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // The lookups end outside the lock: an answer's receiver wakes a task when it is dropped.
        let waiting = std::mem::take(&mut lock(&self.shared).waiting);
        drop(waiting);
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lookups = lock(&self.shared);
        f.debug_struct("Resolver")
            .field("waiting", &lookups.waiting.len())
            .field("threads", &lookups.threads)
            .finish()
    }
}

/// A resolver's thread: looks names up until none waits.
fn work(shared: &Mutex<Lookups>) {
    loop {
        let mut lookups = lock(shared);
        let Some(Lookup { name, answer }) = lookups.waiting.pop_front() else {
            lookups.threads -= 1;
            return;
        };
        drop(lookups);
        if !answer.is_canceled() {
            // Nobody waits for it any more: that is all an error here says.
            let _ = answer.send(look_up(&name));
        }
    }
}

/// The addresses of `name`, each once, in the resolver's order. An empty answer is the caller's
/// business (contract E-03).
fn look_up(name: &str) -> Answer {
    let found = (name, 0).to_socket_addrs().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot resolve {name:?}: {error}"))
    })?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

fn failed(name: &str, why: &str) -> io::Error {
    io::Error::other(format!("cannot resolve {name:?}: {why}"))
}

/// No thread panics while it holds the lock; if one did, the table is still whole.
fn lock(shared: &Mutex<Lookups>) -> MutexGuard<'_, Lookups> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::executor::block_on;

    fn answer(resolution: Resolution) -> Answer {
        match resolution {
            Resolution::Now(answer) => answer,
            Resolution::Later(future) => block_on(future),
        }
    }

    #[test]
    fn a_name_of_the_hosts_file_resolves_on_a_thread() {
        let found = answer(Resolver::default().resolve("localhost")).unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(!found.is_empty());
    }

    #[test]
    fn an_error_names_the_host() {
        let error = answer(Resolver::default().resolve("no-such-name.invalid")).unwrap_err();
        assert!(error.to_string().contains("no-such-name.invalid"), "{error}");
    }

    #[test]
    fn many_lookups_share_a_few_threads_and_leave_none() {
        let resolver = Resolver::default();
        let all: Vec<_> = (0..50).map(|_| resolver.resolve("localhost")).collect();
        assert!(lock(&resolver.shared).threads <= LOOKUPS_MAX);
        for resolution in all {
            answer(resolution).unwrap();
        }
        while lock(&resolver.shared).threads > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_dropped_resolver_answers_what_had_not_begun() {
        let resolver = Resolver::default();
        let (answer, answered) = oneshot::channel();
        lock(&resolver.shared).waiting.push_back(Lookup { name: "late".into(), answer });
        drop(resolver);
        block_on(answered).unwrap_err();
    }
}
