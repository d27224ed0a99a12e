//! What rules may ask of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::Undecided;

/// Whom the client's certificate names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNames {
    pub uris: Vec<Vec<u8>>,
    pub dns: Vec<Vec<u8>>,
}

/// JSON, as protobuf's `Value` has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    /// What stands in it nobody asks: a path of a rule leads to what it asks for.
    Struct,
}

impl Value {
    /// About how many bytes have to be gone through to make and to look at it.
    pub fn size(&self) -> usize {
        const EACH: usize = 64;
        match self {
            Self::Text(text) => EACH + text.len(),
            Self::List(values) => EACH + values.iter().map(Self::size).sum::<usize>(),
            _ => EACH,
        }
    }
}

pub trait Request {
    /// Each value of a header, pseudo-header fields too. The name is lower case; `host` is `:authority`.
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>>;

    /// How many bytes are gone through to find a header.
    fn header_bytes(&self) -> usize;

    /// `:path`; None: a connection, which has none.
    fn path(&self) -> Option<Cow<'_, [u8]>>;

    /// Who is connected; None: not by IP.
    fn peer(&self) -> Option<IpAddr>;

    /// Whom the peer speaks for: `address::client` of it.
    fn client(&self) -> Option<IpAddr>;

    /// The address that it came to.
    fn local(&self) -> Option<(IpAddr, u16)>;

    /// What TLS asked for; empty: nothing.
    fn server_name(&self) -> Cow<'_, str>;

    /// None: plaintext, which vouches for nobody.
    fn names(&self) -> Option<Cow<'_, PeerNames>>;

    /// The certificate's subject (RFC 2253), asked for where it has no other names. Err: nobody can read it here.
    fn subject(&self) -> Result<Vec<u8>, Undecided>;

    /// What a filter has found out, at this path.
    fn metadata(&self, filter: &str, path: &[String]) -> Option<Value>;

    /// Whether so much may be spent for this request besides: bytes of text, times the bytes of a pattern's program.
    /// Whatever costs more the longer a request is asks before, or a caller could make many rules look at much.
    fn affords(&self, work: usize) -> bool;
}
