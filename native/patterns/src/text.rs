//! The text of a pattern, as far as it is still to be read, and the flags that hold where reading is.

#[derive(Clone, Copy, Default)]
pub struct Flags {
    pub fold: bool,
    pub many_lines: bool,
    pub dot_newline: bool,
}

pub struct Text<'p> {
    pub rest: &'p str,
    pub flags: Flags,
}

impl Text<'_> {
    /// Steps over so many bytes, all of them ASCII.
    pub fn take(&mut self, length: usize) -> &str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    pub fn take_char(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }
}
