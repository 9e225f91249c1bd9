//! Names to addresses and back, by the system's resolver on threads of its own.

use std::io;
use std::net::SocketAddr;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType};
use futures::channel::oneshot;
use sim_core::driver::{Family, Question, Resolution, SocketKind};
use sim_core::{NameInfo, Port, ResolveError, ResolveFailure};

use crate::pool::{Job, Pool, Refused};

/// How many lookups of one driver run at the same time, each on a thread.
pub(crate) const LOOKUPS_MAX: usize = 4;
/// How many more may wait for their turn.
pub(crate) const WAITING_MAX: usize = 1_024;

/// The resolver of one driver.
///
/// `getaddrinfo` and `getnameinfo` block, and know everything: `/etc/hosts`, `/etc/services`, search
/// domains, the local cache. So they run on at most [`LOOKUPS_MAX`] threads called `resolver`, each of
/// which ends when no lookup waits: a loop that has looked up its names has no threads left over.
#[derive(Debug)]
pub(crate) struct Resolver(Pool);

impl Default for Resolver {
    fn default() -> Self {
        Self(Pool::new("resolver", LOOKUPS_MAX, WAITING_MAX))
    }
}

struct Lookup<F, T> {
    look_up: F,
    answer: oneshot::Sender<io::Result<T>>,
}

impl<F, T> Job for Lookup<F, T>
where
    F: FnOnce() -> io::Result<T> + Send,
    T: Send,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_canceled()
    }

    fn run(self: Box<Self>) {
        if self.is_wanted() {
            // Nobody waits for it any more: that is all an error here says.
            let _ = self.answer.send((self.look_up)());
        }
    }
}

impl Resolver {
    /// Looks a host and a service up; the answer wakes the task that waits for it. Dropping the future
    /// forgets a lookup that has not begun.
    pub(crate) fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>> {
        let Question { host, port, family, kind } = question;
        let (name, port) = (host.to_owned(), port.clone());
        self.submit(host, move || addresses_of(&name, &port, family, kind))
    }

    /// Looks the names of an address and its port up, likewise.
    pub(crate) fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo> {
        self.submit(&addr.to_string(), move || {
            let found = dns_lookup::getnameinfo(&addr, 0);
            let (host, service) = found.map_err(|error| failed(&addr.to_string(), error))?;
            Ok(NameInfo { host, service })
        })
    }

    fn submit<T: Send + 'static>(
        &self,
        name: &str,
        look_up: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Resolution<T> {
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.0.run(Box::new(Lookup { look_up, answer })) {
            return Resolution::Now(Err(match refused {
                Refused::Full => given_up(name, "too many lookups are waiting"),
                Refused::NoThread(error) => error,
            }));
        }
        let name = name.to_owned();
        Resolution::Later(Box::pin(async move {
            answered.await.unwrap_or_else(|_| Err(given_up(&name, "the resolver's thread is gone")))
        }))
    }
}

