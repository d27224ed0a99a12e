//! What is known of a server's connection, for rules and filters; and by which names they ask a head.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxyless_drive::driven::Driven;
use proxyless_policy::Undecided;
use proxyless_policy::address::plain;
use proxyless_policy::request::{PeerNames, Request, Value};
use proxyless_tls::chains::Arriving;
use proxyless_tls::session::Session;

use super::events::{Callables, Link};

/// By which names a request says whom it is for: the first, or the other where that is not there (RFC 9113, section
/// 8.3.1).
pub fn names_of(name: &str) -> (&str, Option<&str>) {
    match name {
        ":authority" | "host" => (":authority", Some("host")),
        name => (name, None),
    }
}

pub fn local_name(link: &Link) -> String {
    (link as &dyn Driven<Callables>).local_name()
}

/// What TLS asked for; empty: nothing.
pub fn requested_name(link: &Link) -> String {
    link.admission.as_ref().and_then(|admission| admission.server_name()).unwrap_or_default().to_owned()
}

/// Looked at once where it came in by a port policy.
pub fn of_link(link: &Link) -> Arc<Facts> {
    let Some(admission) = &link.admission else { return Arc::new(look_at(link)) };
    let kept = admission.facts.get_or_init(|| Arc::new(look_at(link)));
    kept.clone().downcast().unwrap_or_default()
}

fn look_at(link: &Link) -> Facts {
    let (local, server_name, mut facts) = (local_name(link), requested_name(link), Facts::default());
    (link as &dyn Driven<Callables>).look_at_session(&mut |session| {
        let server_name = Some(server_name.as_str());
        facts = Facts::of(&Arriving { peer: &link.peer, local: &local, server_name, session });
    });
    facts
}

/// Of a connection, once for all its calls.
#[derive(Default)]
pub struct Facts {
    pub peer: Option<IpAddr>,
    pub local: Option<(IpAddr, u16)>,
    pub server_name: String,
    /// None: plaintext.
    pub names: Option<PeerNames>,
    /// The peer's, DER.
    pub certificate: Option<Vec<u8>>,
}

/// As grpcio writes it: `ipv4:1.2.3.4:5`, `ipv6:%5B::1%5D:5`. None: it is none of IP.
pub fn socket_address(written: &str) -> Option<(IpAddr, u16)> {
    let text = match written.split_once(':')? {
        ("ipv4", rest) => rest.to_owned(),
        ("ipv6", rest) => rest.replace("%5B", "[").replace("%5D", "]"),
        _ => return None,
    };
    let address: SocketAddr = text.parse().ok()?;
    Some((plain(address.ip()), address.port()))
}

impl Facts {
    pub fn of(arriving: &Arriving<'_>) -> Self {
        let of_session = |session: &Session| {
            let (uris, dns) = session.peer_names();
            PeerNames { uris, dns }
        };
        let leaf = arriving.session.and_then(|session| session.peer_certificates().first());
        Self {
            peer: socket_address(arriving.peer).map(|(address, _)| address),
            local: socket_address(arriving.local),
            server_name: arriving.server_name.unwrap_or_default().to_owned(),
            names: arriving.session.map(of_session),
            certificate: leaf.map(|leaf| leaf.to_vec()),
        }
    }
}

/// A connection: it has no head, and nobody has found out anything.
impl Request for Facts {
    fn values(&self, _: &str) -> Vec<Cow<'_, [u8]>> {
        Vec::new()
    }

    fn header_bytes(&self) -> usize {
        0
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn client(&self) -> Option<IpAddr> {
        self.peer
    }

    fn local(&self) -> Option<(IpAddr, u16)> {
        self.local
    }

    fn server_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.server_name)
    }

    fn names(&self) -> Option<Cow<'_, PeerNames>> {
        self.names.as_ref().map(Cow::Borrowed)
    }

    /// Python reads it, which nobody may wait for here.
    fn subject(&self) -> Result<Vec<u8>, Undecided> {
        if self.certificate.is_some() { Err(Undecided) } else { Ok(Vec::new()) }
    }

    fn metadata(&self, _: &str, _: &[String]) -> Option<Value> {
        None
    }

    /// Its names are bounded, and it comes once.
    fn affords(&self, _: usize) -> bool {
        true
    }
}
