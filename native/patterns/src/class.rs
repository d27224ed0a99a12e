//! Sets of characters: brackets, `\d`, `[:alpha:]`, `\pL`, and the escapes for one character. Sets are ASCII unless
//! they name something of Unicode's.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use crate::text::Text;
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
pub fn bracket(text: &mut Text<'_>) -> Result<ClassUnicode, String> {
    let whole = text.rest;
    text.take(1);
    let negated = text.rest.starts_with('^');
    if negated {
        text.take(1);
    }
    let mut set = ClassUnicode::empty();
    let mut first = true;
    loop {
        match text.rest.chars().next() {
            None => return Err(format!("missing ]: {whole}")),
            Some(']') if !first => break,
            Some(_) => {}
        }
        first = false;
        let part = match posix(text)? {
            Some(part) => part,
            None => match escaped_set(text)? {
                Some(part) => part,
                None => folded(range(text, whole)?, text.flags.fold),
            },
        };
        set.union(&part);
    }
    text.take(1);
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

fn range(text: &mut Text<'_>, whole: &str) -> Result<ClassUnicode, String> {
    let from = text.rest;
    let first = member(text, whole)?;
    let mut last = first;
    if text.rest.starts_with('-') && text.rest.len() > 1 && !text.rest.starts_with("-]") {
        text.take(1);
        last = member(text, whole)?;
    }
    if last < first {
        return Err(format!("invalid character class range: {}", &from[..from.len() - text.rest.len()]));
    }
    Ok(one(first, last))
}

fn member(text: &mut Text<'_>, whole: &str) -> Result<char, String> {
    if text.rest.starts_with('\\') {
        return escaped_char(text);
    }
    text.take_char().ok_or_else(|| format!("missing ]: {whole}"))
}

/// `[:alpha:]`; without an end it is no more than a bracket in a bracket.
fn posix(text: &mut Text<'_>) -> Result<Option<ClassUnicode>, String> {
    let Some(inner) = text.rest.strip_prefix("[:") else { return Ok(None) };
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
    text.rest = &inner[end + 2..];
    Ok(Some(negated_if(folded(ascii(ranges), text.flags.fold), negated)))
}

const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// `\d`, `\pL` and their kind, if that is what comes next.
pub fn escaped_set(text: &mut Text<'_>) -> Result<Option<ClassUnicode>, String> {
    let Some(letter) = text.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(None) };
    let ranges = match letter.to_ascii_lowercase() {
        'd' => &[('0', '9')][..],
        's' => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')], // without the vertical tab
        'w' => WORD,
        'p' => return property(text).map(Some),
        _ => return Ok(None),
    };
    text.take(2);
    let set = folded(ascii(ranges), text.flags.fold);
    Ok(Some(negated_if(set, letter.is_ascii_uppercase())))
}

fn property(text: &mut Text<'_>) -> Result<ClassUnicode, String> {
    let whole = text.rest;
    let mut negated = text.take(2) == r"\P";
    let invalid = |length| format!("invalid character class range: {}", &whole[..length]);
    let name = match text.take_char() {
        None => return Err(invalid(2)),
        Some('{') => {
            let end = text.rest.find('}').ok_or_else(|| invalid(whole.len()))?;
            let name = &text.rest[..end];
            text.rest = &text.rest[end + 1..];
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
    let set = unicode::named(name).ok_or_else(|| invalid(whole.len() - text.rest.len()))?;
    Ok(negated_if(folded(set, text.flags.fold), negated))
}

/// `\.`, `\n`, `\x41`, `\x{1F600}`, `\012`: one character.
pub fn escaped_char(text: &mut Text<'_>) -> Result<char, String> {
    let whole = text.rest;
    text.take(1);
    let Some(letter) = text.take_char() else { return Err(String::from(r"trailing \")) };
    let code = match letter {
        'a' => Some(0x07),
        'f' => Some(0x0c),
        'n' => Some(0x0a),
        'r' => Some(0x0d),
        't' => Some(0x09),
        'v' => Some(0x0b),
        'x' => hexadecimal(text),
        '0' => Some(octal(text, 0)),
        // One digit alone would be a reference to a group, which no linear engine has.
        '1'..='7' if text.rest.starts_with(|c| ('0'..='7').contains(&c)) => Some(octal(text, letter as u32 - 48)),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(letter as u32),
        _ => None,
    };
    let written = &whole[..whole.len() - text.rest.len()];
    match code.map(|code| (code, char::from_u32(code))) {
        Some((_, Some(c))) => Ok(c),
        Some((0xd800..=0xdfff, None)) => Err(format!("{written} is a surrogate, which no text contains")),
        _ => Err(format!("invalid escape sequence: {written}")),
    }
}

fn hexadecimal(text: &mut Text<'_>) -> Option<u32> {
    let rest = text.rest;
    let (digits, after) = match rest.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => (rest.get(..2)?, &rest[2..]),
    };
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    text.rest = if good { after } else { rest };
    let significant = digits.trim_start_matches('0');
    match (good, significant) {
        (false, _) => None,
        (true, "") => Some(0),
        (true, _) => u32::from_str_radix(significant, 16).ok(),
    }
}

fn octal(text: &mut Text<'_>, first: u32) -> u32 {
    let mut code = first;
    for _ in 0..2 {
        match text.rest.as_bytes().first() {
            Some(&digit @ b'0'..=b'7') => code = code * 8 + u32::from(digit - b'0'),
            _ => break,
        }
        text.take(1);
    }
    code
}
