//! Header blocks in every representation, into our decoder and into h2's: both read the same list, or none.

use super::endpoint::Endpoint;
use super::fuzz;
use super::random::Random;
use super::twins::Twins;
use super::wire::{self, END_HEADERS, END_STREAM, HEADERS};

/// Characters with their Huffman codes (RFC 7541, appendix B): code and bits.
const CODES: &[(u8, u32, u32)] = &[
    (b'0', 0x0, 5),
    (b'1', 0x1, 5),
    (b'2', 0x2, 5),
    (b'a', 0x3, 5),
    (b'c', 0x4, 5),
    (b'e', 0x5, 5),
    (b'i', 0x6, 5),
    (b'o', 0x7, 5),
    (b's', 0x8, 5),
    (b't', 0x9, 5),
    (b'%', 0x15, 6),
    (b'-', 0x16, 6),
    (b'_', 0x22, 6),
    (b'u', 0x2d, 6),
    (b'j', 0x74, 7),
    (b'z', 0x7b, 7),
    (b'&', 0xf8, 8),
    (b'!', 0x3f8, 10),
    (b'+', 0x7fb, 11),
    (b'#', 0xffa, 12),
    (b'$', 0x1ff9, 13),
    (b'^', 0x3ffc, 14),
];
/// How many entries are in the static table.
const FIXED: usize = 61;

#[test]
fn header_blocks_mean_the_same() {
    fuzz("hpack", |random| {
        let mut twins = Twins::servers();
        let mut said = [wire::PREFACE, &wire::frame(wire::SETTINGS, 0, 0, &[])].concat();
        let (mut kept, mut wild) = (0, false);
        for stream in (1..).step_by(2).take(1 + random.below(20)) {
            let mut block = if random.once_in(6) { resize(random, &mut kept) } else { Vec::new() };
            // In the order of the static table: POST, http, /.
            block.extend([0x83, 0x86, 0x84]);
            for _ in 0..random.below(12) {
                field(random, &mut kept, &mut block);
            }
            if random.once_in(100) {
                wild = true;
                let count = 1 + random.below(5);
                block.extend(random.bytes(count));
            }
            said.extend(wire::frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
        }
        said.extend(wire::frame(wire::PING, 0, 0, b"the last"));
        twins.feed(random, &said);
        // Bytes at random may be fields that no request has. Over most of those h2 ends the connection, ours the stream; an
        // empty `:authority` and control characters other than the three forbidden ones are nothing to ours.
        let theirs = &twins.theirs;
        let broken = [twins.ours.told(), theirs.told()].iter().any(|told| !told.resets.is_empty());
        if !(wild && (broken || theirs.endpoint.ended().is_some())) {
            twins.compare("blocks");
        }
    });
}

/// Dynamic table size updates; seldom one that is too large.
fn resize(random: &mut Random, kept: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + random.below(2) {
        let size = *random.pick(&[0, 40, 100, 4096, 4096]) + usize::from(random.once_in(40));
        integer(size, 5, 0x20, &mut out);
        *kept = (*kept).min(size / 40);
    }
    out
}

/// One field, sometimes from the dynamic table.
fn field(random: &mut Random, kept: &mut usize, out: &mut Vec<u8>) {
    let form = random.below(5);
    if form == 0 && *kept > 0 {
        let beyond = usize::from(random.once_in(100));
        return integer(FIXED + 1 + random.below(*kept) + beyond, 7, 0x80, out);
    }
    // What is indexed of the static table: names of ordinary fields, from accept-charset on, without content-length.
    let (prefix, flags) = *random.pick(&[(6, 0x40), (6, 0x40), (4, 0x00), (4, 0x10)]);
    let name = match random.below(3) {
        0 => *random.pick(&[15, 16, 19, 24, 32, 51, 58, 60]),
        1 if *kept > 0 => FIXED + 1 + random.below(*kept),
        _ => 0,
    };
    integer(name, prefix, flags, out);
    if name == 0 {
        string(random, 1, 10, out);
    }
    let most = if random.once_in(20) { 5000 } else { 40 };
    string(random, 0, most, out);
    if flags == 0x40 {
        *kept = (*kept + 1).min(8); // so many of the usual size are there for sure, unless a long one came
    }
}

/// Text that may stand in names and values, plain or by Huffman; seldom with padding that is none.
fn string(random: &mut Random, least: usize, most: usize, out: &mut Vec<u8>) {
    let length = least + random.size(most);
    let text: Vec<&(u8, u32, u32)> = (0..length).map(|_| random.pick(CODES)).collect();
    if random.once_in(2) {
        integer(length, 7, 0, out);
        return out.extend(text.iter().map(|(letter, ..)| letter));
    }
    let (mut bytes, mut bits, mut filled) = (Vec::new(), 0u64, 0);
    for (_, code, length) in text {
        (bits, filled) = (bits << length | u64::from(*code), filled + length);
        while filled >= 8 {
            filled -= 8;
            bytes.push((bits >> filled) as u8);
        }
    }
    if filled > 0 {
        let padding = if random.once_in(300) { 0 } else { 0xff >> filled };
        bytes.push((bits << (8 - filled)) as u8 | padding);
    } else if random.once_in(300) {
        bytes.push(0xff); // a whole byte of padding
    }
    integer(bytes.len(), 7, 0x80, out);
    out.extend(bytes);
}

/// An integer (RFC 7541, section 5.1).
fn integer(value: usize, prefix: u32, flags: u8, out: &mut Vec<u8>) {
    let full = (1 << prefix) - 1;
    if value < full {
        return out.push(flags | value as u8);
    }
    out.push(flags | full as u8);
    let mut rest = value - full;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
