//! Patterns that come from outside (routes, names of peers), as Envoy reads them: RE2's syntax, and the whole text has
//! to match. RE2's text is parsed here into the syntax tree of the `regex` crate, never handed to that crate as text:
//! the two read too many texts differently (`&&` in brackets, `\d`, `(?x)`, `{,2}`). Matching is linear in the text.
//!
//! Everything is bounded: the pattern, what it compiles to, and the text.

mod class;
mod parser;
mod text;
mod unicode;

use regex_automata::meta;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, Look};

/// A pattern's length, in bytes.
pub const MAX_PATTERN: usize = 32 << 10;
/// What a pattern may compile to, in bytes: about as much as the 32,768 instructions that Istio's bootstrap allows
/// Envoy (`re2.max_program_size.error_level`).
pub const MAX_PROGRAM: usize = 1 << 20;
/// A text's length, in bytes: as long as a whole list of headers may be.
pub const MAX_TEXT: usize = 64 << 10;
/// The text's bytes times the program's: matching is linear in each, so this bounds what a match may cost (0.05 s for
/// the worst pattern known to us). `rpc/routing/pattern.py` bounds all matches of one request together by the same.
pub const MOST_WORK: usize = 1 << 27;

/// What the lazy automaton of one thread may take; beyond that it starts anew, and gives way to a slower one.
const MAX_LAZY: usize = 256 << 10;

#[derive(Debug)]
pub struct Pattern {
    regex: meta::Regex,
    groups: usize,
}

/// The text is longer than this pattern is matched against (so many bytes): whether it matches is not known.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong(pub usize);

impl Pattern {
    /// Says why not, in RE2's words where RE2 refuses it too.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > MAX_PATTERN {
            return Err(format!("pattern too large: {} bytes, and {MAX_PATTERN} are possible", source.len()));
        }
        let parsed = parser::parse(source)?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), parsed.hir, Hir::look(Look::End)]);
        let config = meta::Config::new().nfa_size_limit(Some(MAX_PROGRAM)).hybrid_cache_capacity(MAX_LAZY);
        let built = meta::Builder::new().configure(config).build_from_hir(&whole);
        match built {
            Ok(regex) => Ok(Self { regex, groups: parsed.groups }),
            Err(_) => Err(format!("pattern too large: it compiles to more than {MAX_PROGRAM} bytes")),
        }
    }

    pub fn matches(&self, text: &str) -> Result<bool, TooLong> {
        let longest = MAX_TEXT.min(MOST_WORK / self.size());
        if text.len() > longest {
            return Err(TooLong(longest));
        }
        Ok(self.regex.is_match(Input::new(text).anchored(Anchored::Yes)))
    }

    /// How many groups it captures: what `\1` to `\9` of a substitution can mean.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// What it keeps in memory, without what matching needs meanwhile.
    pub fn size(&self) -> usize {
        self.regex.memory_usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text).unwrap()
    }

    #[test]
    fn the_whole_text_has_to_match_whatever_the_alternatives() {
        assert!(fits("a|ab", "ab"));
        assert!(!fits("a|b", "ab"));
        assert!(!fits("(?m)a$", "a\n"));
        assert!(!fits(".*", "a\nb"));
        assert!(fits("(?s).*", "a\nb"));
    }

    #[test]
    fn brackets_hold_what_re2_reads_in_them() {
        assert!(fits("[a&&b]+", "&ab"));
        assert!(fits("[a[b]+", "[ab"));
        assert!(fits("[]-]+", "]-"));
        assert!(fits("[[:word:]]+", "a_1"));
        assert!(!fits("[[:word:]]", "é"));
    }

    #[test]
    fn classes_are_ascii_and_folding_is_not() {
        assert!(!fits(r"\d", "\u{661}"));
        assert!(!fits(r"\s", "\u{b}"));
        assert!(fits("[[:space:]]", "\u{b}"));
        assert!(fits("(?i)k", "\u{212a}"));
        assert!(fits(r"a\b.\bb", "aéb"));
    }

    #[test]
    fn what_cannot_be_matched_is_refused_by_name() {
        for (pattern, why) in [
            ("(", "missing )"),
            (")", "unexpected )"),
            (r"\C", r"\C is not supported"),
            (r"\x{D800}", "surrogate"),
            ("a**", "bad repetition operator: **"),
            ("(?:a{100}){11}", "invalid repetition size: {11}"),
            (r"\pL{1000}", "pattern too large"),
            (r"(\1)", r"invalid escape sequence: \1"),
            ("(?=a)", "invalid perl operator: (?="),
            ("[b-a]", "invalid character class range: b-a"),
        ] {
            let said = Pattern::new(pattern).unwrap_err();
            assert!(said.contains(why), "{pattern}: {said}");
        }
        assert!(Pattern::new(&"(".repeat(1000)).unwrap_err().contains("nested too deeply"));
        assert!(Pattern::new(&"a".repeat(MAX_PATTERN + 1)).unwrap_err().contains("pattern too large"));
        assert!(Pattern::new(&r"\pL".repeat(10_000)).unwrap_err().contains("pattern too large"));
    }

    #[test]
    fn a_text_beyond_the_limit_is_neither_matched_nor_not() {
        assert_eq!(Pattern::new("a*").unwrap().matches(&"a".repeat(MAX_TEXT + 1)), Err(TooLong(MAX_TEXT)));
        assert_eq!(Pattern::new("(a+)+").unwrap().matches(&format!("{}b", "a".repeat(MAX_TEXT - 1))), Ok(false));
        // What both are large costs too much together.
        let large = Pattern::new("(?:.*a.*){150}").unwrap();
        assert!(large.matches(&"a".repeat(MAX_TEXT)).is_err());
        assert_eq!(large.matches(&"a".repeat(200)), Ok(true));
    }
}
