//! Encrypted connections: libpq's `sslmode` with what goes with it, for every program. Nothing of this is read or
//! built before a server has said that it encrypts.
//!
//! Sources: <https://www.postgresql.org/docs/current/libpq-ssl.html>, RFC 5929 (channel binding).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postgres::config::Host;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;

use crate::{Error, Result};

/// `sslmode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Never.
    Disable,
    /// Where the server takes nothing else.
    Allow,
    /// Where the server can.
    Prefer,
    /// Always; with `sslrootcert`, as verify-ca.
    Require,
    /// Always, and the server's certificate is signed by one of `sslrootcert`.
    VerifyCa,
    /// And the certificate is for the host that was named.
    VerifyFull,
}

impl Mode {
    /// All, by libpq's names.
    pub const NAMES: [(&'static str, Mode); 6] = [
        ("disable", Mode::Disable),
        ("allow", Mode::Allow),
        ("prefer", Mode::Prefer),
        ("require", Mode::Require),
        ("verify-ca", Mode::VerifyCa),
        ("verify-full", Mode::VerifyFull),
    ];
}

/// How connections are encrypted, as the database URL says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// `sslmode`, where it is said.
    pub mode: Option<Mode>,
    /// `sslrootcert`: a file of certificates, or `system`.
    pub root: Option<String>,
    /// `sslcert`: a file with the certificate that this client shows.
    pub certificate: Option<PathBuf>,
    /// `sslkey`: its key.
    pub key: Option<PathBuf>,
    /// `channel_binding=require`, which needs encryption.
    pub is_bound: bool,
    /// `sslsni=0`: the host's name is not told before encryption.
    pub hides_name: bool,
    /// `ssl_min_protocol_version=TLSv1.3`
    pub from_13: bool,
    /// `ssl_max_protocol_version=TLSv1.2`
    pub to_12: bool,
}

impl Tls {
    /// Refuses what cannot go together.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`]
    pub(super) fn check(&self) -> Result<()> {
        if self.mode >= Some(Mode::VerifyCa) && self.root.is_none() {
            return Err(Error::invalid(
                "DATABASE_URL asks for verified certificates, and names none to verify them by",
            )
            .hint("Add sslrootcert=FILE, the certificate of the authority that signed the server's; or sslrootcert=system."));
        }
        if self.root.as_deref() == Some("system") && self.mode != Some(Mode::VerifyFull) {
            return Err(Error::invalid("DATABASE_URL asks for sslrootcert=system without sslmode=verify-full")
                .hint("Anybody can get a certificate from those authorities: only verify-full shows that it is your server's."));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Error::invalid("DATABASE_URL has one of sslcert and sslkey without the other"));
        }
        if self.is_bound && self.mode == Some(Mode::Disable) {
            return Err(Error::invalid("DATABASE_URL asks for channel_binding=require with sslmode=disable")
                .hint("Only an encrypted connection has something to bind a password to."));
        }
        if self.from_13 && self.to_12 {
            return Err(Error::invalid("DATABASE_URL leaves no version of TLS between the first and the last"));
        }
        Ok(())
    }

    /// How a host is reached. Where nothing is said, that is libpq's `prefer`; on this machine, where encryption keeps
    /// nobody out and takes a process a millisecond, `allow`.
    pub(super) fn mode_for(&self, hosts: &[Host]) -> Mode {
        let is_here =
            |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let mode = self.mode.unwrap_or(match hosts {
            [Host::Tcp(name)] if is_here(name) => Mode::Allow,
            _ => Mode::Prefer,
        });
        if self.is_bound { mode.max(Mode::Require) } else { mode }
    }

    /// The parameters of a URL that another login to the same servers needs, too.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mode = Mode::NAMES.iter().find(|(_, mode)| Some(*mode) == self.mode);
        let mode = mode.map(|(name, _)| ("sslmode", (*name).to_owned()));
        mode.into_iter().chain(self.root.clone().map(|root| ("sslrootcert", root))).collect()
    }

    /// What a verified server must prove.
    fn proof(&self) -> Proof {
        match self.mode {
            Some(Mode::VerifyFull) => Proof::Name,
            Some(Mode::VerifyCa) => Proof::Signature,
            _ if self.root.is_some() => Proof::Signature,
            _ => Proof::Nothing,
        }
    }

    /// What encrypts a connection to this host, and its name.
    ///
    /// # Errors
    /// [`crate::Kind::Failed`]: a file that cannot be read, or does not hold what it should.
    pub(super) fn client(&self, host: Option<&Host>) -> Result<(Arc<ClientConfig>, ServerName<'static>)> {
        let name = match host {
            Some(Host::Tcp(name)) => ServerName::try_from(name.clone()).ok(),
            _ => None,
        };
        // the name matters only where it is verified
        let name = match name {
            None if self.proof() == Proof::Name => {
                return Err(Error::failed(
                    "database: sslmode=verify-full needs a host's name or address in DATABASE_URL",
                ));
            }
            name => name.unwrap_or_else(|| ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())),
        };
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match (self.from_13, self.to_12) {
            (true, _) => &[&rustls::version::TLS13],
            (_, true) => &[&rustls::version::TLS12],
            _ => rustls::ALL_VERSIONS,
        };
        let certificates = self.root.as_deref().map_or_else(|| Ok(Vec::new()), root_certificates)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let verifier = Verifier { proof: self.proof(), roots, certificates, provider: Arc::clone(&provider) };
        let unusable = |e: rustls::Error| Error::failed(format!("database: TLS: {e}"));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut client = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates_in(certificate)?;
                builder.with_client_auth_cert(chain, private_key(key)?).map_err(|e| {
                    Error::failed(format!("database: {} and {}: {e}", certificate.display(), key.display()))
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        client.enable_sni = !self.hides_name;
        Ok((Arc::new(client), name))
    }
}

