//! What a certificate says, read without judging it, and the form in which webpki judges those that it would not look at.
//!
//! webpki reads certificates of version 3 only, and takes none for a peer's own that says it is a CA's. People make
//! both: `openssl x509 -req` the one, `openssl req -x509` the other. `Certificate::as_a_leafs` is such a certificate
//! in webpki's words; whoever signed it signed the original, which is what `bounds::standing_in` sees to.

use rustls::pki_types::CertificateDer;

use crate::der::element;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const VERSION_3: &[u8] = &[VERSION, 3, INTEGER, 1, 2];

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
/// Of a GeneralName.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P_384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const FEWEST_RSA_BITS: usize = 2048;

/// What a key may be used for (RFC 5280, 4.2.1.3): bits of the extension's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    DigitalSignature = 0x80,
    KeyCertSign = 0x04,
}

pub struct Certificate<'a> {
    /// The body as it was signed.
    signed: &'a [u8],
    /// Of the body, the fields from the serial number to the key.
    fields: &'a [u8],
    subject: &'a [u8],
    key: &'a [u8],
    /// Each as it stands in the certificate, and what it says.
    extensions: Vec<(&'a [u8], Extension<'a>)>,
    /// Algorithm and signature.
    signature: &'a [u8],
}

struct Extension<'a> {
    kind: &'a [u8],
    value: &'a [u8],
}

/// The first element with its tag and length, and what follows.
fn whole(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = element(der)?.2;
    der.split_at_checked(der.len() - rest.len())
}

/// The content of the first element, which has to have this tag, and what follows.
fn content(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == expected).then_some((content, rest))
}

impl<'a> Certificate<'a> {
    /// None: this is no certificate of version 1 or 3.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (outer, after) = content(der, SEQUENCE)?;
        let (signed, signature) = whole(outer)?;
        let (mut rest, _) = content(signed, SEQUENCE)?;
        let version_3 = rest.starts_with(VERSION_3);
        if version_3 {
            rest = &rest[VERSION_3.len()..];
        }
        let fields = rest;
        for _ in ["serial number", "signature algorithm", "issuer", "validity"] {
            rest = whole(rest)?.1;
        }
        let (subject, rest) = content(rest, SEQUENCE)?;
        let (key, rest) = whole(rest)?;
        let fields = &fields[..fields.len() - rest.len()];
        let extensions = match (version_3, rest) {
            (_, []) => Vec::new(),
            (false, _) => return None,
            (true, rest) => extensions(rest)?,
        };
        after.is_empty().then_some(Self { signed, fields, subject, key, extensions, signature })
    }

    fn extension(&self, kind: &[u8]) -> Option<&'a [u8]> {
        self.extensions.iter().find(|(_, extension)| extension.kind == kind).map(|(_, extension)| extension.value)
    }

    /// The body as it was signed.
    pub fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// The public key with its algorithm.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Does it allow this? One that says nothing allows everything.
    pub fn allows(&self, usage: KeyUse) -> bool {
        let Some(value) = self.extension(KEY_USAGE) else { return true };
        let Some(([_, bits, ..], _)) = content(value, BIT_STRING) else { return false };
        bits & usage as u8 != 0
    }

    pub fn has_alternative_names(&self) -> bool {
        self.extension(SUBJECT_ALT_NAME).is_some()
    }

    pub fn constrains_names(&self) -> bool {
        self.extension(NAME_CONSTRAINTS).is_some()
    }

    pub fn dns_names(&self) -> Vec<&'a [u8]> {
        self.alternative_names(DNS_NAME)
    }

    /// Of 4 bytes or 16.
    pub fn addresses(&self) -> Vec<&'a [u8]> {
        self.alternative_names(IP_ADDRESS)
    }

    fn alternative_names(&self, of: u8) -> Vec<&'a [u8]> {
        let names = self.extension(SUBJECT_ALT_NAME).and_then(|value| content(value, SEQUENCE));
        let Some((mut names, _)) = names else { return Vec::new() };
        let mut found = Vec::new();
        while let Some((tag, name, rest)) = element(names) {
            if tag == of {
                found.push(name);
            }
            names = rest;
        }
        found
    }

    /// The first of them.
    pub fn common_name(&self) -> Option<&'a [u8]> {
        let mut rest = self.subject;
        while let Some((_, relative, after)) = element(rest) {
            rest = after;
            let mut attributes = relative;
            while let Some((_, attribute, after)) = element(attributes) {
                attributes = after;
                let (_, kind, value) = element(attribute)?;
                if kind == COMMON_NAME {
                    return element(value).map(|(_, text, _)| text);
                }
            }
        }
        None
    }

    /// Of version 3, and without a word on whether it is a CA's: webpki takes it for a peer's own, and never for an
    /// issuer's. Everything else is the original's.
    pub fn as_a_leafs(&self) -> StandIn {
        self.stand_in(self.extensions.iter().filter(|(_, e)| e.kind != BASIC_CONSTRAINTS).map(|(whole, _)| *whole))
    }

    /// Its key, for those who look at nothing else: without any extension.
    pub fn as_a_key(&self) -> StandIn {
        self.stand_in(std::iter::empty())
    }

    fn stand_in<'b>(&self, extensions: impl Iterator<Item = &'b [u8]>) -> StandIn {
        let extensions: Vec<u8> = extensions.flatten().copied().collect();
        let mut body = [VERSION_3, self.fields].concat();
        if !extensions.is_empty() {
            body.extend(wrapped(EXTENSIONS, &wrapped(SEQUENCE, &extensions)));
        }
        let signed = wrapped(SEQUENCE, &body);
        let certificate = wrapped(SEQUENCE, &[&signed[..], self.signature].concat());
        StandIn { certificate: CertificateDer::from(certificate), signed }
    }
}

