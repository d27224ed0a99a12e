//! From header blocks to header lists. What does not fit the limit is decoded all the same, to keep the table right, and
//! thrown away; work and memory stay in proportion to the block's bytes.

use std::collections::VecDeque;

use super::super::headers::Headers;
use super::{ENTRY, Field, TABLE_SIZE, fixed, huffman};

/// An integer that takes more bytes is nonsense: four hold every length that a block can have.
const MOST_INTEGER_BYTES: u32 = 4;

/// Nothing sensible can follow on the connection: the tables of both sides differ now.
#[derive(Debug, PartialEq, Eq)]
pub struct Undecodable;

/// What is wrong with a list that could be decoded. It ends its stream only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The list is larger than the limit; it lacks fields.
    pub too_large: bool,
    /// A name or a value has characters that it must not have (RFC 9113, section 8.2.1).
    pub malformed: bool,
}

struct Entry {
    field: Field,
    malformed: bool,
}

pub struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    /// What the peer's encoder keeps to; never over `TABLE_SIZE`.
    max_size: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, max_size: TABLE_SIZE }
    }
}

impl Decoder {
    /// Appends the block's fields to `out`, as long as its list size stays within `limit`.
    pub fn decode(&mut self, block: &[u8], limit: usize, out: &mut Headers) -> Result<Decoded, Undecodable> {
        let mut rest = block;
        let mut decoded = Decoded::default();
        let mut resizable = true;
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                // Only before the first field (RFC 7541, section 4.2).
                let size = integer(&mut rest, 5)?;
                if !resizable || size > TABLE_SIZE {
                    return Err(Undecodable);
                }
                self.max_size = size;
                self.shrink(size);
                continue;
            }
            resizable = false;
            let text = out.text.len();
            let malformed = if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                if out.list_size() + self.field_size(index)? > limit {
                    // A byte may stand for four thousand: they are not copied to be thrown away.
                    decoded.too_large = true;
                    continue;
                }
                self.indexed(index, out)?
            } else {
                self.literal(&mut rest, first & 0x40 != 0, out)?
            };
            decoded.malformed |= malformed;
            if out.list_size() > limit {
                decoded.too_large = true;
                out.text.truncate(text);
                out.ends.pop();
            }
        }
        Ok(decoded)
    }

    fn indexed(&mut self, index: usize, out: &mut Headers) -> Result<bool, Undecodable> {
        let malformed = self.name(index, out)?;
        let name_end = out.text.len() as u32;
        if index <= fixed::LENGTH {
            out.text.extend_from_slice(fixed::TABLE[index - 1].1.as_bytes());
        } else {
            out.text.extend_from_slice(self.entries[index - fixed::LENGTH - 1].field.value());
        }
        out.ends.push((name_end, out.text.len() as u32));
        Ok(malformed)
    }

    fn field_size(&self, index: usize) -> Result<usize, Undecodable> {
        match index {
            0 => Err(Undecodable),
            1..=fixed::LENGTH => Ok(fixed::TABLE[index - 1].0.len() + fixed::TABLE[index - 1].1.len() + ENTRY),
            _ => Ok(self.entries.get(index - fixed::LENGTH - 1).ok_or(Undecodable)?.field.size()),
        }
    }

    /// Appends the name at that index; says whether its field was malformed.
    fn name(&self, index: usize, out: &mut Headers) -> Result<bool, Undecodable> {
        match index {
            0 => Err(Undecodable),
            1..=fixed::LENGTH => {
                out.text.extend_from_slice(fixed::TABLE[index - 1].0.as_bytes());
                Ok(false)
            }
            _ => {
                let entry = self.entries.get(index - fixed::LENGTH - 1).ok_or(Undecodable)?;
                out.text.extend_from_slice(entry.field.name());
                Ok(entry.malformed)
            }
        }
    }

    fn literal(&mut self, rest: &mut &[u8], indexing: bool, out: &mut Headers) -> Result<bool, Undecodable> {
        let start = out.text.len();
        let index = integer(rest, if indexing { 6 } else { 4 })?;
        if index == 0 {
            string(rest, &mut out.text)?;
        } else {
            self.name(index, out)?;
        }
        let name_end = out.text.len();
        string(rest, &mut out.text)?;
        out.ends.push((name_end as u32, out.text.len() as u32));
        let (name, value) = (&out.text[start..name_end], &out.text[name_end..]);
        let malformed = !is_name(name) || !is_value(value);
        if indexing {
            self.insert(name, value, malformed);
        }
        Ok(malformed)
    }

    fn insert(&mut self, name: &[u8], value: &[u8], malformed: bool) {
        let size = name.len() + value.len() + ENTRY;
        self.shrink(self.max_size.saturating_sub(size));
        // One that is larger than the table empties it and is not kept (RFC 7541, section 4.4).
        if size <= self.max_size {
            self.size += size;
            self.entries.push_front(Entry { field: Field::new(name, value), malformed });
        }
    }

    fn shrink(&mut self, to: usize) {
        while self.size > to {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.field.size();
        }
    }
}

fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Undecodable> {
    let full = (1usize << prefix) - 1;
    let (&first, mut bytes) = rest.split_first().ok_or(Undecodable)?;
    let mut value = usize::from(first) & full;
    if value == full {
        let mut shift = 0;
        loop {
            let (&byte, others) = bytes.split_first().ok_or(Undecodable)?;
            bytes = others;
            if shift == 7 * MOST_INTEGER_BYTES {
                return Err(Undecodable);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = bytes;
    Ok(value)
}

fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let coded = rest.first().ok_or(Undecodable)? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, others) = rest.split_at_checked(length).ok_or(Undecodable)?;
    *rest = others;
    if !coded {
        out.extend_from_slice(text);
    } else if !huffman::decode(text, out) {
        return Err(Undecodable);
    }
    Ok(())
}

/// By byte: may stand in a name. All visible ASCII but capitals (RFC 9113, section 8.2.1); the colon is looked at apart.
static IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = !(byte as u8).is_ascii_uppercase() && byte != b':' as usize;
        byte += 1;
    }
    table
};

fn is_name(name: &[u8]) -> bool {
    let plain = name.strip_prefix(b":").unwrap_or(name);
    !plain.is_empty() && plain.iter().all(|&byte| IN_NAMES[byte as usize])
}

/// Blanks at its ends, which the standard forbids as well, do no harm to who does not pass the value on as HTTP/1.1; gRPC
/// peers send them.
fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Undecodable> {
        let mut out = Headers::new();
        decoder.decode(block, 1 << 16, &mut out)?;
        Ok(out.all().map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned())).collect())
    }

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 7541, C.4: three requests with Huffman and a growing table
        let mut decoder = Decoder::default();
        let first =
            [0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        let common = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(decode(&mut decoder, &first).unwrap(), pairs(&common));
        let second = [0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        let with_cache = [&common[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(decode(&mut decoder, &second).unwrap(), pairs(&with_cache));
        assert_eq!(decoder.size, 57 + 53);
    }

    #[test]
    fn nonsense_is_undecodable() {
        let none: &[u8] = &[0x80];
        let beyond: &[u8] = &[0xff, 0x00];
        let endless: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let cut: &[u8] = &[0x40, 0x05, b'a'];
        let late_resize: &[u8] = &[0x82, 0x20];
        let large_resize: &[u8] = &[0x3f, 0xe2, 0x1f];
        for block in [none, beyond, endless, cut, late_resize, large_resize] {
            assert_eq!(decode(&mut Decoder::default(), block), Err(Undecodable), "{block:?}");
        }
    }

    #[test]
    fn a_small_block_that_stands_for_a_large_list_costs_its_limit_and_no_more() {
        let mut decoder = Decoder::default();
        let mut block = vec![0x40, 1, b'x', 0x7f, 0xff - 0x7f + 0x20, 0x1e]; // a value of 4,000 bytes or so
        let length = 127 + 0x20 + 0x80 - 0x80 + (0x1e << 7);
        block[4] = 0xa0;
        block.extend(std::iter::repeat_n(b'v', length));
        block.extend(std::iter::repeat_n(0xbe, 100_000)); // and again, by its index
        let mut out = Headers::new();
        let decoded = decoder.decode(&block, 16_384, &mut out).unwrap();
        assert_eq!(decoded, Decoded { too_large: true, malformed: false });
        assert!(out.list_size() <= 16_384 && out.text.capacity() < 65_536);
    }

    #[test]
    fn characters_that_smuggle_are_malformed() {
        for (name, value) in [("Big", "v"), ("a b", "v"), ("", "v"), ("a:b", "v"), ("a", "v\r\nw"), ("a", "v\0")] {
            let mut block = vec![0x40, name.len() as u8];
            block.extend_from_slice(name.as_bytes());
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
            let mut decoder = Decoder::default();
            for block in [&block[..], &[0xbe]] {
                let decoded = decoder.decode(block, 1 << 16, &mut Headers::new()).unwrap();
                assert!(decoded.malformed, "{name:?}: {value:?}, also from the table");
            }
        }
    }
}
