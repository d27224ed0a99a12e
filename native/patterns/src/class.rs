//! Sets of characters: brackets, `\d`, `[:alpha:]`, `\pL`, and the escapes for one character. Sets are ASCII unless
//! they name something of Unicode's.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use crate::parser::Parser;
use crate::unicode;

pub fn one(first: char, last: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(first, last)])
}

/// What may be in the name of a group: about what RE2 takes. A name has no effect here.
pub fn may_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn ascii(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(first, last)| ClassUnicodeRange::new(first, last)))
}

/// `[...]`
pub fn bracket(parser: &mut Parser<'_>) -> Result<ClassUnicode, String> {
    let whole = parser.rest;
    parser.take(1);
    let negated = parser.rest.starts_with('^');
    if negated {
        parser.take(1);
    }
    let mut set = ClassUnicode::empty();
    let mut first = true;
    loop {
        match parser.rest.chars().next() {
            None => return Err(format!("missing ]: {whole}")),
            Some(']') if !first => break,
            Some(_) => {}
        }
        first = false;
        let part = match posix(parser)? {
            Some(part) => part,
            None => match escaped_set(parser)? {
                Some(part) => part,
                None => folded(range(parser, whole)?, parser.flags.fold),
            },
        };
        set.union(&part);
    }
    parser.take(1);
    if negated {
        set.negate();
    }
    Ok(set)
}

fn folded(mut set: ClassUnicode, fold: bool) -> ClassUnicode {
    if fold {
        set.case_fold_simple();
    }
    set
}

fn negated_if(mut set: ClassUnicode, negated: bool) -> ClassUnicode {
    if negated {
        set.negate();
    }
    set
}

fn range(parser: &mut Parser<'_>, whole: &str) -> Result<ClassUnicode, String> {
    let from = parser.rest;
    let first = member(parser, whole)?;
    let mut last = first;
    if parser.rest.starts_with('-') && parser.rest.len() > 1 && !parser.rest.starts_with("-]") {
        parser.take(1);
        last = member(parser, whole)?;
    }
    if last < first {
        return Err(format!("invalid character class range: {}", &from[..from.len() - parser.rest.len()]));
    }
    Ok(one(first, last))
}

fn member(parser: &mut Parser<'_>, whole: &str) -> Result<char, String> {
    if parser.rest.starts_with('\\') {
        return escaped_char(parser);
    }
    parser.take_char().ok_or_else(|| format!("missing ]: {whole}"))
}

/// `[:alpha:]`; without an end it is no more than a bracket in a bracket.
fn posix(parser: &mut Parser<'_>) -> Result<Option<ClassUnicode>, String> {
    let Some(inner) = parser.rest.strip_prefix("[:") else { return Ok(None) };
    let Some(end) = inner.find(":]") else { return Ok(None) };
    let (name, negated) = match inner[..end].strip_prefix('^') {
        Some(name) => (name, true),
        None => (&inner[..end], false),
    };
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err(format!("invalid character class range: [:{}:]", &inner[..end])),
    };
    parser.rest = &inner[end + 2..];
    Ok(Some(negated_if(folded(ascii(ranges), parser.flags.fold), negated)))
}

const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// `\d`, `\pL` and their kind, if that is what comes next.
pub fn escaped_set(parser: &mut Parser<'_>) -> Result<Option<ClassUnicode>, String> {
    let Some(letter) = parser.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(None) };
    let ranges = match letter.to_ascii_lowercase() {
        'd' => &[('0', '9')][..],
        's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')], // without the vertical tab
        'w' => WORD,
        'p' => return property(parser).map(Some),
        _ => return Ok(None),
    };
    parser.take(2);
    let set = folded(ascii(ranges), parser.flags.fold);
    Ok(Some(negated_if(set, letter.is_ascii_uppercase())))
}

fn property(parser: &mut Parser<'_>) -> Result<ClassUnicode, String> {
    let whole = parser.rest;
    let mut negated = parser.take(2) == r"\P";
    let invalid = |length| format!("invalid character class range: {}", &whole[..length]);
    let name = match parser.take_char() {
        None => return Err(invalid(2)),
        Some('{') => {
            let end = parser.rest.find('}').ok_or_else(|| invalid(whole.len()))?;
            let name = &parser.rest[..end];
            parser.rest = &parser.rest[end + 1..];
            name
        }
        Some(letter) => &whole[2..2 + letter.len_utf8()],
    };
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => name,
    };
    let set = unicode::named(name).ok_or_else(|| invalid(whole.len() - parser.rest.len()))?;
    Ok(negated_if(folded(set, parser.flags.fold), negated))
}

/// `\.`, `\n`, `\x41`, `\x{1F600}`, `\012`: one character.
pub fn escaped_char(parser: &mut Parser<'_>) -> Result<char, String> {
    let whole = parser.rest;
    parser.take(1);
    let Some(letter) = parser.take_char() else { return Err(String::from(r"trailing \")) };
    let code = match letter {
        'a' => Some(0x07),
        'f' => Some(0x0c),
        'n' => Some(0x0a),
        'r' => Some(0x0d),
        't' => Some(0x09),
        'v' => Some(0x0b),
        'x' => hexadecimal(parser),
        '0' => Some(octal(parser, 0)),
        // One digit alone would be a reference to a group, which no linear engine has.
        '1'..='7' if parser.rest.starts_with(|c| ('0'..='7').contains(&c)) => Some(octal(parser, letter as u32 - 48)),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(letter as u32),
        _ => None,
    };
    let written = &whole[..whole.len() - parser.rest.len()];
    match code.map(|code| (code, char::from_u32(code))) {
        Some((_, Some(c))) => Ok(c),
        Some((0xd800..=0xdfff, None)) => Err(format!("{written} is a surrogate, which no text contains")),
        _ => Err(format!("invalid escape sequence: {written}")),
    }
}

fn hexadecimal(parser: &mut Parser<'_>) -> Option<u32> {
    let rest = parser.rest;
    let (digits, after) = match rest.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => (rest.get(..2)?, &rest[2..]),
    };
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    parser.rest = if good { after } else { rest };
    let significant = digits.trim_start_matches('0');
    match (good, significant) {
        (false, _) => None,
        (true, "") => Some(0),
        (true, _) => u32::from_str_radix(significant, 16).ok(),
    }
}

fn octal(parser: &mut Parser<'_>, first: u32) -> u32 {
    let mut code = first;
    for _ in 0..2 {
        match parser.rest.as_bytes().first() {
            Some(&digit @ b'0'..=b'7') => code = code * 8 + u32::from(digit - b'0'),
            _ => break,
        }
        parser.take(1);
    }
    code
}
