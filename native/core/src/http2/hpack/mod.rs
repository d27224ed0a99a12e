//! HPACK (RFC 7541): header lists to header blocks and back, each direction with its table.

mod decoder;
mod encoder;
mod fixed;
mod huffman;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// Both tables' size. Larger ones save next to nothing and cost memory on every connection.
pub const TABLE_SIZE: usize = 4096;
/// What an entry costs besides its text (RFC 7541, section 4.1).
const ENTRY: usize = 32;

/// A name and its value in one piece of memory.
struct Field {
    text: Box<[u8]>,
    name: usize,
}

impl Field {
    fn new(name: &[u8], value: &[u8]) -> Self {
        Self { text: [name, value].concat().into(), name: name.len() }
    }

    fn name(&self) -> &[u8] {
        &self.text[..self.name]
    }

    fn value(&self) -> &[u8] {
        &self.text[self.name..]
    }

    fn size(&self) -> usize {
        self.text.len() + ENTRY
    }
}

/// An integer behind `prefix` bits of the first byte, whose other bits are `flags` (RFC 7541, section 5.1).
fn encode_integer(value: usize, prefix: u32, flags: u8, out: &mut Vec<u8>) {
    let full = (1usize << prefix) - 1;
    if value < full {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | full as u8);
    let mut rest = value - full;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
