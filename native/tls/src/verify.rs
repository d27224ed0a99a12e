//! Who the peer is: its chain reaches our roots, and its names are those that we expect.
//!
//! rustls calls this in the handshake, on the thread that feeds the session. What it refuses goes to the peer as the
//! alert that fits, and to us as a sentence with the names in it: `refusal::take_reason`.

use std::borrow::Cow;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::algorithms;
use crate::bounds;
use crate::certificate::Certificate;
use crate::lenient::{self, Presented};
use crate::material::{Roots, may_issue};
use crate::names::{NameRule, trust_domain};
use crate::refusal::{SHOWN, expired, refuse};
use crate::sans::uri_names;

/// What the peer's certificate has to say, beside reaching the roots. What is given has to hold.
#[derive(Debug, Default)]
pub struct Expected {
    /// An identity of the mesh: exactly one URI name. Without rules it has to be of one of these trust domains.
    pub trust_domains: Option<Vec<String>>,
    /// A server of this name.
    pub host: Option<ServerName<'static>>,
    /// One of its names has to fit one of the rules (Envoy: match_typed_subject_alt_names).
    pub rules: Vec<NameRule>,
}

/// By whose rules. They do not mix: what is lenient cannot ask for an identity of the mesh.
#[derive(Debug)]
enum Rules {
    Mesh(Expected),
    /// As grpcio, with the name or address that a server has to have.
    Grpc(Option<String>),
}

#[derive(Debug)]
pub struct Verifier {
    roots: Option<Roots>,
    rules: Rules,
    client_must_show: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// As a mesh has it. Without `roots` nothing is verified.
    pub fn new(roots: Option<Roots>, expected: Expected, client_must_show: bool) -> Self {
        Self { roots, rules: Rules::Mesh(expected), client_must_show, algorithms: algorithms() }
    }

    /// As grpcio has it: `lenient`. `host`: the name or address that a server has to have.
    pub fn as_grpc(roots: Roots, host: Option<String>, client_must_show: bool) -> Self {
        Self { roots: Some(roots), rules: Rules::Grpc(host), client_must_show, algorithms: algorithms() }
    }

    pub(crate) fn is_lenient(&self) -> bool {
        matches!(self.rules, Rules::Grpc(_))
    }

    /// Whom the mesh vouches for, of a certificate that was taken: its one URI name. None: nobody asked for one.
    pub fn identity(&self, leaf: &[u8]) -> Option<String> {
        let Rules::Mesh(Expected { trust_domains: Some(_), .. }) = self.rules else { return None };
        let uris = uri_names(leaf)?;
        uris.first().and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned)
    }

    /// The whole check, also for a resumed session, whose certificate may have expired since.
    pub fn check(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let Some(roots) = &self.roots else { return Ok(()) };
        bounds::check(leaf, between).map_err(|why| refuse(why, CertificateError::BadEncoding))?;
        let between: Vec<_> = between.iter().filter(|certificate| may_issue(certificate)).cloned().collect();
        match &self.rules {
            Rules::Mesh(expected) => self.check_strictly(leaf, &between, roots, expected, now, usage),
            Rules::Grpc(host) => {
                lenient::check(&Presented { leaf, between: &between }, roots, host.as_deref(), now, usage)
            }
        }
    }

    fn check_strictly(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        roots: &Roots,
        expected: &Expected,
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| {
            refuse(format!("the peer's certificate cannot be read: {error}"), CertificateError::BadEncoding)
        })?;
        let anchors = roots.valid_at(now);
        bounds::allow_failures(2 * roots.of_one_name + 2);
        certificate
            .verify_for_usage(bounds::counted(&self.algorithms), &anchors, between, now, usage, None, None)
            .map_err(|error| chain_error(&certificate, leaf, now, &error))?;
        check_names(expected, &certificate, leaf)
    }

    /// What webpki reads the key from that the peer signs with.
    fn key_of<'a>(&self, certificate: &'a CertificateDer<'a>) -> Cow<'a, CertificateDer<'a>> {
        match (&self.rules, Certificate::read(certificate)) {
            (Rules::Grpc(_), Some(read)) => Cow::Owned(read.as_a_key().certificate),
            _ => Cow::Borrowed(certificate),
        }
    }
}

