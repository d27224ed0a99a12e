//! Which header lists are requests, responses and trailers (RFC 9113, section 8). What is none ends its stream.

use crate::http2::headers::{Headers, connection_specific};

/// What is wrong, for the peer's log and ours.
pub type Malformed = &'static str;

/// Checks a request; returns its content-length.
pub fn request(headers: &Headers) -> Result<Option<u64>, Malformed> {
    let (mut method, mut scheme, mut path, mut authority) = (None, None, None, None);
    let mut checks = Fields::default();
    for (name, value) in headers.all() {
        let pseudo = match name {
            ":method" => &mut method,
            ":scheme" => &mut scheme,
            ":path" => &mut path,
            ":authority" => &mut authority,
            _ => {
                checks.field(name, value)?;
                continue;
            }
        };
        if checks.regular || pseudo.replace(value).is_some() {
            return Err("a pseudo-header field out of place");
        }
    }
    match (method, scheme, path) {
        (Some(b"CONNECT"), None, None) if authority.is_some() => {}
        (Some(b"CONNECT"), ..) => return Err("CONNECT has an authority only"),
        (Some(_), Some(_), Some(path)) if !path.is_empty() => {}
        _ => return Err("a request needs one :method, :scheme and :path"),
    }
    Ok(checks.content_length)
}

/// Checks a response; returns its status and content-length.
pub fn response(headers: &Headers) -> Result<(u16, Option<u64>), Malformed> {
    let mut status = None;
    let mut checks = Fields::default();
    for (name, value) in headers.all() {
        if name != ":status" {
            checks.field(name, value)?;
        } else if checks.regular || status.replace(value).is_some() {
            return Err("a pseudo-header field out of place");
        }
    }
    match status {
        Some(&[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            let digit = |byte: u8| u16::from(byte - b'0');
            Ok((digit(a) * 100 + digit(b) * 10 + digit(c), checks.content_length))
        }
        _ => Err("a response needs one :status of three digits"),
    }
}

pub fn trailers(headers: &Headers) -> Result<(), Malformed> {
    let mut checks = Fields::default();
    headers.all().try_for_each(|(name, value)| checks.field(name, value))
}

#[derive(Default)]
struct Fields {
    /// A field that is no pseudo-header field was seen.
    regular: bool,
    content_length: Option<u64>,
}

impl Fields {
    fn field(&mut self, name: &str, value: &[u8]) -> Result<(), Malformed> {
        self.regular = true;
        if name.starts_with(':') {
            return Err("a pseudo-header field that has no place here");
        }
        if connection_specific(name) {
            return Err("a field of HTTP/1.1 connections");
        }
        if name == "te" && value != b"trailers" {
            return Err("te other than trailers");
        }
        if name == "content-length" {
            let length = decimal(value).ok_or("a content-length that is no number")?;
            if self.content_length.replace(length).is_some_and(|before| before != length) {
                return Err("two content-lengths");
            }
        }
        Ok(())
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 3] = [(":method", "POST"), (":scheme", "http"), (":path", "/a")];

    fn list(fields: &[(&str, &str)]) -> Headers {
        fields.iter().copied().collect()
    }

    #[test]
    fn requests() {
        assert_eq!(request(&list(&GOOD)), Ok(None));
        assert_eq!(
            request(&list(&[&GOOD[..], &[("te", "trailers"), ("content-length", "12")]].concat())),
            Ok(Some(12))
        );
        assert!(request(&list(&[(":method", "CONNECT"), (":authority", "a:1")])).is_ok());
        for missing in GOOD {
            let fields: Vec<_> = GOOD.into_iter().filter(|field| *field != missing).collect();
            assert!(request(&list(&fields)).is_err(), "without {missing:?}");
        }
        for bad in [
            (":path", "/b"),
            (":status", "200"),
            (":unknown", "x"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("content-length", "-1"),
            ("content-length", "1x"),
        ] {
            assert!(request(&list(&[&GOOD[..], &[bad]].concat())).is_err(), "{bad:?}");
        }
        assert!(request(&list(&[&GOOD[..2], &[("x", "y"), (":path", "/a")]].concat())).is_err());
        assert!(request(&list(&[&GOOD[..2], &[(":path", "")]].concat())).is_err());
        let lengths = [("content-length", "1"), ("content-length", "2")];
        assert!(request(&list(&[&GOOD[..], &lengths].concat())).is_err());
    }

    #[test]
    fn responses_and_trailers() {
        assert_eq!(response(&list(&[(":status", "200"), ("content-length", "3")])), Ok((200, Some(3))));
        for bad in ["", "20", "2000", "abc", "099"] {
            assert!(response(&list(&[(":status", bad)])).is_err(), "{bad:?}");
        }
        assert!(response(&list(&[("x", "y")])).is_err());
        assert!(response(&list(&[(":status", "200"), (":path", "/")])).is_err());
        assert!(trailers(&list(&[("grpc-status", "0")])).is_ok());
        assert!(trailers(&list(&[(":status", "200")])).is_err());
    }
}
