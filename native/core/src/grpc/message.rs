//! gRPC's length-prefixed messages: one byte of flags, four of length, the payload.

use bytes::{Buf, Bytes, BytesMut};

use super::encoding::Encoding;
use super::malformed::Malformed;

const PREFIX: usize = 5;
/// How much room is made on a peer's word, which costs it nothing; beyond that, some times what has come.
const ON_TRUST: usize = 1024 * 1024 + 64 * 1024;
const TRUST_PER_BYTE: usize = 4;

/// A message ready to be sent: gRPC's prefix, and the payload where its owner has it.
pub struct Framed {
    pub prefix: [u8; PREFIX],
    pub payload: Bytes,
}

impl Framed {
    /// Not compressed.
    pub fn plain(payload: Bytes) -> Self {
        Self::new(0, payload)
    }

    /// Compressed where that makes it smaller.
    pub fn compressed(encoding: Encoding, payload: Bytes) -> Self {
        match encoding.compress(&payload) {
            Some(compressed) => Self::new(1, compressed.into()),
            None => Self::new(0, payload),
        }
    }

    fn new(flags: u8, payload: Bytes) -> Self {
        // A message over 4 GiB cannot be said in gRPC; the Python side refuses it before it comes here.
        let [a, b, c, d] = (payload.len() as u32).to_be_bytes();
        Self { prefix: [flags, a, b, c, d], payload }
    }
}

/// A message as it came; still compressed where it says so.
pub struct Message {
    pub compressed: bool,
    pub payload: Bytes,
}

/// Cuts the next message out of a body that arrives in any pieces; None until it is whole.
pub fn cut(body: &mut BytesMut, limit: usize) -> Result<Option<Message>, Malformed> {
    let Some(length) = length(body, limit)? else { return Ok(None) };
    let whole = PREFIX + length;
    if body.len() < whole {
        // Room for all of it at once: growing means copying.
        let room = whole.min(ON_TRUST.max(TRUST_PER_BYTE * body.len()));
        body.reserve(room.saturating_sub(body.len()));
        return Ok(None);
    }
    let compressed = body[0] == 1;
    let mut payload = if body.len() == whole { std::mem::take(body) } else { body.split_to(whole) };
    payload.advance(PREFIX);
    Ok(Some(Message { compressed, payload: payload.freeze() }))
}

/// How many bytes the message that has begun is short of; 0 before its length is known.
pub fn missing(body: &[u8]) -> usize {
    let Some([_, length @ ..]) = body.first_chunk::<PREFIX>() else { return 0 };
    (PREFIX + u32::from_be_bytes(*length) as usize).saturating_sub(body.len())
}

/// What is there is less than a message.
pub fn is_partial(body: &[u8]) -> bool {
    body.len() < PREFIX || missing(body) > 0
}

/// How much of the body is whole messages, each of them as it may be (what is compressed is not looked into); a part of
/// one may follow. None: one is not as it may be.
pub fn readable(body: &[u8], limit: usize, compressed: bool) -> Option<usize> {
    let mut whole = 0;
    while let Some([flags, length @ ..]) = body[whole..].first_chunk::<PREFIX>() {
        let length = u32::from_be_bytes(*length) as usize;
        if *flags > u8::from(compressed) || length > limit {
            return None;
        }
        if body.len() - whole < PREFIX + length {
            break;
        }
        whole += PREFIX + length;
    }
    Some(whole)
}

fn length(body: &[u8], limit: usize) -> Result<Option<usize>, Malformed> {
    let Some([flags, length @ ..]) = body.first_chunk::<PREFIX>() else { return Ok(None) };
    if *flags > 1 {
        return Err(Malformed::Flags(*flags));
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > limit {
        return Err(Malformed::TooLarge { length, limit });
    }
    Ok(Some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(pieces: &[&[u8]]) -> Result<Vec<(bool, Bytes)>, Malformed> {
        let (mut body, mut out) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            body.extend_from_slice(piece);
            while let Some(message) = cut(&mut body, 100)? {
                out.push((message.compressed, message.payload));
            }
        }
        assert!(body.is_empty());
        Ok(out)
    }

    fn encode(payload: &'static [u8]) -> Vec<u8> {
        let framed = Framed::plain(Bytes::from_static(payload));
        [&framed.prefix, &framed.payload[..]].concat()
    }

    fn plain(messages: &[&'static [u8]]) -> Vec<(bool, Bytes)> {
        messages.iter().map(|message| (false, Bytes::from_static(message))).collect()
    }

    #[test]
    fn messages_survive_any_cut() {
        let mut wire = encode(b"one");
        wire.extend_from_slice(&encode(b""));
        wire.extend_from_slice(&encode(b"three"));
        for cut in 0..=wire.len() {
            let (head, tail) = wire.split_at(cut);
            assert_eq!(collect(&[head, tail]).unwrap(), plain(&[b"one", b"", b"three"]), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(collect(&bytes).unwrap(), plain(&[b"one", b"", b"three"]));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_its_bytes_come() {
        let announced = [0, 0, 0, 0, 101];
        assert_eq!(collect(&[&announced]), Err(Malformed::TooLarge { length: 101, limit: 100 }));
    }

    #[test]
    fn compressed_and_unknown_flags_are_told_apart() {
        assert_eq!(collect(&[&[1, 0, 0, 0], &[1, 9]]).unwrap(), vec![(true, Bytes::from_static(&[9]))]);
        assert_eq!(collect(&[&[2, 0, 0, 0, 0]]), Err(Malformed::Flags(2)));
    }
}
