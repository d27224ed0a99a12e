//! What a connection manager makes of `:path` and `:authority` before any filter looks (envoy:
//! ConnectionManagerUtility::maybeNormalizePath, maybeNormalizeHost; a path is made canonical as Chromium does it).

use std::borrow::Cow;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    #[default]
    Keep,
    Reject,
    Redirect,
    Forward,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Treatment {
    pub normalize: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
    pub strip_any_port: bool,
    pub strip_matching_port: bool,
    pub strip_trailing_dot: bool,
}

/// The request is answered by the connection manager itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// 400
    BadRequest,
    /// 307, to the path as it should have been.
    Redirect,
}

impl Treatment {
    /// `:path` as filters see it.
    pub fn path<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, [u8]>, Answered> {
        if path.first() != Some(&b'/') || path.contains(&b'#') {
            return Err(Answered::BadRequest);
        }
        let query = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
        let (mut own, query) = (Cow::Borrowed(&path[..query]), &path[query..]);
        let mut redirected = false;
        if self.escaped_slashes != EscapedSlashes::Keep {
            if let Some(opened) = without_escaped_slashes(&own) {
                match self.escaped_slashes {
                    EscapedSlashes::Reject => return Err(Answered::BadRequest),
                    EscapedSlashes::Redirect => redirected = true,
                    EscapedSlashes::Forward | EscapedSlashes::Keep => {}
                }
                own = Cow::Owned(opened);
            }
        }
        if self.normalize && !is_canonical(&own) {
            own = Cow::Owned(canonical(&with_plain_dots(&own)).ok_or(Answered::BadRequest)?);
        }
        if self.merge_slashes && own.windows(2).any(|two| two == b"//") {
            own = Cow::Owned(merged(&own));
        }
        if redirected {
            return Err(Answered::Redirect);
        }
        Ok(match own {
            Cow::Borrowed(_) => Cow::Borrowed(path),
            Cow::Owned(mut own) => {
                own.extend_from_slice(query);
                Cow::Owned(own)
            }
        })
    }

    /// `:authority` as filters see it; the port is the one that it came to.
    pub fn authority<'a>(&self, authority: &'a [u8], port: Option<u16>) -> Cow<'a, [u8]> {
        let mut own = Cow::Borrowed(authority);
        if self.strip_trailing_dot {
            own = without_trailing_dot(authority);
        }
        if self.strip_any_port || self.strip_matching_port {
            if let Some((host, found)) = split_port(&own) {
                if self.strip_any_port || Some(found) == port.map(u32::from) {
                    own = Cow::Owned(host.to_vec());
                }
            }
        }
        own
    }

    pub fn leaves_authority(&self) -> bool {
        !(self.strip_any_port || self.strip_matching_port || self.strip_trailing_dot)
    }
}

/// None: there are none.
fn without_escaped_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let mut opened = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        (rest, _) = match rest {
            [b'%', b'2', b'F' | b'f', after @ ..] => (after, opened.push(b'/')),
            [b'%', b'5', b'C' | b'c', after @ ..] => (after, opened.push(b'\\')),
            _ => (after, opened.push(*byte)),
        };
    }
    (opened.len() != path.len()).then_some(opened)
}

/// Dots that stand alone between slashes, without the parameters that may follow them: `/a/..;b/c` is `/a/../c`. Envoy
/// looks before it opens anything: an escaped dot keeps what follows.
fn with_plain_dots(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|two| two == b".;") {
        return Cow::Borrowed(path);
    }
    let segments = path.split(|byte| *byte == b'/').map(|segment| match segment {
        [b'.', b';', ..] => &segment[..1],
        [b'.', b'.', b';', ..] => &segment[..2],
        _ => segment,
    });
    Cow::Owned(segments.collect::<Vec<_>>().join(&b'/'))
}

/// Nothing that `canonical` could change: what nearly all paths are.
fn is_canonical(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && path.iter().all(|byte| passes(*byte)) && !path.windows(2).any(|two| two == b"/.")
}

/// What stands in a path as it is.
fn passes(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@[]".contains(&byte)
}

/// What need not be escaped, and is not then.
fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_~".contains(&byte)
}