fn check_names(expected: &Expected, certificate: &EndEntityCert<'_>, leaf: &[u8]) -> Result<(), Error> {
    let Expected { trust_domains, host, rules } = expected;
    if let Some(host) = host {
        certificate.verify_is_valid_for_subject_name(host).map_err(|_| {
            wrong(format!("the peer's certificate is for {}, not for {}", shown(certificate), host.to_str()))
        })?;
    }
    match trust_domains {
        Some(trust_domains) => check_identity(certificate, leaf, trust_domains, rules),
        None if rules.is_empty() || rules.iter().any(|rule| fits(rule, certificate)) => Ok(()),
        None => {
            let shown = shown(certificate);
            Err(wrong(format!("the peer's certificate is for {shown}, expected was {}", listed(rules))))
        }
    }
}

fn check_identity(
    certificate: &EndEntityCert<'_>,
    leaf: &[u8],
    trusted: &[String],
    rules: &[NameRule],
) -> Result<(), Error> {
    let uris = uri_names(leaf).unwrap_or_default();
    let [identity] = uris.as_slice() else {
        let why = "an identity of the mesh is exactly one URI name, and the peer's certificate has";
        return Err(wrong(format!("{why} {}: {}", uris.len(), shown(certificate))));
    };
    let Ok(identity) = std::str::from_utf8(identity) else {
        let name = String::from_utf8_lossy(identity);
        return Err(wrong(format!("the peer is {name}, which is no text, and so no SPIFFE id")));
    };
    let Some(domain) = trust_domain(identity) else {
        return Err(wrong(format!("the peer is {identity}, which is no SPIFFE id")));
    };
    if rules.is_empty() && !trusted.iter().any(|trusted| trusted == domain) {
        let trusted = trusted.join(", ");
        return Err(wrong(format!("the peer is {identity}, which is not of the trust domain {trusted}")));
    }
    if !rules.is_empty() && !rules.iter().any(|rule| rule.fits(identity)) {
        return Err(wrong(format!("the peer is {identity}, expected was {}", listed(rules))));
    }
    Ok(())
}

fn wrong(why: String) -> Error {
    refuse(why, CertificateError::NotValidForName)
}

/// Any name; an exact rule fits a wildcard DNS name and an address as a host does.
fn fits(rule: &NameRule, certificate: &EndEntityCert<'_>) -> bool {
    certificate.valid_uri_names().chain(certificate.valid_dns_names()).any(|name| rule.fits(name))
        || rule.host().is_some_and(|host| certificate.verify_is_valid_for_subject_name(&host).is_ok())
}

fn listed(rules: &[NameRule]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn shown(certificate: &EndEntityCert<'_>) -> String {
    let names: Vec<_> = certificate.valid_uri_names().chain(certificate.valid_dns_names()).take(SHOWN).collect();
    if names.is_empty() { String::from("nobody (no names)") } else { names.join(", ") }
}

fn chain_error(certificate: &EndEntityCert<'_>, leaf: &[u8], now: UnixTime, error: &webpki::Error) -> Error {
    let who = shown(certificate);
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => expired(&who, leaf, now, error),
        webpki::Error::UnknownIssuer => {
            refuse(format!("the certificate of {who} reaches none of our roots"), CertificateError::UnknownIssuer)
        }
        webpki::Error::CaUsedAsEndEntity => {
            let why = format!("the certificate of {who} is a CA's own, which no workload may use");
            refuse(why, CertificateError::InvalidPurpose)
        }
        other => refuse(format!("the certificate of {who} is refused: {other}"), CertificateError::BadSignature),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, between, now, KeyUsage::server_auth()).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, &self.key_of(certificate), signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, &self.key_of(certificate), signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_must_show
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // every root of a mesh is the same to a client: it has one certificate
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, between, now, KeyUsage::client_auth()).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, &self.key_of(certificate), signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, &self.key_of(certificate), signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
