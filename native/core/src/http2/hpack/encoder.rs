//! From header lists to header blocks. A method's common fields are put in the table once and cost a byte each from then
//! on; their block is kept as long as the table does not change. Other fields enter the table when their name is new or
//! their value was seen shortly before, so that values that never come again (time-outs, trace ids) do not push out
//! those that do.

use std::collections::{HashMap, VecDeque};

use super::super::headers::{Headers, Template, connection_specific};
use super::super::keys::Scattered;
use super::{Field, TABLE_SIZE, encode_integer, fixed, huffman};

const SEEN: usize = 64;
/// Below, the bytes that Huffman saves on a value that is sent once are not worth its time.
const WORTH_CODING: usize = 16;
const TEMPLATES: usize = 256;

struct Entry {
    field: Field,
    name_hash: u64,
    field_hash: u64,
}

pub struct Encoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// The sizes to announce with the next block: the smallest since the last, and the one that holds.
    resized: Option<(usize, usize)>,
    /// How many entries there ever were; an entry is known by its number, from 1.
    inserted: u64,
    by_field: HashMap<u64, u64, Scattered>,
    by_name: HashMap<u64, u64, Scattered>,
    /// Hashes of fields that were sent without entering the table.
    seen: Box<[u64; SEEN]>,
    /// By template: its block, and `inserted` when that was made.
    blocks: HashMap<u64, (u64, Vec<u8>), Scattered>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: TABLE_SIZE,
            resized: None,
            inserted: 0,
            by_field: HashMap::default(),
            by_name: HashMap::default(),
            seen: Box::new([0; SEEN]),
            blocks: HashMap::default(),
        }
    }
}

impl Encoder {
    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub fn limit_table(&mut self, peer: usize) {
        let size = peer.min(TABLE_SIZE);
        if size == self.max_size {
            return;
        }
        let smallest = self.resized.map_or(size, |(smallest, _)| smallest.min(size));
        self.resized = Some((smallest, size));
        self.max_size = size;
        self.shrink(smallest);
        self.blocks.clear();
    }

    pub fn encode(&mut self, template: Option<&Template>, headers: &Headers, out: &mut Vec<u8>) {
        self.announce_size(out);
        if let Some(template) = template {
            self.encode_template(template, out);
        }
        for (name, value) in headers.all() {
            // What an application puts in metadata must not make its request malformed.
            if !connection_specific(name) {
                self.encode_field(name, value, false, out);
            }
        }
    }

    /// A response's head: its status, then `headers`.
    pub fn encode_response(&mut self, status: u16, headers: &Headers, out: &mut Vec<u8>) {
        self.announce_size(out);
        let [a, b, c] = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        self.encode_field(":status", &[a, b, c], false, out);
        self.encode(None, headers, out);
    }

    fn announce_size(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, size)) = self.resized.take() {
            if smallest < size {
                encode_integer(smallest, 5, 0x20, out);
            }
            encode_integer(size, 5, 0x20, out);
        }
    }

    fn encode_template(&mut self, template: &Template, out: &mut Vec<u8>) {
        if let Some((inserted, block)) = self.blocks.get(&template.id) {
            if *inserted == self.inserted {
                out.extend_from_slice(block);
                return;
            }
        }
        let (before, start) = (self.inserted, out.len());
        for (name, value) in template.headers.all() {
            self.encode_field(name, value, true, out);
        }
        if self.inserted == before {
            if self.blocks.len() >= TEMPLATES {
                self.blocks.clear();
            }
            self.blocks.insert(template.id, (self.inserted, out[start..].to_vec()));
        }
    }

    /// `lasting`: the field will come again for sure.
    fn encode_field(&mut self, name: &str, value: &[u8], lasting: bool, out: &mut Vec<u8>) {
        let known = fixed::find(name, value);
        if let Some((index, true)) = known {
            return encode_integer(index, 7, 0x80, out);
        }
        let name_hash = hash(0, name.as_bytes());
        let field_hash = hash(name_hash, value);
        if let Some(index) = self.look_up(&self.by_field, field_hash, name, Some(value)) {
            return encode_integer(index, 7, 0x80, out);
        }
        let name_index = known.map(|(index, _)| index).or_else(|| self.look_up(&self.by_name, name_hash, name, None));
        let insert = lasting || name_index.is_none() || self.seen_before(field_hash);
        let (prefix, flags) = if insert { (6, 0x40) } else { (4, 0) };
        match name_index {
            Some(index) => encode_integer(index, prefix, flags, out),
            None => {
                out.push(flags);
                encode_string(name.as_bytes(), true, out);
            }
        }
        encode_string(value, insert || value.len() >= WORTH_CODING, out);
        if insert {
            self.insert(Field::new(name.as_bytes(), value), name_hash, field_hash);
        }
    }

    fn look_up(
        &self,
        by_hash: &HashMap<u64, u64, Scattered>,
        hash: u64,
        name: &str,
        value: Option<&[u8]>,
    ) -> Option<usize> {
        let back = (self.inserted - by_hash.get(&hash)?) as usize;
        let field = &self.entries.get(back)?.field;
        let same = field.name() == name.as_bytes() && value.is_none_or(|value| field.value() == value);
        same.then_some(fixed::LENGTH + 1 + back)
    }

    fn seen_before(&mut self, field_hash: u64) -> bool {
        std::mem::replace(&mut self.seen[field_hash as usize % SEEN], field_hash) == field_hash
    }

    fn insert(&mut self, field: Field, name_hash: u64, field_hash: u64) {
        let size = field.size();
        self.shrink(self.max_size.saturating_sub(size));
        // The peer's table is emptied by one that is too large, like ours (RFC 7541, section 4.4).
        self.inserted += 1;
        if size > self.max_size {
            return;
        }
        self.size += size;
        self.by_name.insert(name_hash, self.inserted);
        self.by_field.insert(field_hash, self.inserted);
        self.entries.push_front(Entry { field, name_hash, field_hash });
    }

    fn shrink(&mut self, to: usize) {
        while self.size > to {
            let number = self.inserted + 1 - self.entries.len() as u64;
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.field.size();
            if self.by_name.get(&entry.name_hash) == Some(&number) {
                self.by_name.remove(&entry.name_hash);
            }
            if self.by_field.get(&entry.field_hash) == Some(&number) {
                self.by_field.remove(&entry.field_hash);
            }
        }
    }
}