/// The addresses of a host, each once, in the resolver's order. An empty answer is the caller's
/// business (contract E-03).
fn addresses_of(
    host: &str,
    port: &Port,
    family: Option<Family>,
    kind: Option<SocketKind>,
) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        address: family.map_or(0, |family| match family {
            Family::V4 => AddrFamily::Inet.into(),
            Family::V6 => AddrFamily::Inet6.into(),
        }),
        socktype: kind.map_or(0, |kind| match kind {
            SocketKind::Stream => SockType::Stream.into(),
            SocketKind::Datagram => SockType::DGram.into(),
        }),
        ..AddrInfoHints::default()
    };
    let (number, service) = match port {
        Port::Number(number) => (Some(*number), None),
        Port::Service(service) => (None, Some(service.as_str())),
    };
    let found = dns_lookup::getaddrinfo(Some(host), service, Some(hints));
    let mut addresses = Vec::new();
    for found in found.map_err(|error| failed(host, error))? {
        let mut address = found?.sockaddr;
        if let Some(number) = number {
            address.set_port(number);
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// What the system says, as every driver says it.
fn failed(name: &str, error: LookupError) -> io::Error {
    let failure = match error.kind() {
        LookupErrorKind::NoName => ResolveFailure::Unknown,
        LookupErrorKind::NoData => ResolveFailure::NoAddress,
        LookupErrorKind::Service | LookupErrorKind::Socktype => ResolveFailure::UnknownService,
        LookupErrorKind::Again => ResolveFailure::TryAgain,
        _ => ResolveFailure::Failed(io::Error::from(error).to_string()),
    };
    ResolveError::new(name, failure).into()
}

fn given_up(name: &str, why: &str) -> io::Error {
    ResolveError::new(name, ResolveFailure::Failed(why.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::executor::block_on;

    fn answer<T>(resolution: Resolution<T>) -> io::Result<T> {
        match resolution {
            Resolution::Now(answer) => answer,
            Resolution::Later(future) => block_on(future),
        }
    }

    fn ask(resolver: &Resolver, host: &str, port: &str) -> Resolution<Vec<SocketAddr>> {
        let kind = Some(SocketKind::Stream);
        resolver.resolve(Question { host, port: &port.into(), family: None, kind })
    }

    #[test]
    fn a_name_of_the_hosts_file_resolves_on_a_thread() {
        let found = answer(ask(&Resolver::default(), "localhost", "7")).unwrap();
        assert!(found.iter().all(|it| it.ip().is_loopback() && it.port() == 7), "{found:?}");
        assert!(!found.is_empty());
    }

    #[test]
    fn a_family_that_is_wanted_is_the_only_one() {
        let port = Port::Number(7);
        let question = Question { host: "::1", port: &port, family: Some(Family::V4), kind: None };
        let error = answer(Resolver::default().resolve(question)).unwrap_err();
        assert!(ResolveError::of(&error).is_some(), "{error}");
        let question = Question { family: Some(Family::V6), ..question };
        let found = answer(Resolver::default().resolve(question)).unwrap();
        assert_eq!(found, ["[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn an_error_names_what_is_not_known() {
        let resolver = Resolver::default();
        let error = answer(ask(&resolver, "no-such-name.invalid", "7")).unwrap_err();
        assert!(error.to_string().contains("no-such-name.invalid"), "{error}");
        assert!(ResolveError::of(&error).is_some(), "{error:?}");
        let error = answer(ask(&resolver, "127.0.0.1", "no-such-service")).unwrap_err();
        let error = ResolveError::of(&error).expect("a resolver's");
        assert_eq!(error.failure(), &ResolveFailure::UnknownService);
        // A name cannot have a zero byte in it.
        answer(ask(&resolver, "a\0b", "7")).unwrap_err();
    }

    #[test]
    fn an_address_without_a_name_is_its_own() {
        let addr = "192.0.2.77:61".parse().unwrap();
        // Without name servers the answer is that there is none for now.
        match answer(Resolver::default().name_of(addr)) {
            Ok(found) => assert_eq!(found.host, "192.0.2.77"),
            Err(error) => assert!(ResolveError::of(&error).is_some(), "{error:?}"),
        }
    }

    #[test]
    fn many_lookups_share_a_few_threads_and_leave_none() {
        let resolver = Resolver::default();
        let all: Vec<_> = (0..50).map(|_| ask(&resolver, "localhost", "7")).collect();
        assert!(resolver.0.threads() <= LOOKUPS_MAX);
        for resolution in all {
            answer(resolution).unwrap();
        }
        while resolver.0.threads() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_dropped_resolver_answers_what_had_not_begun() {
        let resolver = Resolver::default();
        let (answer, answered) = oneshot::channel();
        let late = Lookup { look_up: || Ok(()), answer };
        resolver.0.put_off(Box::new(late));
        drop(resolver);
        block_on(answered).unwrap_err();
    }
}
