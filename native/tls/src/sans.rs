//! The URI names of a certificate as they stand in it. webpki passes over those that are no text, and a name that one reader
//! sees and another does not must not make a second identity.

use crate::der::element;

const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;
/// `id-ce-subjectAltName`, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// `[6] uniformResourceIdentifier` of a GeneralName, whether it is one piece or, as DER forbids, several.
const URI: u8 = 0x86;
const CONSTRUCTED: u8 = 0x20;

/// All URI names; None: this is no certificate.
pub fn uri_names(certificate: &[u8]) -> Option<Vec<&[u8]>> {
    let (_, outer, _) = element(certificate)?;
    let (_, mut body, _) = element(outer)?;
    let mut names = Vec::new();
    while !body.is_empty() {
        let (tag, content, rest) = element(body)?;
        if tag == EXTENSIONS {
            let (_, extensions, _) = element(content)?;
            collect(extensions, &mut names)?;
        }
        body = rest;
    }
    Some(names)
}

fn collect<'a>(mut extensions: &'a [u8], names: &mut Vec<&'a [u8]>) -> Option<()> {
    while !extensions.is_empty() {
        let (_, extension, rest) = element(extensions)?;
        extensions = rest;
        let (tag, kind, mut value) = element(extension)?;
        if tag != OBJECT_IDENTIFIER || kind != SUBJECT_ALT_NAME {
            continue;
        }
        let (mut tag, mut content, _) = element(value)?;
        if tag != OCTET_STRING {
            value = element(value)?.2; // whether it is critical
            (tag, content, _) = element(value)?;
        }
        if tag != OCTET_STRING {
            return None;
        }
        let (_, mut general_names, _) = element(content)?;
        while !general_names.is_empty() {
            let (tag, name, rest) = element(general_names)?;
            if tag & !CONSTRUCTED == URI {
                names.push(name);
            }
            general_names = rest;
        }
    }
    Some(())
}
