//! Outside of a mesh: a peer's certificate is taken as grpcio (BoringSSL) takes it. Nothing of the mesh comes here.
//!
//! A certificate that is one of the roots itself is trusted for being that one, and only its validity is looked at.
//! Any other has to reach a root, and may say of itself that it is a CA's, or be of version 1; it issues nothing for
//! that, since it stands at the end of its chain. Where a refusal has a fix, the sentence names it.

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use webpki::{EndEntityCert, KeyUsage};

use crate::algorithms;
use crate::bounds;
use crate::certificate::{Certificate, KeyUse, unusable};
use crate::hostnames::{is_for, shown};
use crate::material::{Roots, validity};
use crate::refusal::{SHOWN, expired, refuse};

/// The certificates that a peer has presented.
pub(crate) struct Presented<'a> {
    pub leaf: &'a CertificateDer<'a>,
    pub between: &'a [CertificateDer<'a>],
}

/// `host`: whom a client means to call.
pub(crate) fn check(
    chain: &Presented<'_>,
    roots: &Roots,
    host: Option<&str>,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<(), Error> {
    let Some(certificate) = Certificate::read(chain.leaf) else {
        let why = "the peer's certificate cannot be read: it is no X.509 certificate of version 1 or 3";
        return Err(refuse(String::from(why), CertificateError::BadEncoding));
    };
    let who = shown(&certificate, SHOWN);
    let refuse = |why: &str, kind| Err(refuse(format!("the certificate of {who} {why}"), kind));
    let constrained = if roots.contain(chain.leaf) {
        if let Some(error) = out_of_date(chain.leaf, now) {
            return Err(expired(&who, chain.leaf, now, &error));
        }
        false
    } else {
        match reach(&certificate, chain, roots, now, usage) {
            Ok(constrained) => constrained,
            Err(error @ (webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })) => {
                return Err(expired(&who, chain.leaf, now, &error));
            }
            Err(error) => {
                let (why, kind) = advice(&error, host.is_some());
                return refuse(&why, kind);
            }
        }
    };
    if let Some(why) = unusable(certificate.key()) {
        return refuse(&why, CertificateError::InvalidPurpose);
    }
    if !certificate.allows(KeyUse::DigitalSignature) {
        let why = "has a keyUsage without digitalSignature (openssl: -addext keyUsage=digitalSignature)";
        return refuse(why, CertificateError::InvalidPurpose);
    }
    if constrained && !certificate.has_alternative_names() && certificate.common_name().is_some() {
        let why = "has a common name alone, and its CA may vouch for some names only, which common names get around \
                   (openssl: -addext subjectAltName=DNS:...)";
        return refuse(why, CertificateError::NotValidForName);
    }
    match host {
        Some(host) if !is_for(&certificate, host, !constrained) => Err(another(&who, host)),
        _ => Ok(()),
    }
}

/// Whether what issues it may vouch for some names only.
fn reach(
    certificate: &Certificate<'_>,
    chain: &Presented<'_>,
    roots: &Roots,
    now: UnixTime,
    usage: KeyUsage,
) -> Result<bool, webpki::Error> {
    let stand_in = certificate.as_a_leafs();
    let leaf = EndEntityCert::try_from(&stand_in.certificate)?;
    let anchors = roots.valid_at(now);
    bounds::allow_failures(2 * roots.of_one_name + 2);
    bounds::standing_in(&stand_in.signed, certificate.signed(), || {
        let algorithms = bounds::counted(&algorithms());
        let path = leaf.verify_for_usage(algorithms, &anchors, chain.between, now, usage, None, None)?;
        let constrains = |der: &[u8]| Certificate::read(der).is_none_or(|issuer| issuer.constrains_names());
        Ok(path.anchor().name_constraints.is_some()
            || path.intermediate_certificates().any(|issuer| constrains(&issuer.der())))
    })
}

fn out_of_date(leaf: &[u8], now: UnixTime) -> Option<webpki::Error> {
    let time = now;
    let (not_before, not_after) = validity(leaf).unwrap_or_default();
    let [not_before, not_after] =
        [not_before, not_after].map(|seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)));
    if time < not_before {
        return Some(webpki::Error::CertNotValidYet { time, not_before });
    }
    (time > not_after).then_some(webpki::Error::CertExpired { time, not_after })
}

/// The rest of a sentence that begins with whose certificate it is.
fn advice(error: &webpki::Error, of_server: bool) -> (String, CertificateError) {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => {
            let why = "reaches none of our roots; root_certificates have to hold the CA that signed it, or itself";
            (String::from(why), CertificateError::UnknownIssuer)
        }
        E::RequiredEkuNotFoundContext(_) => {
            let usage = if of_server { "serverAuth" } else { "clientAuth" };
            let why = format!("has an extendedKeyUsage without {usage} (openssl: extendedKeyUsage={usage})");
            (why, CertificateError::InvalidPurpose)
        }
        E::InvalidSignatureForPublicKey
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            let why = "is refused: it, or a CA above it, is not signed by its issuer, or in a way that is not verified \
                       here: keys are RSA of 2048 bits or more, P-256, P-384 or Ed25519, hashes SHA-2, with P-256 and \
                       P-384 up to SHA-384 (openssl: -newkey rsa:2048 -sha256)";
            (String::from(why), CertificateError::BadSignature)
        }
        other => (format!("is refused: {other}"), CertificateError::BadSignature),
    }
}

fn another(who: &str, host: &str) -> Error {
    let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
    let why = format!(
        "the peer's certificate is for {who}, not for {host}; make one that is (openssl: -addext \
         subjectAltName={kind}:{host}), or say whom it names: channel argument grpc.ssl_target_name_override"
    );
    refuse(why, CertificateError::NotValidForName)
}
