//! How we answer over TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use webpki::KeyUsage;

use crate::material::{Identity, validity};
use crate::refusal::take_reason;
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
        let own = identity.certified().map_err(|why| format!("the server certificate cannot be used: {why}"))?;
        let without_alpn = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        let mut with_alpn = without_alpn.clone();
        with_alpn.alpn_protocols = alpn;
        Ok(Self { with_alpn: Arc::new(with_alpn), without_alpn: Arc::new(without_alpn), verifier })
    }

    pub(crate) fn config(&self, offered: &[Vec<u8>]) -> Arc<ServerConfig> {
        let known = offered.iter().any(|protocol| self.with_alpn.alpn_protocols.contains(protocol));
        if known { self.with_alpn.clone() } else { self.without_alpn.clone() }
    }

    /// Would a client that once showed these be let in? They may have expired since: no connection ends for that.
    pub fn takes(&self, shown: &[CertificateDer<'_>]) -> bool {
        let Some(verifier) = &self.verifier else { return true };
        let [leaf, between @ ..] = shown else { return !verifier.client_auth_mandatory() };
        let now = UnixTime::now().as_secs();
        let then = validity(leaf).map_or(now, |(_, not_after)| now.min(not_after));
        let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
        let taken = verifier.check(leaf, between, then, KeyUsage::client_auth()).is_ok();
        take_reason(); // nobody is told
        taken
    }
}
