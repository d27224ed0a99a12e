//! gRPC's length-prefixed messages: one byte of flags, four of length, the payload.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::encoding::Encoding;

const PREFIX: usize = 5;
const ON_TRUST: usize = 1024 * 1024;

pub fn encode(payload: &[u8]) -> Bytes {
    framed(0, payload)
}

/// The same, compressed where that makes it smaller.
pub fn encode_as(encoding: Encoding, payload: &[u8]) -> Bytes {
    match encoding.compress(payload) {
        Some(compressed) => framed(1, &compressed),
        None => framed(0, payload),
    }
}

fn framed(flags: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX + payload.len());
    out.put_u8(flags);
    // A message over 4 GiB cannot be said in gRPC; the Python side refuses it before it comes here.
    out.put_u32(payload.len() as u32);
    out.put_slice(payload);
    out.freeze()
}

#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Flagged as compressed, though the call's head names no encoding.
    NotEncoded,
    Undecodable(Encoding),
    TooLarge {
        length: usize,
        limit: usize,
    },
    Flags(u8),
}

/// A message as it came; still compressed where it says so.
pub struct Message {
    pub compressed: bool,
    pub payload: Bytes,
}

/// Cuts messages out of a body that arrives in any pieces.
pub struct Assembler {
    limit: usize,
    partial: BytesMut,
    whole: VecDeque<Message>,
}

impl Assembler {
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: BytesMut::new(), whole: VecDeque::new() }
    }

    /// True between messages: a body that ends elsewhere was cut off.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.whole.is_empty()
    }

    pub fn pop(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    pub fn push(&mut self, mut chunk: Bytes) -> Result<(), Malformed> {
        if self.partial.is_empty() {
            // The common case, without a copy: whole messages in one piece.
            while let Some(length) = self.length(&chunk)? {
                if chunk.len() < PREFIX + length {
                    break;
                }
                let compressed = chunk[0] == 1;
                chunk.advance(PREFIX);
                self.whole.push_back(Message { compressed, payload: chunk.split_to(length) });
            }
            self.hold(&chunk)?;
            return Ok(());
        }
        self.hold(&chunk)?;
        while let Some(length) = self.length(&self.partial)? {
            if self.partial.len() < PREFIX + length {
                break;
            }
            let compressed = self.partial[0] == 1;
            self.partial.advance(PREFIX);
            self.whole.push_back(Message { compressed, payload: self.partial.split_to(length).freeze() });
        }
        Ok(())
    }

    /// Keeps a piece. Room for the whole message is made once its length is known, up to a megabyte on a peer's word.
    fn hold(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        if self.partial.len() < PREFIX {
            self.partial.extend_from_slice(chunk);
            if let Some(length) = self.length(&self.partial)? {
                self.partial.reserve((PREFIX + length).min(ON_TRUST).saturating_sub(self.partial.len()));
            }
        } else {
            self.partial.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        if prefix[0] > 1 {
            return Err(Malformed::Flags(prefix[0]));
        }
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > self.limit {
            return Err(Malformed::TooLarge { length, limit: self.limit });
        }
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(pieces: &[&[u8]]) -> Result<Vec<(bool, Bytes)>, Malformed> {
        let mut assembler = Assembler::new(100);
        let mut out = Vec::new();
        for piece in pieces {
            assembler.push(Bytes::copy_from_slice(piece))?;
            while let Some(message) = assembler.pop() {
                out.push((message.compressed, message.payload));
            }
        }
        Ok(out)
    }

    fn plain(messages: &[&'static [u8]]) -> Vec<(bool, Bytes)> {
        messages.iter().map(|message| (false, Bytes::from_static(message))).collect()
    }

    #[test]
    fn messages_survive_any_cut() {
        let mut wire = encode(b"one").to_vec();
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
