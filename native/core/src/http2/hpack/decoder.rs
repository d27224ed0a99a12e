//! From header blocks to header lists. What does not fit the limit is decoded all the same, to keep the table right, and
//! thrown away. Work and memory stay in proportion to the block's bytes and the limit: a name that the table has is
//! shared and not copied, and nothing is copied any more once the list is known to be too large.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::headers::Headers;
use super::{ENTRY, TABLE_SIZE, fixed, huffman};

/// An integer that takes more bytes is nonsense: four hold every length that a block can have.
const MOST_INTEGER_BYTES: u32 = 4;

/// Nothing sensible can follow on the connection: the tables of both sides differ now.
#[derive(Debug, PartialEq, Eq)]
pub struct Undecodable;

/// What came of a block that could be decoded. What is wrong with its list ends its stream only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The list is larger than the limit; it lacks fields.
    pub too_large: bool,
    /// A name or a value has characters that it must not have (RFC 9113, section 8.2.1).
    pub malformed: bool,
    /// How many bytes the block became: those that were written, each field with what it costs besides its text.
    pub written: usize,
}

impl Decoded {
    /// Once one field does not fit, no other is looked at: the list is refused anyway.
    fn fits(&mut self, size: usize, limit: usize) -> bool {
        self.too_large |= size > limit;
        !self.too_large
    }
}

/// Whether its characters may stand in a name is known since it was spelled out. Entries that took their name from
/// another one share it.
#[derive(Clone)]
struct Name {
    text: Bytes,
    bad: bool,
}

