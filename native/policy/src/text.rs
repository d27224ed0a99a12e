//! Conditions on texts (envoy.type.matcher.v3.StringMatcher). Texts are bytes: a header may hold any.

use proxyless_patterns::Pattern;

use crate::Undecided;

#[derive(Debug)]
pub struct Text {
    kind: Kind,
    /// Of ASCII letters; patterns say it for themselves.
    ignore_case: bool,
}

#[derive(Debug)]
enum Kind {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
    /// A pattern of nothing but literals with `.*` between them, which is what the mesh mostly says.
    Pieces(Vec<Vec<u8>>),
    Pattern(Box<Pattern>),
}

impl Text {
    /// `kind` is `exact`, `prefix`, `suffix`, `contains` or `regex`.
    pub fn new(kind: &str, value: &str, ignore_case: bool) -> Result<Self, String> {
        let text = if ignore_case { value.to_ascii_lowercase() } else { value.to_owned() }.into_bytes();
        let kind = match kind {
            "exact" => Kind::Exact(text),
            "prefix" => Kind::Prefix(text),
            "suffix" => Kind::Suffix(text),
            "contains" => Kind::Contains(text),
            "regex" => {
                let kind = match pieces(value) {
                    Some(kind) => kind,
                    None => Kind::Pattern(Box::new(Pattern::new(value)?)),
                };
                return Ok(Self { kind, ignore_case: false });
            }
            other => return Err(format!("{other:?} is no kind of condition on a text")),
        };
        Ok(Self { kind, ignore_case })
    }

    /// Of a pattern that was made of something else.
    pub fn of(pattern: Pattern) -> Self {
        Self { kind: Kind::Pattern(Box::new(pattern)), ignore_case: false }
    }

    /// The only text that fits.
    pub fn exactly(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Exact(text) if !self.ignore_case => Some(text),
            _ => None,
        }
    }

    /// `affords` is asked before a pattern looks.
    pub fn fits(&self, text: &[u8], affords: &dyn Fn(usize) -> bool) -> Result<bool, Undecided> {
        let goes_through = self.ignore_case || matches!(self.kind, Kind::Contains(_) | Kind::Pieces(_));
        if goes_through && !affords(text.len()) {
            return Err(Undecided);
        }
        if self.ignore_case {
            return self.looks(&text.to_ascii_lowercase(), affords);
        }
        self.looks(text, affords)
    }

    fn looks(&self, text: &[u8], affords: &dyn Fn(usize) -> bool) -> Result<bool, Undecided> {
        Ok(match &self.kind {
            Kind::Exact(wanted) => text == wanted,
            Kind::Prefix(wanted) => text.starts_with(wanted),
            Kind::Suffix(wanted) => text.ends_with(wanted),
            Kind::Contains(wanted) => find(text, wanted).is_some(),
            Kind::Pieces(pieces) => hold(text, pieces),
            Kind::Pattern(pattern) => {
                let Ok(text) = std::str::from_utf8(text) else { return Ok(false) };
                if !affords((text.len() + 1).saturating_mul(pattern.size())) {
                    return Err(Undecided);
                }
                pattern.matches(text).map_err(|_| Undecided)?
            }
        })
    }
}

/// None: there is more in the pattern than literals and `.*`.
fn pieces(pattern: &str) -> Option<Kind> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut rest = pattern.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'.', b'*', after @ ..] => {
                if matches!(after, [b'?' | b'*' | b'+' | b'{', ..]) {
                    return None;
                }
                pieces.push(std::mem::take(&mut piece));
                rest = after;
            }
            [b'\\', byte, after @ ..] if byte.is_ascii_punctuation() => {
                literal(*byte, after, &mut piece)?;
                rest = after;
            }
            [byte, after @ ..] if byte.is_ascii_alphanumeric() || b"/:-_ @,;=&%#~!<>\"'".contains(byte) => {
                literal(*byte, after, &mut piece)?;
                rest = after;
            }
            _ => return None,
        }
    }
    pieces.push(piece);
    Some(Kind::Pieces(pieces))
}

