//! Certificates for scenarios with TLS, minted from random numbers of the run.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use sim_core::tls::rustls::RootCertStore;
use sim_core::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sim_core::tls::{self, TlsAcceptor, TlsConnector};
use sim_core::{Loop, Rng};

/// What an Ed25519 key in PKCS #8 begins with (RFC 8410); its 32 bytes follow.
const PKCS8_ED25519: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// An authority that certifies the hosts of a run. The same random numbers give the same certificates.
///
/// ```
/// use scenarios::certificates::Authority;
/// use sim_core::Rng;
///
/// let mut authority = Authority::new(Rng::from_seed([7; 32]));
/// let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
/// # drop((acceptor, connector));
/// ```
pub struct Authority {
    rng: Rng,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The key that it is for.
    pub key: PrivateKeyDer<'static>,
}

/// A key, and what rustls reads of it.
fn key(rng: &mut Rng) -> (KeyPair, PrivateKeyDer<'static>) {
    let mut pkcs8 = PKCS8_ED25519.to_vec();
    pkcs8.resize(PKCS8_ED25519.len() + 32, 0);
    rng.fill(&mut pkcs8[PKCS8_ED25519.len()..]);
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8));
    let pair = KeyPair::from_der_and_sign_algo(&der, &PKCS_ED25519);
    (pair.expect("any 32 bytes are a key"), der)
}

impl Authority {
    /// An authority with a key from `rng`.
    pub fn new(mut rng: Rng) -> Self {
        let (pair, _) = key(&mut rng);
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a bad one");
        let name = format!("authority {:016x}", rng.next_u64());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, pair).expect("Ed25519 signs anything");
        Self { rng, issuer }
    }

    /// The authority of a host's run.
    pub fn of(lp: &Loop) -> Self {
        Self::new(lp.rng("certificates"))
    }

    /// A certificate for a host, valid from the year 1975 on.
    ///
    /// # Panics
    ///
    /// If `name` is none of the DNS.
    #[track_caller]
    pub fn issue(&mut self, name: &str) -> Identity {
        self.issue_for_years(name, 1975, 4096)
    }

    /// A certificate that is valid from the beginning of one year to the beginning of another.
    ///
    /// # Panics
    ///
    /// If `name` is none of the DNS.
    #[track_caller]
    pub fn issue_for_years(&mut self, name: &str, from: i32, to: i32) -> Identity {
        let (pair, key) = key(&mut self.rng);
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name of the DNS");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let certificate = params.signed_by(&pair, &self.issuer).expect("Ed25519 signs anything");
        Identity { certificate: certificate.der().clone(), key }
    }

    /// What trusts this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("the authority's certificate is well-formed");
        roots
    }

    /// A server's side, with a certificate for `name`; no client is asked for one.
    ///
    /// # Panics
    ///
    /// If `name` is none of the DNS.
    #[track_caller]
    pub fn acceptor(&mut self, name: &str) -> TlsAcceptor {
        self.issue(name).acceptor()
    }

    /// A client's side that trusts this authority alone, and shows no certificate.
    pub fn connector(&self) -> TlsConnector {
        let config = tls::client_config().with_root_certificates(self.roots());
        TlsConnector::new(config.with_no_client_auth())
    }
}

impl Identity {
    /// The side of a server with this certificate; no client is asked for one.
    pub fn acceptor(self) -> TlsAcceptor {
        let config = tls::server_config().with_no_client_auth();
        let config = config.with_single_cert(vec![self.certificate], self.key);
        TlsAcceptor::new(config.expect("the key is that of the certificate"))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