/// The certificates in a file.
fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| Error::failed(format!("{} holds no certificate in PEM", path.display())))
}

fn root_certificates(root: &str) -> Result<Vec<CertificateDer<'static>>> {
    if root != "system" {
        return certificates_in(Path::new(root));
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(Error::failed("database: this system has no certificates for sslrootcert=system")
            .hint("apt install ca-certificates"));
    }
    Ok(found)
}

/// Refuses a key that others may read, as libpq does: its group may, where root owns it.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let failed = |e: io::Error| Error::io("read", path, &e);
    let owner = fs::metadata(path).map_err(failed)?;
    let open_to = if owner.uid() == 0 { 0o027 } else { 0o077 };
    if owner.mode() & open_to != 0 {
        return Err(Error::failed(format!("{} may be read by others: no key of a certificate", path.display()))
            .hint(format!("chmod 600 {0}, or chown root and chmod 640 for a group that may.", path.display())));
    }
    let text = fs::read(path).map_err(failed)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        Error::failed(format!("{} holds no private key in PEM", path.display()))
            .hint("A key that is encrypted with a password is not read: openssl pkey -in KEY -out FILE decrypts it.")
    })
}

/// What a server's certificate must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Nothing,
    /// Who signed it.
    Signature,
    /// And that it is this host's.
    Name,
}

#[derive(Debug)]
struct Verifier {
    proof: Proof,
    roots: RootCertStore,
    /// Those of `roots`: a server may show one of them itself, which proves enough.
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.proof != Proof::Nothing {
            let parsed = ParsedCertificate::try_from(certificate)?;
            if self.certificates.iter().any(|own| own == certificate) {
                is_valid_at(certificate, now)?;
            } else {
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)?;
            }
            if self.proof == Proof::Name {
                verify_server_name(&parsed, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let bad = |_| rustls::Error::from(CertificateError::BadEncoding);
    let certificate = x509_cert::Certificate::from_der(certificate).map_err(bad)?;
    let validity = certificate.tbs_certificate().validity();
    let [from, to] = [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
    match now.as_secs() {
        now if now < from => Err(CertificateError::NotValidYet.into()),
        now if now > to => Err(CertificateError::Expired.into()),
        _ => Ok(()),
    }
}

/// What binds a password to this server's certificate: `tls-server-end-point` of RFC 5929. None where its signature
/// has no digest of its own.
pub(super) fn end_point(connection: &ClientConnection) -> Option<Vec<u8>> {
    let certificate = connection.peer_certificates()?.first()?;
    let signature = x509_cert::Certificate::from_der(certificate).ok()?.signature_algorithm().oid.to_string();
    Some(match signature.as_str() {
        // MD5, SHA-1 and SHA-256 with RSA; SHA-1 and SHA-256 with ECDSA
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    })
}

/// The server does not encrypt, though `sslmode` requires it.
pub(super) fn not_offered() -> Error {
    Error::failed("database: the server does not encrypt connections, and DATABASE_URL asks for it").hint(
        "ssl = on with ssl_cert_file and ssl_key_file in postgresql.conf lets it; of PgBouncer, client_tls_sslmode.",
    )
}

/// What an error of a connection says of its encryption, and what to do; None where it is about something else.
pub(super) fn failure(e: &io::Error) -> Option<Error> {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())?;
    let (what, hint) = match inner {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => (
                "nobody in sslrootcert has signed the server's certificate".to_owned(),
                "Name who has: sslrootcert=FILE in DATABASE_URL. Or this is another server than it should be.",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                "the server's certificate is not for the host that DATABASE_URL names".to_owned(),
                "Name the host as the certificate does (its subjectAltName), with hostaddr=ADDRESS where that name leads \
                 elsewhere. sslmode=verify-ca does not look at the name.",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the server's certificate has expired".to_owned(),
                "The server needs a new one, if this clock is right.",
            ),
            why => (format!("the server's certificate is not valid: {why:?}"), "The server needs another one."),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => (
            "the server wants a client's certificate".to_owned(),
            "Name one that it trusts: sslcert=FILE and sslkey=FILE in DATABASE_URL.",
        ),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::DecryptError),
        ) => (
            format!("the server does not accept this client's certificate ({alert:?})"),
            "sslcert in DATABASE_URL must be one that somebody in the server's ssl_ca_file has signed.",
        ),
        other => (other.to_string(), "The server's log says why."),
    };
    Some(Error::failed(format!("database: encryption failed: {what}")).hint(hint))
}
