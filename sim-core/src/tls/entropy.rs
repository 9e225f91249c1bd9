//! Where rustls gets its random numbers, its key exchange and the time from.
//!
//! Its traits are `Send + Sync` and have no context, so they find their host by the current turn
//! (`crate::current`): the session that is at work lends its [`Entropy`] to its engine. Without one
//! there are no random numbers, and the handshake fails.

#![expect(clippy::disallowed_types, reason = "real loops draw from the system, worlds do not")]

use std::fmt;
use std::sync::Arc;

use ::ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret,
    SupportedKxGroup, ring,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::{Signer, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    Error, NamedGroup, PeerMisbehaved, ProtocolVersion, SignatureAlgorithm, SignatureScheme,
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{Loop, Rng, current};

/// Where the random numbers of a session come from.
pub(crate) enum Entropy {
    /// A stream of its own of the simulated world.
    World(Box<Rng>),
    /// The operating system.
    System,
}

impl Entropy {
    /// That of a connection of a loop. The time tells the connections of a host that starts again from
    /// those that it had before.
    pub(super) fn of(lp: &Loop, connection: u32) -> Self {
        if !lp.core.driver.is_simulated() {
            return Self::System;
        }
        let name = format!("tls {connection} {}", lp.time().as_nanos());
        Self::World(Box::new(lp.rng(&name)))
    }
}

/// The provider of every configuration that is begun here.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        secure_random: &RANDOM,
        key_provider: &KEYS,
        kx_groups: vec![&X25519, &SECP256R1, &SECP384R1],
        ..ring::default_provider()
    })
}

/// Whether a provider draws from [`Entropy`].
pub(super) fn is_ours(provider: &CryptoProvider) -> bool {
    let random: &dyn SecureRandom = &RANDOM;
    std::ptr::addr_eq(provider.secure_random, random)
}

/// Random numbers of the session that is at work. It has a size, and so an address of its own.
#[derive(Debug)]
struct HostRandom(#[expect(dead_code, reason = "it is there for its size")] u8);

static RANDOM: HostRandom = HostRandom(0);

impl SecureRandom for HostRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let core = current::core().ok_or(GetRandomFailed)?;
        let mut entropy = core.entropy.borrow_mut();
        match entropy.as_mut().ok_or(GetRandomFailed)? {
            Entropy::World(rng) => rng.fill(bytes),
            Entropy::System => SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)?,
        }
        Ok(())
    }
}

/// Whether the session that is at work is one of a simulated world.
fn is_simulated() -> Result<bool, Error> {
    let core = current::core().ok_or(Error::FailedToGetRandomBytes)?;
    match &*core.entropy.borrow() {
        Some(Entropy::World(_)) => Ok(true),
        Some(Entropy::System) => Ok(false),
        None => Err(Error::FailedToGetRandomBytes),
    }
}

/// The time of day of the host whose turn it is.
#[derive(Debug)]
pub(super) struct HostTime;

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let core = current::core()?;
        Some(UnixTime::since_unix_epoch(core.driver.wall_time()))
    }
}

/// A group of ring's, or, in a simulation, what is the same with random numbers from outside.
struct Group {
    real: &'static dyn SupportedKxGroup,
}

static X25519: Group = Group { real: ring::kx_group::X25519 };
static SECP256R1: Group = Group { real: ring::kx_group::SECP256R1 };
static SECP384R1: Group = Group { real: ring::kx_group::SECP384R1 };

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        if !is_simulated()? {
            return self.real.start();
        }
        if self.name() != NamedGroup::X25519 {
            let text =
                format!("in a simulation keys are exchanged by X25519, not {:?}", self.name());
            return Err(Error::General(text));
        }
        let mut secret = [0; 32];
        RANDOM.fill(&mut secret)?;
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.real.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.real.usable_for_version(version)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// An exchange by X25519 that has begun.
struct Exchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);
        let peer = <[u8; 32]>::try_from(peer).map_err(|_| invalid.clone())?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return Err(invalid);
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Keys of all kinds that ring knows, of which a simulation takes those whose signatures repeat.
#[derive(Debug)]
struct Keys;

static KEYS: Keys = Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let key = ring::sign::any_supported_type(&key)?;
        if key.algorithm() == SignatureAlgorithm::ED25519 {
            return Ok(key);
        }
        Ok(Arc::new(RandomizedKey(key)))
    }
}

/// A key whose signatures contain random numbers of its own.
#[derive(Debug)]
struct RandomizedKey(Arc<dyn SigningKey>);

impl SigningKey for RandomizedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(offered).map(|signer| Box::new(RandomizedSigner(signer)) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct RandomizedSigner(Box<dyn Signer>);

impl Signer for RandomizedSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        if is_simulated()? {
            let scheme = self.scheme();
            let text =
                format!("in a simulation keys are Ed25519: signatures of {scheme:?} do not repeat");
            return Err(Error::General(text));
        }
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_session_at_work_there_is_no_random_number_and_no_key() {
        assert!(RANDOM.fill(&mut [0; 8]).is_err());
        assert_eq!(X25519.start().err(), Some(Error::FailedToGetRandomBytes));
        assert!(HostTime.current_time().is_none());
    }

    #[test]
    fn a_foreign_provider_is_known_as_such() {
        assert!(is_ours(&provider()));
        assert!(!is_ours(&ring::default_provider()));
    }
}