struct Entry {
    name: Name,
    value: Bytes,
    bad_value: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.text.len() + self.value.len() + ENTRY
    }
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
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                self.indexed(index, limit, out, &mut decoded)?;
            } else {
                self.literal(&mut rest, limit, out, &mut decoded)?;
            }
        }
        Ok(decoded)
    }

    fn indexed(&self, index: usize, limit: usize, out: &mut Headers, decoded: &mut Decoded) -> Result<(), Undecodable> {
        let (name, value) = match index {
            0 => return Err(Undecodable),
            1..=fixed::LENGTH => (fixed::TABLE[index - 1].0.as_bytes(), fixed::TABLE[index - 1].1.as_bytes()),
            _ => {
                let entry = self.entry(index)?;
                decoded.malformed |= entry.name.bad || entry.bad_value;
                (&entry.name.text[..], &entry.value[..])
            }
        };
        let size = name.len() + value.len() + ENTRY;
        // A byte may stand for four thousand: they are not copied to be thrown away.
        if decoded.fits(out.list_size() + size, limit) {
            out.text.extend_from_slice(name);
            let name_end = out.text.len();
            out.text.extend_from_slice(value);
            out.ends.push((name_end as u32, out.text.len() as u32));
            decoded.written += size;
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<&Entry, Undecodable> {
        self.entries.get(index - fixed::LENGTH - 1).ok_or(Undecodable)
    }

    fn name(&self, index: usize) -> Result<Name, Undecodable> {
        if index <= fixed::LENGTH {
            return Ok(Name { text: Bytes::from_static(fixed::TABLE[index - 1].0.as_bytes()), bad: false });
        }
        Ok(self.entry(index)?.name.clone())
    }

    /// What the block spells out is put behind the list in any case, and taken back if it does not fit.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        limit: usize,
        out: &mut Headers,
        decoded: &mut Decoded,
    ) -> Result<(), Undecodable> {
        let indexing = rest.first().is_some_and(|first| first & 0x40 != 0);
        let start = out.text.len();
        let index = integer(rest, if indexing { 6 } else { 4 })?;
        let known = if index == 0 { None } else { Some(self.name(index)?) };
        match &known {
            None => string(rest, &mut out.text)?,
            Some(name) if decoded.fits(out.list_size() + name.text.len() + ENTRY, limit) => {
                out.text.extend_from_slice(&name.text);
            }
            Some(_) => {}
        }
        let name_end = out.text.len();
        string(rest, &mut out.text)?;
        decoded.written += out.text.len() - start;
        let (spelled, value) = out.text[start..].split_at(name_end - start);
        let bad_name = known.as_ref().map_or_else(|| !is_name(spelled), |name| name.bad);
        let bad_value = !is_value(value);
        decoded.malformed |= bad_name || bad_value;
        if indexing {
            decoded.written += spelled.len() + value.len() + ENTRY;
            self.insert(known, spelled, bad_name, value, bad_value);
        }
        if decoded.fits(out.list_size() + ENTRY, limit) {
            out.ends.push((name_end as u32, out.text.len() as u32));
            decoded.written += ENTRY;
        } else {
            out.text.truncate(start);
        }
        Ok(())
    }

    /// `known`: the name if the table has it, else it is `spelled`.
    fn insert(&mut self, known: Option<Name>, spelled: &[u8], bad_name: bool, value: &[u8], bad_value: bool) {
        let name_length = known.as_ref().map_or(spelled.len(), |name| name.text.len());
        let size = name_length + value.len() + ENTRY;
        self.shrink(self.max_size.saturating_sub(size));
        // One that is larger than the table empties it and is not kept (RFC 7541, section 4.4).
        if size <= self.max_size {
            self.size += size;
            let name = known.unwrap_or_else(|| Name { text: Bytes::copy_from_slice(spelled), bad: bad_name });
            self.entries.push_front(Entry { name, value: Bytes::copy_from_slice(value), bad_value });
        }
    }

    fn shrink(&mut self, to: usize) {
        while self.size > to {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
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
    use super::super::encode_integer;
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
        assert!(decoded.too_large && !decoded.malformed);
        assert!(out.list_size() <= 16_384 && out.text.capacity() < 65_536);
    }

    /// A block that puts a name of almost a table's size into the table.
    fn large_name() -> Vec<u8> {
        let mut block = vec![0x40];
        encode_integer(4000, 7, 0, &mut block);
        block.extend(std::iter::repeat_n(b'n', 4000));
        block.push(0);
        block
    }

    #[test]
    fn naming_a_large_entry_again_and_again_costs_the_limit_and_no_more() {
        // without indexing; never indexed; with it, each of which is the table's next first entry; with a value, too
        for literal in [&[0x0f, 0x2f, 0][..], &[0x1f, 0x2f, 0], &[0x7e, 0], &[0x7e, 1, b'v'], &[0x0f, 0x2f, 1, b'v']] {
            let (mut decoder, mut out) = (Decoder::default(), Headers::new());
            decoder.decode(&large_name(), 16_384, &mut Headers::new()).unwrap();
            let block = literal.repeat(100_000);
            let decoded = decoder.decode(&block, 16_384, &mut out).unwrap();
            assert!(decoded.too_large && !decoded.malformed);
            let own = block.len() * (1 + usize::from(literal[0] == 0x7e) * ENTRY); // an entry of its own for each
            assert!(decoded.written <= 16_384 + own, "{} bytes for {}", decoded.written, block.len());
            assert!(out.list_size() <= 16_384 && out.text.capacity() < 65_536);
        }
    }

    #[test]
    fn entries_share_the_name_that_they_refer_to() {
        let mut decoder = Decoder::default();
        let name = [&[0x40, 4][..], b"name", &[0]].concat();
        decode(&mut decoder, &[&name[..], &[0x7e, 1, b'a'], &[0x7e, 1, b'b']].concat()).unwrap();
        let [b, a, first] = [0, 1, 2].map(|at| decoder.entries[at].name.text.as_ptr());
        assert!(a == first && b == first);
        assert_eq!(
            decode(&mut decoder, &[0xbe, 0xbf, 0xc0]).unwrap(),
            pairs(&[("name", "b"), ("name", "a"), ("name", "")])
        );
    }

    #[test]
    fn what_a_block_becomes_is_counted() {
        let mut decoder = Decoder::default();
        decoder.decode(&large_name(), 1 << 16, &mut Headers::new()).unwrap();
        let mut out = Headers::new();
        let decoded = decoder.decode(&[0xbe; 10], 1 << 16, &mut out).unwrap();
        assert_eq!(decoded.written, out.list_size());
        assert_eq!(decoder.decode(&[0xbe; 10], 0, &mut Headers::new()).unwrap().written, 0);
    }

    #[test]
    fn nothing_that_follows_what_did_not_fit_is_in_the_list() {
        let mut out = Headers::new();
        let block = [&[0x82][..], &[0, 1, b'x', 10], &[b'v'; 10], &[0x84]].concat();
        let decoded = Decoder::default().decode(&block, 42 + 42, &mut out).unwrap();
        assert!(decoded.too_large);
        assert_eq!(out.len(), 1);
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