/// Without `.` and `..`, backslashes as slashes, escapes only where they are needed. None: that cannot be.
fn canonical(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len() + 1);
    if !path.first().copied().is_some_and(slash) {
        out.push(b'/');
    }
    let mut at = 0;
    while at < path.len() {
        let dot = dot_length(&path[at..]);
        if dot > 0 {
            let consumed = if out.last() == Some(&b'/') { directory(&path[at + dot..]) } else { Directory::None };
            at += dot;
            match consumed {
                Directory::None => out.push(b'.'),
                Directory::Same(length) => at += length,
                Directory::Up(length) => {
                    at += length;
                    go_up(&mut out);
                }
            }
            continue;
        }
        let byte = path[at];
        at += 1;
        match byte {
            b'\\' => out.push(b'/'),
            b'%' => match path.get(at..at + 2).and_then(hex) {
                Some(0) => return None,
                Some(value) if unreserved(value) => {
                    out.push(value);
                    at += 2;
                }
                Some(_) => {
                    out.extend_from_slice(&path[at - 1..at + 2]);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            0 => return None,
            0x80.. => {
                let length = character(&path[at - 1..])?;
                path[at - 1..at - 1 + length].iter().for_each(|byte| escape(*byte, &mut out));
                at += length - 1;
            }
            _ if passes(byte) => out.push(byte),
            _ => escape(byte, &mut out),
        }
    }
    Some(out)
}

enum Directory {
    /// It is the beginning of a name.
    None,
    /// `.`, and so much more belongs to it.
    Same(usize),
    /// `..`, and so much more belongs to it.
    Up(usize),
}

/// What a dot behind a slash means, by what stands behind it.
fn directory(after: &[u8]) -> Directory {
    match after.first() {
        None => return Directory::Same(0),
        Some(byte) if slash(*byte) => return Directory::Same(1),
        _ => {}
    }
    match dot_length(after) {
        0 => Directory::None,
        dot => match after.get(dot) {
            None => Directory::Up(dot),
            Some(byte) if slash(*byte) => Directory::Up(dot + 1),
            Some(_) => Directory::None,
        },
    }
}

fn slash(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

/// How long the dot is that stands at the beginning, which may be escaped; 0: there is none.
fn dot_length(text: &[u8]) -> usize {
    match text {
        [b'.', ..] => 1,
        [b'%', b'2', b'e' | b'E', ..] => 3,
        _ => 0,
    }
}

/// From behind a slash to behind the one before.
fn go_up(out: &mut Vec<u8>) {
    let above = out[..out.len() - 1].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    out.truncate(above + 1);
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("%{byte:02X}").as_bytes());
}

/// How many bytes the character has that stands at the beginning; None: it is none.
fn character(text: &[u8]) -> Option<usize> {
    (2..=4).find(|length| text.get(..*length).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()))
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// What may stand in `:authority`, as Envoy's codec has it: no name of a user's, no path.
pub fn is_authority(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

fn without_trailing_dot(authority: &[u8]) -> Cow<'_, [u8]> {
    match authority.iter().rposition(|byte| *byte == b'.') {
        Some(at) if at + 1 == authority.len() => Cow::Borrowed(&authority[..at]),
        Some(at) if authority[at + 1] == b':' => Cow::Owned([&authority[..at], &authority[at + 1..]].concat()),
        _ => Cow::Borrowed(authority),
    }
}

fn split_port(authority: &[u8]) -> Option<(&[u8], u32)> {
    let colon = authority.iter().rposition(|byte| *byte == b':')?;
    if authority.iter().rposition(|byte| *byte == b']').is_some_and(|bracket| bracket > colon) {
        return None;
    }
    let port = std::str::from_utf8(&authority[colon + 1..]).ok()?.parse().ok()?;
    Some((&authority[..colon], port))
}

/// A path without query and fragment.
pub fn alone(path: &[u8]) -> &[u8] {
    &path[..path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treated(treatment: Treatment, path: &str) -> Result<String, Answered> {
        treatment.path(path.as_bytes()).map(|path| String::from_utf8(path.into_owned()).unwrap())
    }

    #[test]
    fn a_canonical_path_has_no_dots_and_no_needless_escapes() {
        let base = Treatment { normalize: true, ..Treatment::default() };
        for (path, wanted) in [
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/..b", "/a/..b"),
            ("/a/b.c/d", "/a/b.c/d"),
            ("/a/...", "/a/..."),
            ("/a\\b", "/a/b"),
            ("/a\\..\\b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2fb"),
            ("/a%5cb", "/a%5cb"),
            ("/a%", "/a%"),
            ("/a%zz", "/a%zz"),
            ("/a%2", "/a%2"),
            ("/a b", "/a%20b"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("/a/%2e", "/a/"),
            ("/a%2e", "/a."),
            ("/\u{e9}", "/%C3%A9"),
            ("/%C3%A9", "/%C3%A9"),
            ("/a/..;/b", "/b"),
            ("/a/..;x=1/b", "/b"),
            ("/a/.;/b", "/a/b"),
            ("/a/b/..;/..;/c", "/c"),
            ("/a/..;", "/"),
            ("/.;", "/"),
            ("/a/..;b;c/d", "/d"),
            ("/a/..;\\d", "/"),
            ("/a/..;%2fd", "/"),
            ("/a//..;/d", "/a/d"),
            ("/a/.;./d", "/a/d"),
            ("/a/..?b=/..;/c", "/?b=/..;/c"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/a\\..;/b", "/a/..;/b"),
            ("/a/...;/b", "/a/...;/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/a/;/b", "/a/;/b"),
            ("/a?b=/../c", "/a?b=/../c"),
            ("/a/../b?c=%61", "/b?c=%61"),
            ("/a%24", "/a%24"),
            ("/a%7E", "/a~"),
        ] {
            assert_eq!(treated(base, path), Ok(wanted.to_owned()), "{path}");
        }
        for bad in ["/a%00", "/a\0", "/a#b", "/a?b#c", "a", "", "*", "\\a", "%2fa", "http://a/b"] {
            assert_eq!(treated(base, bad), Err(Answered::BadRequest), "{bad:?}");
        }
        assert_eq!(base.path(b"/\xff"), Err(Answered::BadRequest));
        assert_eq!(treated(Treatment::default(), "/a/../%61"), Ok(String::from("/a/../%61")));
    }

    #[test]
    fn slashes_are_merged_last_and_opened_first() {
        let all = Treatment {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::Forward,
            ..Treatment::default()
        };
        for (path, wanted) in [
            ("/a//b", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a%2f..%2Fb", "/b"),
            ("/a%5c..%5Cb", "/b"),
            ("/a%252fb", "/a%252fb"),
            ("/a%2f..;%2fb", "/b"),
            ("/a/..;b%2fc", "/c"),
            ("/a?b=c//d%2f", "/a?b=c//d%2f"),
            ("/a//b?c//d", "/a/b?c//d"),
        ] {
            assert_eq!(treated(all, path), Ok(wanted.to_owned()), "{path}");
        }
        let reject = Treatment { escaped_slashes: EscapedSlashes::Reject, ..all };
        assert_eq!(treated(reject, "/a%2fb"), Err(Answered::BadRequest));
        assert_eq!(treated(reject, "/a/b?c=%2f"), Ok(String::from("/a/b?c=%2f")));
        let redirect = Treatment { escaped_slashes: EscapedSlashes::Redirect, ..all };
        assert_eq!(treated(redirect, "/a%2fb"), Err(Answered::Redirect));
        assert_eq!(treated(redirect, "/a/b"), Ok(String::from("/a/b")));
    }

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for good in ["a.example", "a_b:80", "[::1]:80", "A,b;c", "a%20b"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", "a@b", "a/b", "a b", "a\\b", "a?b", "a#b", "\u{e9}", "a\0", "a\"b"] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_host_is_without_what_is_to_be_stripped() {
        let treat = |any, matching, dot, host: &str| {
            let treatment = Treatment {
                strip_any_port: any,
                strip_matching_port: matching,
                strip_trailing_dot: dot,
                ..Treatment::default()
            };
            String::from_utf8(treatment.authority(host.as_bytes(), Some(80)).into_owned()).unwrap()
        };
        assert_eq!(treat(false, false, false, "a.:80"), "a.:80");
        assert_eq!(treat(true, false, false, "a:81"), "a");
        assert_eq!(treat(false, true, false, "a:81"), "a:81");
        assert_eq!(treat(false, true, false, "a:80"), "a");
        assert_eq!(treat(true, false, false, "[::1]"), "[::1]");
        assert_eq!(treat(true, false, false, "[::1]:9"), "[::1]");
        assert_eq!(treat(true, false, false, "a:x"), "a:x");
        assert_eq!(treat(false, false, true, "a.b."), "a.b");
        assert_eq!(treat(true, false, true, "a.:80"), "a");
    }
}
