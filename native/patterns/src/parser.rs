//! RE2's syntax (re2/parse.cc with its default options) to a syntax tree. One pass over the text with a stack of its
//! own, so that no text can overflow ours.

use regex_syntax::hir::{Class, ClassUnicode, Dot, Hir, Look, Repetition};

use crate::class;
use crate::text::{Flags, Text};

/// Groups within groups. RE2 takes more; the compiler behind us is recursive.
const MAX_DEPTH: usize = 200;
/// Of `{n,m}`, and of what such repetitions within each other multiply to (RE2's `maximum_repeat_count`).
const MAX_REPEAT: u32 = 1000;
/// All ranges of all classes together.
const MAX_RANGES: usize = 100_000;

pub struct Parsed {
    pub hir: Hir,
    pub groups: usize,
}

/// A piece of a sequence, and what the counted repetitions in it multiply to.
struct Item {
    hir: Hir,
    times: u32,
}

/// A group that is still open; the flags are those that hold again behind it.
#[derive(Default)]
struct Frame {
    outer: Flags,
    alternatives: Vec<Item>,
    items: Vec<Item>,
}

struct Parser<'p> {
    text: Text<'p>,
    frames: Vec<Frame>,
    groups: usize,
    ranges: usize,
}

pub fn parse(source: &str) -> Result<Parsed, String> {
    let frames = vec![Frame::default()];
    let mut parser = Parser { text: Text { rest: source, flags: Flags::default() }, frames, groups: 0, ranges: 0 };
    let mut repetition = "";
    while let Some(next) = parser.text.rest.chars().next() {
        let before = parser.text.rest;
        let repeats = parser.step(next, repetition)?;
        repetition = if repeats { before } else { "" };
    }
    if parser.frames.len() > 1 {
        return Err(String::from("missing )"));
    }
    let hir = parser.frames.pop().map_or_else(Hir::empty, |frame| frame.whole().hir);
    Ok(Parsed { hir, groups: parser.groups })
}

