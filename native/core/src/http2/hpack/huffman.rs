//! HPACK's Huffman code (RFC 7541, Appendix B). It is canonical, so the lengths say it all: codes of one length count up
//! in the order of their symbols, shorter codes come first.

const SYMBOLS: usize = 256;
/// EOS, thirty ones, is the last code and never sent.
const LONGEST: usize = 30;
const SHORTEST: u32 = 5;
/// The most that one look-up decodes; letters, digits and most punctuation are shorter.
const GLANCE: u32 = 8;

#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

struct Code {
    /// By symbol.
    codes: [u32; SYMBOLS],
    /// Symbols in the order of their codes.
    ordered: [u8; SYMBOLS],
    /// By length: the first code, and its place in `ordered`; `first_code[n + 1]`, shifted, bounds those of length n.
    first_code: [u32; LONGEST + 1],
    first_place: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
    /// By the next `GLANCE` bits: symbol and length; length 0 where the code is longer.
    glance: [(u8, u8); 1 << GLANCE],
}

const fn build() -> Code {
    let mut made = Code {
        codes: [0; SYMBOLS],
        ordered: [0; SYMBOLS],
        first_code: [0; LONGEST + 1],
        first_place: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        glance: [(0, 0); 1 << GLANCE],
    };
    let (mut length, mut code, mut place) = (SHORTEST as usize, 0u32, 0usize);
    while length <= LONGEST {
        made.first_code[length] = code;
        made.first_place[length] = place as u16;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                made.codes[symbol] = code;
                made.ordered[place] = symbol as u8;
                made.count[length] += 1;
                if length as u32 <= GLANCE {
                    let spare = GLANCE - length as u32;
                    let mut rest = 0;
                    while rest < 1 << spare {
                        made.glance[((code << spare) | rest) as usize] = (symbol as u8, length as u8);
                        rest += 1;
                    }
                }
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        code <<= 1;
        length += 1;
    }
    made
}

static CODE: Code = build();

/// How long `text` is when encoded, in bytes.
pub fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| LENGTHS[byte as usize] as usize).sum();
    bits.div_ceil(8)
}

pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0u32);
    for &byte in text {
        let length = u32::from(LENGTHS[byte as usize]);
        bits = (bits << length) | u64::from(CODE.codes[byte as usize]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        // Padded with the beginning of EOS: ones.
        out.push(((bits << (8 - held)) as u8) | (0xff >> held));
    }
}

/// Appends the decoded text. False: no valid code, or padding of more than seven bits or not of ones.
#[must_use]
pub fn decode(raw: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut bits, mut held, mut at) = (0u64, 0u32, 0usize);
    loop {
        while held <= 56 && at < raw.len() {
            bits |= u64::from(raw[at]) << (56 - held);
            held += 8;
            at += 1;
        }
        let (symbol, length) = CODE.glance[(bits >> (64 - GLANCE)) as usize];
        if length != 0 && u32::from(length) <= held {
            out.push(symbol);
            bits <<= length;
            held -= u32::from(length);
            continue;
        }
        if held < 8 && at == raw.len() {
            // Less than a byte is left: padding, if it is all ones.
            return bits == if held == 0 { 0 } else { !0u64 << (64 - held) };
        }
        match longer(bits, held) {
            Some((symbol, length)) => {
                out.push(symbol);
                bits <<= length;
                held -= length;
            }
            None => return false,
        }
    }
}

/// A code longer than a glance at the head of `bits`, of which `held` are there.
fn longer(bits: u64, held: u32) -> Option<(u8, u32)> {
    for length in GLANCE + 1..=LONGEST as u32 {
        let code = (bits >> (64 - length)) as u32;
        let nth = code.wrapping_sub(CODE.first_code[length as usize]);
        if length <= held && nth < u32::from(CODE.count[length as usize]) {
            let place = u32::from(CODE.first_place[length as usize]) + nth;
            return Some((CODE.ordered[place as usize], length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for text in [&b""[..], b"a", b"www.example.com", b"/pkg.Service/Method", &all, &[255; 100]] {
            let (mut coded, mut back) = (Vec::new(), Vec::new());
            encode(text, &mut coded);
            assert_eq!(coded.len(), encoded_len(text));
            assert!(decode(&coded, &mut back), "{text:?}");
            assert_eq!(back, text);
        }
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 7541, C.4.1 and C.6.1
        for (text, coded) in [
            (&b"www.example.com"[..], &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..]),
            (b"302", &[0x64, 0x02]),
            (b"private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ] {
            let mut out = Vec::new();
            encode(text, &mut out);
            assert_eq!(out, coded);
        }
    }

    #[test]
    fn bad_padding_and_eos_are_refused() {
        // a whole byte of padding; padding of zeros; EOS itself
        for raw in [&[0xff][..], &[0x1f, 0xff], &[0x18], &[0xff, 0xff, 0xff, 0xff]] {
            assert!(!decode(raw, &mut Vec::new()), "{raw:?}");
        }
        assert!(decode(&[0x1f], &mut Vec::new())); // "a" and three ones
    }
}
