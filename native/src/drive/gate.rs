//! What a server's port lets in, replaceable while it serves, and how a connection came through it.

use std::sync::Arc;

use proxyless_tls::chains::{Chains, Hello};
use proxyless_tls::session::Session;
use pyo3::prelude::*;

use super::fork::ProcessMutex;
use super::link::Link;

pub struct Gate {
    chains: ProcessMutex<Arc<Chains>>,
    pub on_refused: Arc<Py<PyAny>>,
    /// Called for each new connection before its first bytes are looked at: it may change the chains.
    before_handshakes: ProcessMutex<Option<Arc<Py<PyAny>>>>,
}

/// How a link's bytes are protected, and by what gate it came in (servers).
#[derive(Default)]
pub struct Security {
    pub session: Option<Box<Session>>,
    pub admission: Option<Admission>,
}

pub struct Admission {
    gate: Arc<Gate>,
    hello: Hello,
    pub chain: String,
}

impl Admission {
    pub fn new(gate: Arc<Gate>, hello: Hello, chain: String) -> Self {
        Self { gate, hello, chain }
    }

    /// What the client asked for.
    pub fn server_name(&self) -> Option<String> {
        self.hello.server_name.clone()
    }
}

impl Gate {
    pub fn new(on_refused: Py<PyAny>) -> Self {
        Self {
            chains: ProcessMutex::default(),
            on_refused: Arc::new(on_refused),
            before_handshakes: ProcessMutex::default(),
        }
    }

    pub fn before_handshakes(&self) -> Option<Arc<Py<PyAny>>> {
        self.before_handshakes.lock().clone()
    }

    pub fn call_before_handshakes(&self, callback: Py<PyAny>) {
        *self.before_handshakes.lock() = Some(Arc::new(callback));
    }

    pub fn chains(&self) -> Arc<Chains> {
        self.chains.lock().clone()
    }

    pub fn set(&self, chains: Chains) {
        *self.chains.lock() = Arc::new(chains);
    }
}

/// Would the link be let in as it is, if it came now?
pub fn still_fits(link: &Link) -> bool {
    let Some(admission) = &link.admission else { return true };
    let chains = admission.gate.chains();
    let Some(chain) = chains.select(&admission.hello) else { return false };
    let state = link.lock();
    match (&chain.tls, &state.session) {
        (None, None) => true,
        (Some(tls), Some(session)) => !tls.wants_client_certificate() || !session.peer_certificates().is_empty(),
        _ => false,
    }
}
