//! Certificates made on the spot, and a client and a server in memory.
#![allow(dead_code)] // each test file uses its part

pub mod random;

use std::sync::Arc;

use proxyless_tls::chains::{Chain, Chains};
use proxyless_tls::client::ClientTls;
use proxyless_tls::detect::HTTP2;
use proxyless_tls::material::{Identity, Roots};
use proxyless_tls::names::NameRule;
use proxyless_tls::protocol_detection::{Opened, ProtocolDetection};
use proxyless_tls::server::ServerTls;
use proxyless_tls::session::Session;
use proxyless_tls::verify::{Expected, Verifier};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};

pub const SERVER: &str = "spiffe://cluster.local/ns/demo/sa/server";
pub const CLIENT: &str = "spiffe://cluster.local/ns/demo/sa/client";

pub struct Ca {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

pub struct Leaf {
    pub chain: String,
    pub key: String,
}

pub fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::OrganizationName, name);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { pem, issuer: Issuer::new(params, key) }
}

impl Ca {
    pub fn leaf(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { chain, key: key.serialize_pem() }
    }

    pub fn plain_leaf(&self, uri: &str) -> Leaf {
        self.leaf(&[uri], |_| {})
    }
}

pub fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
}

pub fn not_yet(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2901, 1, 1), date_time_ymd(2902, 1, 1));
}

impl Leaf {
    pub fn identity(&self) -> Identity {
        Identity::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

pub fn exactly(name: &str) -> Vec<NameRule> {
    vec![NameRule::new("exact", name, false).unwrap()]
}

pub fn of_mesh(rules: Vec<NameRule>) -> Expected {
    Expected { trust_domains: Some(vec![String::from("cluster.local")]), host: None, rules }
}

pub fn client_tls(root: &Ca, own: Option<&Leaf>, expected: Expected) -> ClientTls {
    client_tls_with(root, own, expected, &["istio-h2", "istio", "h2"])
}

pub fn client_tls_offering(root: &Ca, alpn: &[&str]) -> ClientTls {
    client_tls_with(root, None, of_mesh(Vec::new()), alpn)
}

fn client_tls_with(root: &Ca, own: Option<&Leaf>, expected: Expected, alpn: &[&str]) -> ClientTls {
    let roots = Roots::from_pem(root.pem.as_bytes()).unwrap();
    let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let verifier = Verifier::new(Some(roots), expected, false);
    ClientTls::new(own.map(Leaf::identity), verifier, "outbound_.80_._.server.demo.svc", alpn, &[]).unwrap()
}

pub fn server_tls(root: &Ca, own: &Leaf, require: bool) -> Arc<ServerTls> {
    let roots = Roots::from_pem(root.pem.as_bytes()).unwrap();
    let verifier = Verifier::new(Some(roots), of_mesh(Vec::new()), require);
    Arc::new(ServerTls::new(own.identity(), Some(verifier), vec![b"h2".to_vec()], &[]).unwrap())
}

pub fn chain(name: &str, transport: &str, protocols: &[&str], tls: Option<Arc<ServerTls>>) -> Chain {
    Chain {
        name: name.into(),
        server_names: Vec::new(),
        transport: transport.to_owned(),
        protocols: protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
        tls,
        refusal: None,
        lapse: None,
        policy: Some(Arc::new(name.to_owned())),
        admits: None,
    }
}

/// The name of the chain that took a connection, which `chain` above set as its policy.
pub fn taken_by(opened: &Opened) -> &str {
    opened.chain.policy.as_ref().and_then(|policy| policy.downcast_ref::<String>()).unwrap()
}

pub fn only(chain: Chain) -> Chains {
    Chains { chains: vec![chain], otherwise: None }
}

/// How a handshake ended, as each side tells it.
pub struct Met {
    pub client: Result<Session, String>,
    pub server: Result<Opened, String>,
}

/// Lets a client begin with a server. `step` bytes cross at a time, so that records are cut everywhere.
pub fn meet(client: &ClientTls, chains: &Chains, step: usize) -> Met {
    let mut detection = ProtocolDetection::default();
    let mut session = Session::client(client).unwrap();
    let mut opened: Option<Opened> = None;
    let mut refused: Option<String> = None;
    for _ in 0..20 {
        let mut sent = Vec::new();
        while session.wants_write() {
            session.write_to(&mut sent).unwrap();
        }
        for piece in sent.chunks(step) {
            if refused.is_some() {
                break;
            }
            if let Some(opened) = &mut opened {
                let fed = opened.session.as_mut().unwrap().feed(piece, &mut |_| {});
                refused = fed.err();
                continue;
            }
            match detection.feed(chains, &[HTTP2], piece) {
                Ok(None) => {}
                Ok(Some(done)) => opened = Some(done),
                Err(why) => refused = Some(why),
            }
        }
        let mut answer = Vec::new();
        detection.write_to(&mut answer).unwrap();
        if let Some(server) = opened.as_mut().and_then(|opened| opened.session.as_mut()) {
            while server.wants_write() {
                server.write_to(&mut answer).unwrap();
            }
        }
        if answer.is_empty() && sent.is_empty() {
            break;
        }
        for piece in answer.chunks(step) {
            if let Err(why) = session.feed(piece, &mut |_| {}) {
                let mut alert = Vec::new();
                while session.wants_write() {
                    session.write_to(&mut alert).unwrap();
                }
                let server = match opened {
                    Some(mut opened) => match opened.session.as_mut().unwrap().feed(&alert, &mut |_| {}) {
                        Ok(_) => Ok(opened),
                        Err(why) => Err(why),
                    },
                    None => detection
                        .feed(chains, &[HTTP2], &alert)
                        .and_then(|done| done.ok_or_else(|| String::from("half open"))),
                };
                return Met { client: Err(why), server: refused.map_or(server, Err) };
            }
        }
    }
    let server = match (refused, opened) {
        (Some(why), _) => Err(why),
        (None, Some(opened)) => Ok(opened),
        (None, None) => Err(format!("still waiting for {}", detection.waits_for())),
    };
    let client = if session.handshaking() { Err(String::from("half open")) } else { Ok(session) };
    Met { client, server }
}
