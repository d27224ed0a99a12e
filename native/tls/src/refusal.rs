//! How a peer's certificate is refused: an error of rustls' for the alert, and a sentence for us, which `take_reason` gives.

use std::cell::RefCell;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};

use crate::material::validity;

/// How many names of a stranger are shown.
pub(crate) const SHOWN: usize = 8;

thread_local! {
    /// The sentence for the last refusal on this thread: rustls passes on only its own kinds of error.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why this thread last refused a certificate.
pub fn take_reason() -> Option<String> {
    REASON.take()
}

pub(crate) fn refuse(why: String, kind: CertificateError) -> Error {
    REASON.set(Some(why));
    Error::InvalidCertificate(kind)
}

/// `error`: a certificate has expired or is not valid yet, the leaf or another.
pub(crate) fn expired(who: &str, leaf: &[u8], now: UnixTime, error: &webpki::Error) -> Error {
    let (not_before, not_after) = validity(leaf).unwrap_or_default();
    let now = now.as_secs();
    let late = matches!(error, webpki::Error::CertExpired { .. });
    let kind = if late { CertificateError::Expired } else { CertificateError::NotValidYet };
    let why = match late {
        true if not_after < now => format!("the certificate of {who} expired {} s ago", now - not_after),
        true => format!("a certificate between {who} and the root has expired"),
        false if not_before > now => {
            format!("the certificate of {who} is valid in {} s only; is a clock off?", not_before - now)
        }
        false => format!("a certificate between {who} and the root is not valid yet; is a clock off?"),
    };
    refuse(why, kind)
}
