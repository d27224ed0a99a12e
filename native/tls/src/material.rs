//! Certificates, keys and roots, from PEM.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;

use crate::certificate::{Certificate, KeyUse, unusable};
use crate::der::element;

/// What we show of ourselves.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The leaf first. Errors name what is wrong, never the material.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = certificates(chain)?;
        if chain.is_empty() {
            return Err(String::from("the certificate chain holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| String::from("the private key is not a PEM key"))?;
        Ok(Self { chain, key })
    }

    /// Ready to be shown. rustls would read the certificate with webpki, which does not read all that peers take.
    pub(crate) fn certified(self) -> Result<CertifiedKey, String> {
        let leaf = Certificate::read(&self.chain[0]).ok_or("it is no certificate of version 1 or 3")?;
        let key = crate::provider()
            .key_provider
            .load_private_key(self.key)
            .map_err(|error| unusable(leaf.key()).map_or_else(|| error.to_string(), |why| format!("it {why}")))?;
        match key.public_key() {
            Some(public) if public.as_ref() != leaf.key() => Err(String::from("the private key is another one's")),
            _ => Ok(CertifiedKey::new(self.chain, key)),
        }
    }
}

/// Trust anchors with their own validity, which webpki leaves to us: an expired root anchors nothing.
#[derive(Debug)]
pub struct Roots {
    anchors: Vec<Anchor>,
    /// How many have the name that most of them have: with as many a signature may have to be tried.
    pub(crate) of_one_name: usize,
}

#[derive(Debug)]
struct Anchor {
    /// The whole certificate.
    der: CertificateDer<'static>,
    /// Its key may sign certificates.
    issues: bool,
    anchor: TrustAnchor<'static>,
    not_before: u64,
    not_after: u64,
}

impl Roots {
    /// Fails when there is no usable certificate at all; a broken one among good ones is passed over.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificates = certificates(pem)?;
        let anchors: Vec<_> = certificates.iter().filter_map(Anchor::new).collect();
        if anchors.is_empty() {
            return Err(format!("none of the {} root certificates can be used", certificates.len()));
        }
        let names = || anchors.iter().map(|anchor| &anchor.anchor.subject);
        let of_one_name = names().map(|name| names().filter(|other| *other == name).count()).max();
        Ok(Self { of_one_name: of_one_name.unwrap_or_default(), anchors })
    }

    /// Those that may issue certificates.
    pub fn valid_at(&self, now: UnixTime) -> Vec<TrustAnchor<'static>> {
        let now = now.as_secs();
        let valid = |anchor: &&Anchor| anchor.issues && (anchor.not_before..=anchor.not_after).contains(&now);
        self.anchors.iter().filter(valid).map(|anchor| anchor.anchor.clone()).collect()
    }

    /// Is this one of them, byte by byte?
    pub fn contain(&self, certificate: &[u8]) -> bool {
        self.anchors.iter().any(|anchor| anchor.der.as_ref() == certificate)
    }
}

impl Anchor {
    fn new(certificate: &CertificateDer<'static>) -> Option<Self> {
        let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?.to_owned();
        let (not_before, not_after) = validity(certificate)?;
        Some(Self { der: certificate.clone(), issues: may_issue(certificate), anchor, not_before, not_after })
    }
}

/// A certificate that says what its key is for, and not that it signs certificates, issues none. webpki does not ask.
pub(crate) fn may_issue(certificate: &[u8]) -> bool {
    Certificate::read(certificate).is_none_or(|certificate| certificate.allows(KeyUse::KeyCertSign))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificates are not PEM: {error:?}"))
}

// ---- X.509 validity (RFC 5280, 4.1.2.5)

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// notBefore and notAfter of a certificate, in seconds since 1970.
pub fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, outer, _) = element(certificate)?;
    let (_, mut body, _) = element(outer)?;
    if body.first() == Some(&VERSION) {
        body = element(body)?.2;
    }
    for _ in ["serial number", "signature algorithm", "issuer"] {
        body = element(body)?.2;
    }
    let (tag, times, _) = element(body)?;
    if tag != SEQUENCE {
        return None;
    }
    let (tag, not_before, rest) = element(times)?;
    let first = seconds(tag, not_before)?;
    let (tag, not_after, _) = element(rest)?;
    Some((first, seconds(tag, not_after)?))
}

fn seconds(tag: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (part(0)?, part(2)?);
    let days = days_since_1970(year, month, day)?;
    Some(days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Years that begin in March put the leap day last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}