fn encode_string(text: &[u8], may_code: bool, out: &mut Vec<u8>) {
    if may_code {
        let length = huffman::encoded_len(text);
        if length < text.len() {
            encode_integer(length, 7, 0x80, out);
            return huffman::encode(text, out);
        }
    }
    encode_integer(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

/// Only our own fields are hashed, and each hit is compared: what collides is sent in full.
fn hash(seed: u64, text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: u64| (sum.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let mut sum = step(seed, text.len() as u64 + 1);
    for piece in text.chunks(8) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        sum = step(sum, u64::from_le_bytes(word));
    }
    sum ^ (sum >> 29)
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;

    fn template() -> Template {
        Template::new(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/pkg.Service/Method"),
                (":authority", "reviews.demo:9080"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ]
            .into_iter()
            .collect(),
        )
    }

    fn back(decoder: &mut Decoder, block: &[u8]) -> Headers {
        let mut out = Headers::new();
        let decoded = decoder.decode(block, 1 << 20, &mut out).unwrap();
        assert!(!decoded.malformed && !decoded.too_large);
        out
    }

    fn joined(template: &Template, extra: &Headers) -> Headers {
        template.headers.all().chain(extra.all()).collect()
    }

    #[test]
    fn the_second_request_of_a_method_is_a_byte_a_field() {
        let (mut encoder, mut decoder, template) = (Encoder::default(), Decoder::default(), template());
        for round in 0..4 {
            let extra: Headers = [("grpc-timeout", format!("{}u", 999 + round))].iter().map(|(n, v)| (*n, v)).collect();
            let mut block = Vec::new();
            encoder.encode(Some(&template), &extra, &mut block);
            assert_eq!(back(&mut decoder, &block), joined(&template, &extra));
            if round > 0 {
                assert!(block.len() <= 6 + 2 + 1 + 5, "{} bytes", block.len());
            }
        }
    }

    #[test]
    fn values_that_never_come_again_do_not_push_out_those_that_do() {
        let (mut encoder, mut decoder, template) = (Encoder::default(), Decoder::default(), template());
        for round in 0..2000 {
            let id = format!("trace-{round}-{}", "x".repeat(100));
            let extra: Headers = [("x-trace", id.as_str()), ("x-tenant", "blue")].into_iter().collect();
            let mut block = Vec::new();
            encoder.encode(Some(&template), &extra, &mut block);
            assert_eq!(back(&mut decoder, &block), joined(&template, &extra));
        }
        assert!(encoder.inserted < 10, "{} entries", encoder.inserted);
    }

    #[test]
    fn both_tables_agree_while_they_overflow_and_shrink() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for round in 0..3000usize {
            if round % 500 == 499 {
                encoder.limit_table(round % 1024);
                encoder.limit_table(if round % 1000 == 999 { 4096 } else { 300 });
            }
            let name = format!("name-{}", round * 7 % 113);
            let value = "v".repeat(round % 211);
            let headers: Headers = [(name.as_str(), value.as_str()), ("again", &value)].into_iter().collect();
            let mut block = Vec::new();
            encoder.encode(None, &headers, &mut block);
            assert_eq!(back(&mut decoder, &block), headers, "round {round}");
        }
    }

    #[test]
    fn a_field_larger_than_the_table_is_sent_and_not_kept() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for _ in 0..3 {
            let headers: Headers =
                [("large", "l".repeat(5000)), ("small", "s".into())].iter().map(|(n, v)| (*n, v)).collect();
            let mut block = Vec::new();
            encoder.encode(None, &headers, &mut block);
            assert_eq!(back(&mut decoder, &block), headers);
        }
    }
}