impl Parser<'_> {
    /// One piece. `repetition` is the text from the repetition that came just before, if one did; true: this is one.
    fn step(&mut self, next: char, repetition: &str) -> Result<bool, String> {
        match next {
            '(' => self.open()?,
            ')' => self.close()?,
            '|' => {
                self.text.take(1);
                self.frame().next_alternative();
            }
            '*' | '+' | '?' => {
                self.text.take(1);
                let (min, max) = [(0, None), (1, None), (0, Some(1))]["*+?".find(next).unwrap_or(0)];
                self.repeat(min, max, next.to_string(), repetition)?;
                return Ok(true);
            }
            '{' => match counts(self.text.rest) {
                Some((min, max, length)) => {
                    let written = self.text.take(length).to_owned();
                    self.repeat(min, max, written, repetition)?;
                    return Ok(true);
                }
                None => self.literal(),
            },
            '[' => {
                let set = class::bracket(&mut self.text)?;
                self.set(set)?;
            }
            '.' => self.sign(Hir::dot(if self.text.flags.dot_newline { Dot::AnyChar } else { Dot::AnyCharExceptLF })),
            '^' => self.sign(Hir::look(if self.text.flags.many_lines { Look::StartLF } else { Look::Start })),
            '$' => self.sign(Hir::look(if self.text.flags.many_lines { Look::EndLF } else { Look::End })),
            '\\' => self.escape()?,
            _ => self.literal(),
        }
        Ok(false)
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the outermost is never closed")
    }

    fn push(&mut self, hir: Hir) {
        self.frame().items.push(Item { hir, times: 1 });
    }

    fn sign(&mut self, hir: Hir) {
        self.text.take(1);
        self.push(hir);
    }

    fn literal(&mut self) {
        if let Some(next) = self.text.take_char() {
            self.push_char(next);
        }
    }

    fn push_char(&mut self, next: char) {
        let hir = if self.text.flags.fold {
            let mut set = class::one(next, next);
            set.case_fold_simple();
            Hir::class(Class::Unicode(set))
        } else {
            Hir::literal(next.encode_utf8(&mut [0; 4]).as_bytes())
        };
        self.push(hir);
    }

    fn set(&mut self, set: ClassUnicode) -> Result<(), String> {
        self.ranges += set.ranges().len();
        if self.ranges > MAX_RANGES {
            return Err(format!("pattern too large: its classes have more than {MAX_RANGES} ranges"));
        }
        self.push(Hir::class(Class::Unicode(set)));
        Ok(())
    }

    /// `written` is the operator; a `?` behind it asks for the shortest match, which is no other one when all has to
    /// match (and so does `(?U)`).
    fn repeat(&mut self, min: u32, max: Option<u32>, written: String, repetition: &str) -> Result<(), String> {
        let written = if self.text.rest.starts_with('?') { written + self.text.take(1) } else { written };
        if !repetition.is_empty() {
            let from = repetition.len() - self.text.rest.len();
            return Err(format!("bad repetition operator: {}", &repetition[..from]));
        }
        let counted = written.starts_with('{');
        let invalid = || Err(format!("invalid repetition size: {written}"));
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return invalid();
        }
        let Some(Item { hir, times }) = self.frame().items.pop() else {
            return Err(format!("no argument for repetition operator: {written}"));
        };
        let times = if counted { times.saturating_mul(max.unwrap_or(min).max(1)) } else { times };
        if times > MAX_REPEAT && counted && max.unwrap_or(min) > 1 {
            return invalid();
        }
        let hir = Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(hir) });
        self.frame().items.push(Item { hir, times });
        Ok(())
    }

    fn open(&mut self) -> Result<(), String> {
        let outer = self.text.flags;
        if self.text.rest.starts_with("(?P<") || self.text.rest.starts_with("(?<") {
            self.name()?;
            self.groups += 1;
        } else if self.text.rest.starts_with("(?") {
            match self.read_flags()? {
                (flags, ')') => {
                    self.text.flags = flags;
                    return Ok(());
                }
                (flags, _) => self.text.flags = flags,
            }
        } else {
            self.text.take(1);
            self.groups += 1;
        }
        if self.frames.len() > MAX_DEPTH {
            return Err(format!("nested too deeply: {MAX_DEPTH} groups within each other are possible"));
        }
        self.frames.push(Frame { outer, ..Frame::default() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        self.text.take(1);
        if self.frames.len() == 1 {
            return Err(String::from("unexpected )"));
        }
        let frame = self.frames.pop().expect("there is more than one");
        self.text.flags = frame.outer;
        let whole = frame.whole();
        self.frame().items.push(whole);
        Ok(())
    }

    fn name(&mut self) -> Result<(), String> {
        let start = self.text.rest.find('<').map_or(0, |at| at + 1);
        let end = self.text.rest.find('>').unwrap_or(self.text.rest.len());
        let name = &self.text.rest[start..end];
        let good = !name.is_empty() && name.chars().all(class::may_name);
        if !good || end == self.text.rest.len() {
            return Err(format!("invalid named capture group: {}", &self.text.rest[..end]));
        }
        self.text.rest = &self.text.rest[end + 1..];
        Ok(())
    }

    /// `(?flags)` or `(?flags:`: the flags that hold from here, and the sign at the end.
    fn read_flags(&mut self) -> Result<(Flags, char), String> {
        let whole = self.text.rest;
        self.text.take(2);
        let (mut flags, mut on, mut any) = (self.text.flags, true, true);
        loop {
            let next = self.text.take_char();
            match next {
                Some('i') => flags.fold = on,
                Some('m') => flags.many_lines = on,
                Some('s') => flags.dot_newline = on,
                Some('U') => {}
                Some('-') if on => (on, any) = (false, false),
                Some(end @ (':' | ')')) if any => return Ok((flags, end)),
                _ => return Err(format!("invalid perl operator: {}", &whole[..whole.len() - self.text.rest.len()])),
            }
            any |= next != Some('-');
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.text.rest.as_bytes().get(1) {
            Some(b'Q') => self.quoted(),
            Some(b'C') => return Err(String::from(r"\C is not supported: it would match half a character")),
            Some(b'A') => self.empty(Look::Start),
            Some(b'z') => self.empty(Look::End),
            Some(b'b') => self.empty(Look::WordAscii),
            Some(b'B') => self.empty(Look::WordAsciiNegate),
            _ => match class::escaped_set(&mut self.text)? {
                Some(set) => self.set(set)?,
                None => {
                    let escaped = class::escaped_char(&mut self.text)?;
                    self.push_char(escaped);
                }
            },
        }
        Ok(())
    }

    fn empty(&mut self, look: Look) {
        self.text.take(2);
        self.push(Hir::look(look));
    }

    fn quoted(&mut self) {
        self.text.take(2);
        while !self.text.rest.is_empty() {
            if self.text.rest.starts_with(r"\E") {
                self.text.take(2);
                return;
            }
            self.literal();
        }
    }
}

impl Frame {
    fn next_alternative(&mut self) {
        let items = std::mem::take(&mut self.items);
        let times = items.iter().map(|item| item.times).max().unwrap_or(1);
        let hir = Hir::concat(items.into_iter().map(|item| item.hir).collect());
        self.alternatives.push(Item { hir, times });
    }

    fn whole(mut self) -> Item {
        self.next_alternative();
        let times = self.alternatives.iter().map(|item| item.times).max().unwrap_or(1);
        Item { hir: Hir::alternation(self.alternatives.into_iter().map(|item| item.hir).collect()), times }
    }
}

/// `{n}`, `{n,}`, `{n,m}` at the beginning, and its length. Anything else is text, `{,m}` and `{01}` too.
fn counts(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let (min, max) = match inner.split_once(',') {
        None => (count(inner)?, Some(count(inner)?)),
        Some((min, "")) => (count(min)?, None),
        Some((min, max)) => (count(min)?, Some(count(max)?)),
    };
    Some((min, max, end + 1))
}

fn count(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    (plain && (digits.len() == 1 || !digits.starts_with('0'))).then(|| digits.parse().ok()).flatten()
}
