//! TLS as a mesh speaks it, sans I/O: who a peer is (`verify`), what a port lets in (`chains`), how a connection
//! begins (`protocol_detection`) and the bytes after that (`session`). No socket, no clock but the certificates' own, no Python.

#![forbid(unsafe_code)]

pub mod bounds;
pub mod certificate;
pub mod chains;
pub mod client;
mod der;
pub mod detect;
pub mod hostnames;
pub mod lenient;
pub mod material;
pub mod names;
pub mod protocol_detection;
pub mod refusal;
pub mod sans;
pub mod server;
pub mod session;
pub mod verify;

use std::sync::{Arc, OnceLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::version::{TLS12, TLS13};

/// One provider for the process: building it allocates, and configurations are built at every rotation.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// How signatures of certificates are verified.
fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// By their names (`TLSv1.2`, `TLSv1.3`); none: both.
fn versions(names: &[String]) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    if names.is_empty() {
        return Ok(vec![&TLS13, &TLS12]);
    }
    names
        .iter()
        .map(|name| match name.as_str() {
            "TLSv1.2" => Ok(&TLS12),
            "TLSv1.3" => Ok(&TLS13),
            other => Err(format!("{other:?} is no version of TLS that is spoken here")),
        })
        .collect()
}
