//! How we call a server over TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::sign::SingleCertAndKey;

use crate::material::Identity;
use crate::verify::Verifier;

/// One way to call: what we show, what we expect, what we ask for. Connections of the same share resumption tickets.
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) verifier: Arc<Verifier>,
}

impl ClientTls {
    /// An empty `sni` sends none, nor does a name that SNI has no form for, where grpcio's rules hold. `alpn` in order of preference.
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
            Some(identity) => {
                let own =
                    identity.certified().map_err(|why| format!("the client certificate cannot be used: {why}"))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        config.alpn_protocols = alpn;
        config.resumption = Resumption::in_memory_sessions(64);
        let server_name = match ServerName::try_from(sni.to_owned()) {
            Ok(name) => Some(name),
            Err(_) if sni.is_empty() || verifier.is_lenient() => None,
            Err(_) => return Err(format!("{sni:?} cannot be sent as SNI")),
        };
        config.enable_sni = server_name.is_some();
        // Without one it is only a key for resumption.
        let server_name = server_name.unwrap_or(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0]))));
        Ok(Self { config: Arc::new(config), server_name, verifier })
    }
}
