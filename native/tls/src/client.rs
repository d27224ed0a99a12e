//! How we call a server over TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};

use crate::material::Identity;
use crate::verify::Verifier;

/// One way to call: what we show, what we expect, what we ask for. Connections of the same share resumption tickets.
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) verifier: Arc<Verifier>,
}

impl ClientTls {
    /// An empty `sni` sends none. `alpn` in order of preference.
    pub fn new(
        identity: Option<Identity>,
        verifier: Verifier,
        sni: &str,
        alpn: Vec<Vec<u8>>,
        versions: &[String],
    ) -> Result<Self, String> {
        let verifier = Arc::new(verifier);
        let builder = ClientConfig::builder_with_provider(crate::provider())
            .with_protocol_versions(&crate::versions(versions)?)
            .map_err(|error| error.to_string())?
            .dangerous() // rustls' word for a verifier of one's own
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?,
        };
        config.alpn_protocols = alpn;
        config.enable_sni = !sni.is_empty();
        config.resumption = Resumption::in_memory_sessions(64);
        let server_name = if sni.is_empty() {
            ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0]))) // only a key for resumption
        } else {
            ServerName::try_from(sni.to_owned()).map_err(|_| format!("{sni:?} cannot be sent as SNI"))?
        };
        Ok(Self { config: Arc::new(config), server_name, verifier })
    }
}