/// None: it is repeated.
fn literal(byte: u8, after: &[u8], piece: &mut Vec<u8>) -> Option<()> {
    piece.push(byte);
    (!matches!(after, [b'?' | b'*' | b'+' | b'{', ..])).then_some(())
}

/// `.` is every character but the end of a line, and no piece holds one.
fn hold(text: &[u8], pieces: &[Vec<u8>]) -> bool {
    if text.contains(&b'\n') || !(text.is_ascii() || std::str::from_utf8(text).is_ok()) {
        return false;
    }
    let [first, between @ .., last] = pieces else { return pieces.iter().all(|piece| text == piece) };
    let Some(mut rest) = text.strip_prefix(first.as_slice()) else { return false };
    for piece in between {
        let Some(at) = find(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let Some(first) = wanted.first() else { return Some(0) };
    let last = text.len().checked_sub(wanted.len())?;
    let mut from = 0;
    while from <= last {
        from += text[from..=last].iter().position(|byte| byte == first)?;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(kind: &str, value: &str, text: &str) -> bool {
        Text::new(kind, value, false).unwrap().fits(text.as_bytes(), &|_| true).unwrap()
    }

    #[test]
    fn a_text_has_to_fit_as_the_kind_says() {
        assert!(fits("exact", "a", "a") && !fits("exact", "a", "ab"));
        assert!(fits("prefix", "a", "ab") && !fits("prefix", "a", "ba"));
        assert!(fits("suffix", "b", "ab") && !fits("suffix", "b", "ba"));
        assert!(fits("contains", "bc", "abbcd") && !fits("contains", "bc", "abbdc"));
        assert!(fits("regex", "a|ab", "ab") && !fits("regex", "a", "ab"));
        assert!(Text::new("regex", "(", false).is_err());
        assert!(Text::new("odd", "", false).is_err());
        let lax = Text::new("suffix", "A.b", true).unwrap();
        assert_eq!(lax.fits(b"x.a.B", &|_| true), Ok(true));
    }

    #[test]
    fn literals_with_anything_between_are_what_the_pattern_is() {
        let patterns = [
            ".*/ns/a/.*",
            "spiffe://.*/sa/b",
            "a.*",
            ".*",
            "",
            ".*.*",
            r"a\.b",
            r"x.*\*",
            ".*aa.*a",
            "a.*a",
            r".*\.",
            "ab.*ba",
            "a?",
            "a.*b+",
            ".*?",
            "a{2}",
            "[a]",
            "(a)",
            "a|b",
            r"\d",
            r"a\",
            "a.b",
        ];
        let texts = [
            "",
            "a",
            "aa",
            "aaa",
            "ab",
            "aba",
            "abba",
            "a.b",
            "axb",
            "a\nb",
            "spiffe://td/ns/a/sa/b",
            "x.*",
            "x*",
            "/ns/a/",
            "\u{e9}/ns/a/\u{e9}",
            "a/ns/a",
            ".",
            "\n",
            "b",
            "1",
        ];
        let mut told = 0;
        for pattern in patterns {
            let Some(Kind::Pieces(pieces)) = super::pieces(pattern) else { continue };
            let oracle = Pattern::new(pattern).unwrap();
            for text in texts {
                told += 1;
                assert_eq!(hold(text.as_bytes(), &pieces), oracle.matches(text).unwrap(), "{pattern} {text:?}");
            }
        }
        assert_eq!(told, 12 * texts.len());
        assert!(
            !fits("regex", ".*a", "\u{e9}")
                && !Text::new("regex", ".*a", false).unwrap().looks(b"\xffa", &|_| true).unwrap()
        );
    }

    #[test]
    fn what_would_cost_too_much_is_not_known() {
        let text = Text::new("regex", "(a|b)*", false).unwrap();
        assert_eq!(text.fits(b"ab", &|_| false), Err(Undecided));
        assert_eq!(text.fits(&[b'a'; 100_000], &|_| true), Err(Undecided));
        assert_eq!(text.fits(b"\xff", &|_| false), Ok(false));
    }
}
