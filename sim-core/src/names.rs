//! Names to addresses and back: asyncio's `getaddrinfo` and `getnameinfo`.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;

use crate::Loop;
use crate::address::{HostPort, Port, ToHostPort, numeric_host};
use crate::driver::{Family, Question, Resolution, SocketKind};
use crate::handle::closed_error;

/// What an answer of [`Loop::getaddrinfo_with`] is wanted for. By default, for anything.
///
/// ```
/// use sim_core::Hints;
/// use sim_core::driver::{Family, SocketKind};
///
/// let six = Hints::new().family(Family::V6).kind(SocketKind::Datagram);
/// assert_ne!(six, Hints::default());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[must_use = "give it to Loop::getaddrinfo_with"]
pub struct Hints {
    family: Option<Family>,
    kind: Option<SocketKind>,
}

impl Hints {
    /// Any family, any kind of socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Addresses of this family alone.
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// A service over this kind of socket alone.
    pub fn kind(mut self, kind: SocketKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Says of a numeric address of another family that it is the caller's mistake.
    fn check(self, addr: SocketAddr) -> io::Result<()> {
        match self.family {
            Some(family) if family != Family::of(&addr) => {
                let text = format!("address {} is not of the family that was asked for", addr.ip());
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn of(kind: SocketKind, family: Option<Family>) -> Self {
        Self { family, kind: Some(kind) }
    }
}

/// What [`Loop::getnameinfo`] found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NameInfo {
    /// The name of the host, or its address in the usual text form if it has none.
    pub host: String,
    /// The name of the service, or the port in digits if it has none.
    pub service: String,
}

/// Why there is no answer for a name or an address.
///
/// It is inside the `io::Error` of the call; [`of`](Self::of) gets it out. The kind of that is
/// `NotFound` where there is nothing to be found, else `Other`.
///
/// ```
/// use std::io;
/// use sim_core::{ResolveError, ResolveFailure};
///
/// let error = io::Error::from(ResolveError::new("db", ResolveFailure::TryAgain));
/// assert_eq!(error.to_string(), r#"cannot resolve "db": temporary failure in name resolution"#);
/// assert!(ResolveError::of(&error).is_some_and(ResolveError::is_temporary));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolveError {
    name: String,
    failure: ResolveFailure,
}

/// What [`ResolveError`] says, as `getaddrinfo` does.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ResolveFailure {
    /// Nobody knows the name (`EAI_NONAME`).
    Unknown,
    /// The name is known, and has no address of the family (`EAI_NODATA`, `EAI_ADDRFAMILY`), or the
    /// answer was empty (contract E-03).
    NoAddress,
    /// No service of the name is known for this kind of socket (`EAI_SERVICE`).
    UnknownService,
    /// The name servers do not answer, or not now: it may work later (`EAI_AGAIN`).
    TryAgain,
    /// They will not answer (`EAI_FAIL`), or something else is wrong, in the words of the system.
    Failed(String),
}

impl ResolveError {
    /// `name` has no answer because of `failure`.
    pub fn new(name: impl Into<String>, failure: ResolveFailure) -> Self {
        Self { name: name.into(), failure }
    }

    /// The one inside an `io::Error`, if there is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why there is no answer.
    pub fn failure(&self) -> &ResolveFailure {
        &self.failure
    }

    /// True if it may work later.
    pub fn is_temporary(&self) -> bool {
        self.failure == ResolveFailure::TryAgain
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, failure } = self;
        let why = match failure {
            ResolveFailure::Unknown => "name or service not known",
            ResolveFailure::NoAddress => "no address of this family is associated with it",
            ResolveFailure::UnknownService => "the service is not known for this kind of socket",
            ResolveFailure::TryAgain => "temporary failure in name resolution",
            ResolveFailure::Failed(why) => why,
        };
        write!(f, "cannot resolve {name:?}: {why}")
    }
}

