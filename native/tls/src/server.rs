//! How we answer over TLS.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::material::Identity;
use crate::verify::Verifier;

/// One way to answer: what we show and whom we let in. Two configurations of it, because rustls refuses a client that
/// offers only protocols we do not know, where Envoy goes on without any.
pub struct ServerTls {
    with_alpn: Arc<ServerConfig>,
    without_alpn: Arc<ServerConfig>,
    pub(crate) verifier: Option<Arc<Verifier>>,
}

impl ServerTls {
    /// Without a `verifier` client certificates are not asked for.
    pub fn new(
        identity: Identity,
        verifier: Option<Verifier>,
        alpn: Vec<Vec<u8>>,
        versions: &[String],
    ) -> Result<Self, String> {
        let verifier = verifier.map(Arc::new);
        let builder = ServerConfig::builder_with_provider(crate::provider())
            .with_protocol_versions(&crate::versions(versions)?)
            .map_err(|error| error.to_string())?;
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let without_alpn = builder
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| format!("the server certificate cannot be used: {error}"))?;
        let mut with_alpn = without_alpn.clone();
        with_alpn.alpn_protocols = alpn;
        Ok(Self { with_alpn: Arc::new(with_alpn), without_alpn: Arc::new(without_alpn), verifier })
    }

    pub(crate) fn config(&self, offered: &[Vec<u8>]) -> Arc<ServerConfig> {
        let known = offered.iter().any(|protocol| self.with_alpn.alpn_protocols.contains(protocol));
        if known { self.with_alpn.clone() } else { self.without_alpn.clone() }
    }

    pub fn wants_client_certificate(&self) -> bool {
        use rustls::server::danger::ClientCertVerifier;
        self.verifier.as_ref().is_some_and(|verifier| verifier.client_auth_mandatory())
    }
}
