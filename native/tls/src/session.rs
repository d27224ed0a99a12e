//! The bytes of one TLS connection: what arrives is opened, what leaves is sealed.

use std::io::{self, BufRead, IoSlice, Write};

use std::sync::Arc;

pub use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, ClientConnection, Connection, Error, HandshakeKind, ProtocolVersion, ServerConnection};
use webpki::{EndEntityCert, KeyUsage};

use crate::client::ClientTls;
use crate::refusal::take_reason;
use crate::sans::uri_names;
use crate::verify::Verifier;

pub struct Session {
    connection: Connection,
    verifier: Option<Arc<Verifier>>,
    /// A resumed session shows no certificate: the remembered one is looked at again, once.
    looked_at: bool,
}

impl Session {
    pub fn client(tls: &ClientTls) -> Result<Self, String> {
        let mut connection =
            ClientConnection::new(tls.config.clone(), tls.server_name.clone()).map_err(|error| error.to_string())?;
        connection.set_buffer_limit(None); // the driver hands over no more than it sees leave
        Ok(Self { connection: connection.into(), verifier: Some(tls.verifier.clone()), looked_at: false })
    }

    pub(crate) fn server(mut connection: ServerConnection, verifier: Option<Arc<Verifier>>) -> Self {
        connection.set_buffer_limit(None);
        Self { connection: connection.into(), verifier, looked_at: false }
    }

    /// Takes bytes from the wire and passes on what they open to. True: the peer said goodbye. An error is final; the
    /// alert that tells the peer waits to be written.
    pub fn feed(&mut self, mut bytes: &[u8], open: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        loop {
            if !bytes.is_empty() {
                self.connection.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            }
            let state = self.connection.process_new_packets().map_err(|error| self.explain(&error))?;
            let (mut waiting, closed) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
            if !self.connection.is_handshaking() {
                self.look_again()?;
            }
            while waiting > 0 {
                let mut reader = self.connection.reader();
                let chunk = reader.fill_buf().map_err(|error| error.to_string())?;
                let length = chunk.len();
                open(chunk);
                reader.consume(length);
                waiting = waiting.saturating_sub(length);
            }
            if bytes.is_empty() || closed {
                return Ok(closed);
            }
        }
    }

    fn look_again(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.looked_at, true)
            || self.connection.handshake_kind() != Some(HandshakeKind::Resumed)
        {
            return Ok(());
        }
        let (Some(verifier), Some([leaf, between @ ..])) = (&self.verifier, self.connection.peer_certificates()) else {
            return Ok(());
        };
        let usage = match self.connection {
            Connection::Client(_) => KeyUsage::server_auth(),
            Connection::Server(_) => KeyUsage::client_auth(),
        };
        verifier.check(leaf, between, UnixTime::now(), usage).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &Error) -> String {
        if let Some(reason) = take_reason() {
            return reason;
        }
        match error {
            Error::AlertReceived(AlertDescription::UnknownCA) => {
                String::from("the peer refused our certificate: it does not know our CA (alert unknown_ca)")
            }
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                String::from("the peer wants a client certificate, and we showed none (alert certificate_required)")
            }
            Error::AlertReceived(AlertDescription::CertificateExpired) => {
                String::from("the peer refused our certificate as expired (alert certificate_expired)")
            }
            Error::AlertReceived(alert) => format!("the peer refused the connection (alert {alert:?})"),
            Error::InvalidMessage(_) if self.connection.is_handshaking() => {
                String::from("the peer does not speak TLS on this port")
            }
            other => other.to_string(),
        }
    }

    /// Seals the pieces as if they were one, from where they lie; `write_to` sends. Before the handshake is over it waits.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) {
        // Into memory without a limit: nothing to fail, and nothing is left over.
        let _ = self.connection.writer().write_vectored(pieces);
    }

    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    pub fn write_to(&mut self, out: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(out)
    }

    /// The goodbye that tells the peer that nothing was cut off.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    pub fn handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// DER, the leaf first; empty when the peer showed none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// What the peer's certificate calls it: URI names, all that stand in it, and DNS names. Empty: it showed none.
    pub fn peer_names(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let Some(leaf) = self.peer_certificates().first() else { return Default::default() };
        let uris = uri_names(leaf).unwrap_or_default().into_iter().map(<[u8]>::to_vec).collect();
        let dns = EndEntityCert::try_from(leaf)
            .map(|leaf| leaf.valid_dns_names().map(|name| name.as_bytes().to_vec()).collect());
        (uris, dns.unwrap_or_default())
    }

    /// Whom the mesh vouches for; None outside of it, or where the peer showed nothing.
    pub fn identity(&self) -> Option<String> {
        let leaf = self.peer_certificates().first()?;
        self.verifier.as_ref()?.identity(leaf)
    }

    pub fn alpn(&self) -> &[u8] {
        self.connection.alpn_protocol().unwrap_or_default()
    }

    /// `TLSv1.3`
    pub fn version(&self) -> String {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => String::from("TLSv1.3"),
            Some(ProtocolVersion::TLSv1_2) => String::from("TLSv1.2"),
            _ => String::new(),
        }
    }

    pub fn key_exchange(&self) -> String {
        self.connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())).unwrap_or_default()
    }

    pub fn resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}