/// A certificate made of another one.
pub struct StandIn {
    pub certificate: CertificateDer<'static>,
    /// What would have to be signed for it.
    pub signed: Vec<u8>,
}

fn extensions(rest: &[u8]) -> Option<Vec<(&[u8], Extension<'_>)>> {
    let (explicit, after) = content(rest, EXTENSIONS)?;
    let (mut list, behind) = content(explicit, SEQUENCE)?;
    let mut found = Vec::new();
    while !list.is_empty() {
        let (raw, rest) = whole(list)?;
        list = rest;
        let (_, kind, mut value) = element(content(raw, SEQUENCE)?.0)?;
        if value.first() != Some(&OCTET_STRING) {
            value = element(value)?.2; // whether it is critical
        }
        let (value, _) = content(value, OCTET_STRING)?;
        found.push((raw, Extension { kind, value }));
    }
    (after.is_empty() && behind.is_empty()).then_some(found)
}

fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        der.push(0x80 | bytes.len() as u8);
        der.extend(bytes);
    }
    der.extend(content);
    der
}

/// Why signatures by this public key (with its algorithm) are not verified here, and what to make instead.
pub fn unusable(key: &[u8]) -> Option<String> {
    let (key, _) = content(key, SEQUENCE)?;
    let (algorithm, bits) = content(key, SEQUENCE)?;
    let (_, kind, parameters) = element(algorithm)?;
    if kind == RSA {
        let (bits, _) = content(bits, BIT_STRING)?;
        let (modulus, _) = content(content(bits.get(1..)?, SEQUENCE)?.0, INTEGER)?;
        let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
        let count = (8 * modulus.len()).saturating_sub(modulus.first()?.leading_zeros() as usize);
        return (count < FEWEST_RSA_BITS).then(|| {
            format!("has an RSA key of {count} bits, and {FEWEST_RSA_BITS} are the fewest (openssl: -newkey rsa:2048)")
        });
    }
    let (_, curve, _) = element(parameters).unwrap_or_default();
    (kind == ELLIPTIC && curve != P_256 && curve != P_384).then(|| {
        String::from(
            "has a key on another curve than P-256 and P-384 (openssl: -newkey ec -pkeyopt ec_paramgen_curve:P-256)",
        )
    })
}
