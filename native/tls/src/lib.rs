//! TLS as a mesh speaks it, sans I/O: who a peer is (`verify`), what a port lets in (`chains`), how a connection
//! begins (`greeting`) and the bytes after that (`session`). No socket, no clock but the certificates' own, no Python.

pub mod chains;
pub mod client;
pub mod greeting;
pub mod material;
pub mod names;
pub mod server;
pub mod session;
pub mod verify;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// One provider for the process: building it allocates, and configurations are built at every rotation.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}
