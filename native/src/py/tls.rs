//! `ClientTls`, `ServerTls`: how connections are protected, as Python says it.

use std::sync::Arc;

use proxyless_tls::client::ClientTls as Calls;
use proxyless_tls::material::{Identity, Roots};
use proxyless_tls::names::NameRule;
use proxyless_tls::server::ServerTls as Answers;
use proxyless_tls::verify::{Expected, Verifier};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use proxyless_drive::listener::ConnectionInfo;

/// `(kind, value, ignore_case)`
type Rule = (String, String, bool);

fn invalid(why: String) -> PyErr {
    PyValueError::new_err(why)
}

fn rules(rules: Vec<Rule>) -> PyResult<Vec<NameRule>> {
    rules.iter().map(|(kind, value, ignore_case)| NameRule::new(kind, value, *ignore_case).map_err(invalid)).collect()
}

fn roots(pem: Option<&[u8]>) -> PyResult<Option<Roots>> {
    pem.map(Roots::from_pem).transpose().map_err(invalid)
}

/// The roots of who is taken by grpcio's rules: nothing that a mesh demands may be passed over by them.
fn outside(pem: Option<&[u8]>, trust_domains: &Option<Vec<String>>, names: &[Rule]) -> PyResult<Roots> {
    if trust_domains.is_some() || !names.is_empty() {
        return Err(invalid(String::from("identities of a mesh are not verified by grpcio's rules")));
    }
    roots(pem)?.ok_or_else(|| invalid(String::from("grpcio's rules need roots")))
}

fn identity(chain: Option<&[u8]>, key: Option<&[u8]>) -> PyResult<Option<Identity>> {
    match (chain, key) {
        (Some(chain), Some(key)) => Identity::from_pem(chain, key).map(Some).map_err(invalid),
        (None, None) => Ok(None),
        _ => Err(invalid(String::from("a certificate chain and its private key come together"))),
    }
}

pub fn protocols(names: Vec<String>) -> Vec<Vec<u8>> {
    names.into_iter().map(String::into_bytes).collect()
}

/// One way to call over TLS. PEM in; raises ValueError saying what cannot be used.
///
/// What the server has to be, beside reaching `roots`: with `trust_domains` an identity of the mesh (one URI name, of
/// the trust domain or fitting a rule), with `host` a server of that name, with `names` one that fits a rule. Without
/// `roots` nothing is verified. `versions` as `TLSv1.2`, `TLSv1.3`; empty: both. `as_grpc`: outside of a mesh, by
/// grpcio's rules, which know `roots` and `host` only.
#[pyclass(frozen, module = "rpc._native")]
pub struct ClientTls(pub Arc<Calls>);

#[pymethods]
impl ClientTls {
    #[new]
    #[pyo3(signature = (*, roots, chain, key, sni, alpn, trust_domains=None, host=None, names=Vec::new(), versions=Vec::new(), as_grpc=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        roots: Option<&[u8]>,
        chain: Option<&[u8]>,
        key: Option<&[u8]>,
        sni: &str,
        alpn: Vec<String>,
        trust_domains: Option<Vec<String>>,
        host: Option<&str>,
        names: Vec<Rule>,
        versions: Vec<String>,
        as_grpc: bool,
    ) -> PyResult<Self> {
        let verifier = if as_grpc {
            Verifier::as_grpc(outside(roots, &trust_domains, &names)?, host.map(str::to_owned), false)
        } else {
            let host = host
                .map(|host| host.to_owned().try_into().map_err(|_| invalid(format!("{host:?} is no host name"))))
                .transpose()?;
            Verifier::new(self::roots(roots)?, Expected { trust_domains, host, rules: rules(names)? }, false)
        };
        let calls = Calls::new(identity(chain, key)?, verifier, sni, protocols(alpn), &versions).map_err(invalid)?;
        Ok(Self(Arc::new(calls)))
    }
}

/// One way to answer over TLS. Without `roots` client certificates are not asked for; `require_client` refuses who
/// shows none. `trust_domains` and `as_grpc` as for `ClientTls`.
#[pyclass(frozen, module = "rpc._native")]
pub struct ServerTls(pub Arc<Answers>);

#[pymethods]
impl ServerTls {
    #[new]
    #[pyo3(signature = (*, chain, key, alpn, roots=None, require_client=false, trust_domains=None, names=Vec::new(), versions=Vec::new(), as_grpc=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        chain: &[u8],
        key: &[u8],
        alpn: Vec<String>,
        roots: Option<&[u8]>,
        require_client: bool,
        trust_domains: Option<Vec<String>>,
        names: Vec<Rule>,
        versions: Vec<String>,
        as_grpc: bool,
    ) -> PyResult<Self> {
        let verifier = if as_grpc && roots.is_some() {
            Some(Verifier::as_grpc(outside(roots, &trust_domains, &names)?, None, require_client))
        } else {
            let expected = Expected { trust_domains, host: None, rules: rules(names)? };
            self::roots(roots)?.map(|roots| Verifier::new(Some(roots), expected, require_client))
        };
        let identity = Identity::from_pem(chain, key).map_err(invalid)?;
        let answers = Answers::new(identity, verifier, protocols(alpn), &versions).map_err(invalid)?;
        Ok(Self(Arc::new(answers)))
    }
}

/// A connection that a port let in; what is asked for is looked up then.
#[pyclass(frozen, module = "rpc._native")]
pub struct Admitted(pub Arc<dyn ConnectionInfo>);

#[pymethods]
impl Admitted {
    #[getter]
    fn peer(&self) -> &str {
        self.0.peer()
    }

    /// The name of the filter chain that it came in by.
    #[getter]
    fn chain(&self) -> &str {
        self.0.chain().map_or("", |chain| &chain.name)
    }

    /// None: plaintext.
    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &*self.0)
    }
}

/// How a link is protected by TLS; see `rpc/_native.pyi`.
#[pyclass(frozen, get_all, module = "rpc._native")]
pub struct TlsInfo {
    certificates: Vec<Py<PyBytes>>,
    protocol: String,
    resumed: bool,
    server_name: Option<String>,
    version: String,
    key_exchange: String,
    identity: Option<String>,
}

impl TlsInfo {
    /// None: plaintext.
    pub fn of(py: Python<'_>, connection: &dyn ConnectionInfo) -> Option<Self> {
        let (mut shown, mut info) = (Vec::new(), None);
        connection.look_at_session(&mut |session| {
            info = session.map(|session| {
                shown = session.peer_certificates().to_vec();
                Self {
                    certificates: Vec::new(), // what makes Python's objects may run Python: not here
                    protocol: String::from_utf8_lossy(session.alpn()).into_owned(),
                    resumed: session.resumed(),
                    server_name: None,
                    version: session.version(),
                    key_exchange: session.key_exchange(),
                    identity: session.identity(),
                }
            });
        });
        let server_name = connection.server_name().map(str::to_owned);
        let certificates = shown.iter().map(|certificate| PyBytes::new(py, certificate).unbind()).collect();
        info.map(|info| Self { certificates, server_name, ..info })
    }
}
