//! What a port lets in: filter chains, chosen as Envoy chooses them by what a connection's first bytes say.
//!
//! Server name, then transport, then offered protocols; at each step the most specific that exists is taken, and there
//! is no way back (envoy: source/common/listener_manager/filter_chain_manager_impl.cc). Ports and addresses are
//! settled before: these are the chains of one port.

use std::any::Any;
use std::sync::Arc;

use crate::server::ServerTls;
use crate::session::Session;

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    pub tls: bool,
    /// TLS: what the client offers, in its order. Plaintext: `h2c` or `http/1.1`, as Envoy's http_inspector says.
    pub protocols: Vec<Vec<u8>>,
    pub server_name: Option<String>,
}

pub type Policy = Option<Arc<dyn Any + Send + Sync>>;

/// A connection that a chain takes, before it is let in.
pub struct Arriving<'a> {
    /// Addresses, as grpcio writes them.
    pub peer: &'a str,
    pub local: &'a str,
    pub server_name: Option<&'a str>,
    pub session: Option<&'a Session>,
}

/// What may keep a connection out, and why.
pub type Admits = Option<Arc<dyn Fn(&Arriving<'_>) -> Result<(), String> + Send + Sync>>;

pub struct Chain {
    pub name: Arc<str>,
    /// Exact, or `*.suffix`. Empty: any.
    pub server_names: Vec<String>,
    /// `tls`, `raw_buffer`, or empty for any.
    pub transport: String,
    /// Empty: any.
    pub protocols: Vec<Vec<u8>>,
    /// None: plaintext.
    pub tls: Option<Arc<ServerTls>>,
    /// Why nobody may use it.
    pub refusal: Option<String>,
    /// Why nobody may come in by it for now; who is in may stay.
    pub lapse: Option<String>,
    /// Whatever its owner wants back with each connection that comes in by it.
    pub policy: Policy,
    /// Asked for each connection when it is there; nothing may wait meanwhile.
    pub admits: Admits,
}

#[derive(Default)]
pub struct Chains {
    pub chains: Vec<Chain>,
    /// For what none of them takes.
    pub otherwise: Option<Chain>,
}

impl Chains {
    /// Of a port that lets everybody in, in plaintext.
    pub fn of_plaintext() -> Self {
        let everybody = Chain {
            name: "plaintext".into(),
            server_names: Vec::new(),
            transport: String::new(),
            protocols: Vec::new(),
            tls: None,
            refusal: None,
            lapse: None,
            policy: None,
            admits: None,
        };
        Self { chains: Vec::new(), otherwise: Some(everybody) }
    }

    pub fn select(&self, hello: &Hello) -> Option<&Chain> {
        self.find(hello).or(self.otherwise.as_ref())
    }

    fn find(&self, hello: &Hello) -> Option<&Chain> {
        let all: Vec<&Chain> = self.chains.iter().collect();
        let by_name = by_server_name(all, hello.server_name.as_deref());
        let transport = if hello.tls { "tls" } else { "raw_buffer" };
        let by_transport = [transport, ""]
            .iter()
            .map(|wanted| by_name.iter().filter(|chain| chain.transport == **wanted).copied().collect::<Vec<_>>())
            .find(|chains| !chains.is_empty())?;
        let offered = hello
            .protocols
            .iter()
            .find_map(|protocol| by_transport.iter().find(|chain| chain.protocols.contains(protocol)));
        offered.or_else(|| by_transport.iter().find(|chain| chain.protocols.is_empty())).copied()
    }
}

fn by_server_name<'a>(chains: Vec<&'a Chain>, name: Option<&str>) -> Vec<&'a Chain> {
    let of = |wanted: &str| -> Vec<&'a Chain> {
        chains.iter().filter(|chain| chain.server_names.iter().any(|name| name == wanted)).copied().collect()
    };
    if let Some(name) = name {
        let exact = of(name);
        if !exact.is_empty() {
            return exact;
        }
        let mut rest = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            let wild = of(&format!("*.{suffix}"));
            if !wild.is_empty() {
                return wild;
            }
            rest = suffix;
        }
    }
    chains.into_iter().filter(|chain| chain.server_names.is_empty()).collect()
}
