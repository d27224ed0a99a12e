//! HPACK's static table (RFC 7541, Appendix A). Index 1 is its first entry.

pub const LENGTH: usize = 61;

#[rustfmt::skip]
pub static TABLE: [(&str, &str); LENGTH] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// `(index, exact)` of a field: exact where the value is the table's too. Written as a match, which compiles to
/// comparisons by length first; hashing sixty strings costs more.
pub fn find(name: &str, value: &[u8]) -> Option<(usize, bool)> {
    let exact = match (name, value) {
        (":method", b"GET") => 2,
        (":method", b"POST") => 3,
        (":path", b"/") => 4,
        (":path", b"/index.html") => 5,
        (":scheme", b"http") => 6,
        (":scheme", b"https") => 7,
        (":status", b"200") => 8,
        (":status", b"204") => 9,
        (":status", b"206") => 10,
        (":status", b"304") => 11,
        (":status", b"400") => 12,
        (":status", b"404") => 13,
        (":status", b"500") => 14,
        ("accept-encoding", b"gzip, deflate") => 16,
        _ => 0,
    };
    if exact != 0 {
        return Some((exact, true));
    }
    let by_name = TABLE.iter().position(|(known, _)| known.len() == name.len() && *known == name)?;
    Some((by_name + 1, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_where_it_is() {
        for (at, (name, value)) in TABLE.iter().enumerate() {
            let (index, exact) = find(name, value.as_bytes()).unwrap();
            assert_eq!(exact, !value.is_empty(), "{name}");
            assert_eq!(TABLE[index - 1].0, *name);
            if exact {
                assert_eq!(index, at + 1);
            }
        }
        assert_eq!(find("x-unknown", b""), None);
    }
}
