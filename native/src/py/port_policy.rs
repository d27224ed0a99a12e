//! `PortPolicy`: what a server's port lets in, as Python says it.

use std::sync::Arc;

use proxyless_drive::port_policy::PortPolicy as DrivenPortPolicy;
use proxyless_tls::chains::{Chain, Chains};
use pyo3::prelude::*;

use super::events::Callables;
use super::rbac::{Rbac, admits};
use super::tls::{ServerTls, protocols};

/// What a server's port lets in. `on_refused(peer, reason)` is told of each connection that was not let in,
/// `on_admitted(admitted)` of each that was.
#[pyclass(frozen, module = "rpc._native")]
pub struct PortPolicy(pub Arc<DrivenPortPolicy<Callables>>);

/// `rpc.security.chain.Chain`.
#[derive(FromPyObject)]
struct ChainOf<'py> {
    name: String,
    server_names: Vec<String>,
    transport: String,
    protocols: Vec<String>,
    tls: Option<Bound<'py, ServerTls>>,
    refusal: Option<String>,
    lapse: Option<String>,
    policy: Bound<'py, PyAny>,
    admits: Option<Py<Rbac>>,
}

impl From<ChainOf<'_>> for Chain {
    fn from(chain: ChainOf<'_>) -> Self {
        Self {
            name: chain.name.into(),
            server_names: chain.server_names,
            transport: chain.transport,
            protocols: protocols(chain.protocols),
            tls: chain.tls.map(|tls| tls.get().0.clone()),
            refusal: chain.refusal,
            lapse: chain.lapse,
            policy: Some(Arc::new(chain.policy.unbind())),
            admits: chain.admits.and_then(admits),
        }
    }
}

#[pymethods]
impl PortPolicy {
    #[new]
    fn new(on_refused: Py<PyAny>, on_admitted: Py<PyAny>) -> Self {
        Self(Arc::new(DrivenPortPolicy::new(on_refused, on_admitted)))
    }

    /// `callback()` is called for each new connection before its first bytes are looked at.
    fn before_handshakes(&self, callback: Py<PyAny>) {
        self.0.call_before_handshakes(callback);
    }

    /// New connections meet these chains (`otherwise` where none of them takes it) from now on; see
    /// `Reactor.mark_misfits` for those that are there.
    #[pyo3(signature = (chains, otherwise=None))]
    fn set(&self, chains: Vec<ChainOf<'_>>, otherwise: Option<ChainOf<'_>>) {
        let chains = chains.into_iter().map(Chain::from).collect();
        let chains = Chains { chains, otherwise: otherwise.map(Chain::from) };
        self.0.set(chains);
    }
}
