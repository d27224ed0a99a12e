//! What a connection speaks, by its first bytes: an ordered list of detectors is asked, the first that says yes has it.

/// What a detector says of the bytes that came so far. What it has said of some, it says of all that begin with them,
/// unless it was `More`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// They may be the beginning of it.
    More,
    Yes,
    No,
}

pub type Detector = fn(&[u8]) -> Detected;

/// A protocol of a port, as its connections begin.
#[derive(Clone, Copy)]
pub struct Spoken {
    /// For whoever reads why a connection was refused.
    pub name: &'static str,
    pub detect: Detector,
    /// What Envoy's http_inspector calls it in plaintext, for filter chains; empty where it says nothing.
    pub application: &'static str,
    /// Negotiated inside TLS, these need no look at first bytes.
    pub alpn: &'static [&'static str],
}

/// HTTP/2 with prior knowledge, which is what gRPC speaks.
pub const HTTP2: Spoken =
    Spoken { name: "HTTP/2 with prior knowledge", detect: http2, application: "h2c", alpn: &["h2"] };

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn http2(first: &[u8]) -> Detected {
    begins_with(PREFACE, first)
}

/// A TLS record: handshake, version 3.x (RFC 8446, 5.1). Envoy's tls_inspector looks at the same.
pub fn tls(first: &[u8]) -> Detected {
    begins_with(&[0x16, 0x03], first)
}

/// For protocols that begin with the same bytes always.
pub fn begins_with(beginning: &[u8], first: &[u8]) -> Detected {
    let length = first.len().min(beginning.len());
    match () {
        () if first[..length] != beginning[..length] => Detected::No,
        () if length < beginning.len() => Detected::More,
        () => Detected::Yes,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// One that may still say yes comes before all that have.
    NotYet,
    /// By its place in the list.
    This(usize),
    Nobody,
}

pub fn first_of(spoken: &[Spoken], first: &[u8]) -> Found {
    for (place, protocol) in spoken.iter().enumerate() {
        match (protocol.detect)(first) {
            Detected::No => {}
            Detected::Yes => return Found::This(place),
            Detected::More => return Found::NotYet,
        }
    }
    Found::Nobody
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says of each beginning of `said`, in short.
    fn of_each(detect: Detector, said: &[u8]) -> String {
        let letter = |detected| match detected {
            Detected::More => '.',
            Detected::Yes => 'y',
            Detected::No => 'n',
        };
        (0..=said.len()).map(|length| letter(detect(&said[..length]))).collect()
    }

    #[test]
    fn tls_is_known_by_its_second_byte() {
        assert_eq!(of_each(tls, b"\x16\x03\x01\x02"), "..yyy");
        assert_eq!(of_each(tls, b"\x16\x02\x01"), "..nn");
        assert_eq!(of_each(tls, b"\x15\x03\x01"), ".nnn");
        assert_eq!(of_each(tls, b"PRI"), ".nnn");
    }

    #[test]
    fn http2_is_known_by_its_whole_preface() {
        let said = [PREFACE, b"\0\0\0"].concat();
        assert_eq!(of_each(http2, &said), ".".repeat(PREFACE.len()) + "yyyy");
        assert_eq!(of_each(http2, b"PRI * HTTP/1.1"), "............nnn");
        assert_eq!(of_each(http2, b"GET /"), ".nnnnn");
    }

    fn echo(first: &[u8]) -> Detected {
        begins_with(b"PRICE", first)
    }

    fn anything(_: &[u8]) -> Detected {
        Detected::Yes
    }

    const ECHO: Spoken = Spoken { name: "echo", detect: echo, application: "", alpn: &[] };
    const ANYTHING: Spoken = Spoken { name: "anything", detect: anything, application: "", alpn: &[] };

    #[test]
    fn the_first_that_says_yes_has_it_once_all_before_have_said_no() {
        let all = [HTTP2, ECHO, ANYTHING];
        let found = |said: &[u8]| (0..=said.len()).map(|length| first_of(&all, &said[..length])).collect::<Vec<_>>();
        use Found::{NotYet, This};
        // Both may still be it, then one may, then it is.
        assert_eq!(found(b"PRICE"), [NotYet, NotYet, NotYet, NotYet, NotYet, This(1)]);
        assert_eq!(found(b"PRIX"), [NotYet, NotYet, NotYet, NotYet, This(2)]);
        assert_eq!(first_of(&all, PREFACE), This(0));
    }

    #[test]
    fn what_nobody_knows_is_nobodys() {
        assert_eq!(first_of(&[HTTP2, ECHO], b"GET"), Found::Nobody);
        assert_eq!(first_of(&[], b""), Found::Nobody);
    }
}