impl Error for ResolveError {}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        let kind = match error.failure {
            ResolveFailure::Unknown
            | ResolveFailure::NoAddress
            | ResolveFailure::UnknownService => io::ErrorKind::NotFound,
            ResolveFailure::TryAgain | ResolveFailure::Failed(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl Loop {
    /// The addresses of `addr`, in the order to try them. Hosts and ports that are numeric need no
    /// resolver (contract E-02), and take no time. It never blocks the loop (G-63).
    ///
    /// ```
    /// # use sim_core::Loop;
    /// async fn addresses(client: Loop) -> std::io::Result<()> {
    ///     let numeric = client.getaddrinfo(("127.0.0.1", 80)).await?;
    ///     assert_eq!(numeric, client.getaddrinfo(("127.0.0.1", "http")).await?);
    ///     let names = client.getnameinfo(numeric[0]).await?;
    ///     assert_eq!((&*names.host, &*names.service), ("localhost", "http"));
    ///     Ok(())
    /// }
    /// # drop(addresses);
    /// ```
    ///
    /// # Errors
    ///
    /// A [`ResolveError`], which names the host or the service; one for an empty answer (E-03); on a
    /// closed loop.
    ///
    /// # Cancel safety
    ///
    /// Dropping it takes the question back.
    pub async fn getaddrinfo(&self, addr: impl ToHostPort) -> io::Result<Vec<SocketAddr>> {
        self.getaddrinfo_with(addr, Hints::default()).await
    }

    /// [`getaddrinfo`](Self::getaddrinfo) for a family or a kind of socket alone.
    ///
    /// # Errors
    ///
    /// As [`getaddrinfo`](Self::getaddrinfo).
    pub async fn getaddrinfo_with(
        &self,
        addr: impl ToHostPort,
        hints: Hints,
    ) -> io::Result<Vec<SocketAddr>> {
        if self.core.is_closed() {
            return Err(closed_error());
        }
        let (host, port) = match addr.to_host_port() {
            HostPort::Address(addr) => return hints.check(addr).map(|()| vec![addr]),
            HostPort::Named { host, port } => (host, port),
        };
        let known = match numeric_host(&host) {
            Some(ip) => Some(hints.check(SocketAddr::new(ip, 0)).map(|()| vec![ip])),
            None => self.view.as_ref().and_then(|view| view.resolve(&host)),
        };
        let answer = match known {
            Some(known) => {
                let known = known?;
                let port = self.port_number(&port, hints.kind).await?;
                let wanted = |ip: &IpAddr| {
                    let addr = SocketAddr::new(*ip, port);
                    hints.family.is_none_or(|family| Family::of(&addr) == family).then_some(addr)
                };
                known.iter().filter_map(wanted).collect()
            }
            None => {
                let Hints { family, kind } = hints;
                let question = Question { host: &host, port: &port, family, kind };
                self.answer(self.core.driver.resolve(question)).await?
            }
        };
        if answer.is_empty() {
            return Err(ResolveError::new(host, ResolveFailure::NoAddress).into());
        }
        Ok(answer)
    }

    /// The names of an address and of its port, each as numbers if it has none. It never blocks the
    /// loop (contract G-63).
    ///
    /// # Errors
    ///
    /// A [`ResolveError`], if the resolver has no answer for now; on a closed loop.
    ///
    /// # Cancel safety
    ///
    /// Dropping it takes the question back.
    pub async fn getnameinfo(&self, addr: SocketAddr) -> io::Result<NameInfo> {
        if self.core.is_closed() {
            return Err(closed_error());
        }
        let known = self.view.as_ref().and_then(|view| view.name_of(addr.ip()));
        let Some(host) = known else {
            return self.answer(self.core.driver.name_of(addr)).await;
        };
        // The port alone is the driver's business.
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
        let NameInfo { service, .. } = self.answer(self.core.driver.name_of(local)).await?;
        Ok(NameInfo { host, service })
    }

    /// Where to listen or bind for `addr`: no host is every local address, of each family that is
    /// wanted (contract E-16).
    pub(crate) async fn local_addresses(
        &self,
        addr: HostPort,
        hints: Hints,
    ) -> io::Result<Vec<SocketAddr>> {
        let port = match &addr {
            HostPort::Named { host, port } if host.is_empty() => port,
            _ => return self.getaddrinfo_with(addr, hints).await,
        };
        let port = self.port_number(port, hints.kind).await?;
        let families = [Family::V4, Family::V6].into_iter();
        let wanted = families.filter(|it| hints.family.is_none_or(|family| *it == family));
        Ok(wanted.map(|family| SocketAddr::new(family.unspecified().ip(), port)).collect())
    }

    async fn port_number(&self, port: &Port, kind: Option<SocketKind>) -> io::Result<u16> {
        let service = match port {
            Port::Number(number) => return Ok(*number),
            Port::Service(service) => service,
        };
        let question = Question { host: "127.0.0.1", port, family: Some(Family::V4), kind };
        let answer = self.answer(self.core.driver.resolve(question)).await?;
        let unknown = || ResolveError::new(service, ResolveFailure::UnknownService).into();
        answer.first().map(SocketAddr::port).ok_or_else(unknown)
    }

    /// Waits for an answer; of a loop that was closed meanwhile, no more.
    async fn answer<T>(&self, resolution: Resolution<T>) -> io::Result<T> {
        match resolution {
            Resolution::Now(answer) => answer,
            Resolution::Later(mut answer) => {
                poll_fn(|cx| match self.core.is_closed() {
                    true => Poll::Ready(Err(closed_error())),
                    false => answer.as_mut().poll(cx),
                })
                .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_in_the_error_of_the_call() {
        let kinds = [
            (ResolveFailure::Unknown, io::ErrorKind::NotFound, false),
            (ResolveFailure::NoAddress, io::ErrorKind::NotFound, false),
            (ResolveFailure::UnknownService, io::ErrorKind::NotFound, false),
            (ResolveFailure::TryAgain, io::ErrorKind::Other, true),
            (ResolveFailure::Failed("it is broken".into()), io::ErrorKind::Other, false),
        ];
        for (failure, kind, is_temporary) in kinds {
            let error = io::Error::from(ResolveError::new("db", failure.clone()));
            let inner = ResolveError::of(&error).expect("it is inside");
            assert_eq!((error.kind(), inner.is_temporary()), (kind, is_temporary));
            assert_eq!((inner.name(), inner.failure()), ("db", &failure));
            assert!(error.to_string().contains("\"db\""), "{error}");
        }
        assert!(ResolveError::of(&io::Error::from_raw_os_error(111)).is_none());
    }
}
