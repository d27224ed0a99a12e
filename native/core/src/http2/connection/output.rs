//! Bytes on their way out: small things are written one behind the other, large payloads are kept as they are and sent
//! from where they lie. DATA of one stream that directly follows its own is put in the same frame.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::http2::Key;
use crate::http2::frame::{HEAD, Head, flag, kind};

/// Copying less than this costs less than one more piece in a vectored write.
const WORTH_KEEPING: usize = 4096;

#[derive(Default)]
pub struct Output {
    /// Complete pieces; what was written of the first is cut off.
    pieces: VecDeque<Bytes>,
    /// Behind the pieces.
    tail: Vec<u8>,
    /// How much of `tail` is written, once the pieces are.
    written: usize,
    len: usize,
    /// The DATA frame that may still grow: its stream and where its head is in `tail`.
    growing: Option<(Key, usize)>,
    /// Bytes that answer the peer and that it can cause at will: SETTINGS and PING acknowledged, resets.
    replies: usize,
}

impl Output {
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many bytes of replies wait.
    pub fn replies(&self) -> usize {
        self.replies
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.growing = None;
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: Key, payload: &[u8]) {
        self.raw(&Head { length: payload.len(), kind, flags, stream }.bytes());
        self.raw(payload);
    }

    /// A frame that the peer can cause at will.
    pub fn reply(&mut self, kind: u8, flags: u8, stream: Key, payload: &[u8]) {
        self.frame(kind, flags, stream, payload);
        self.replies += HEAD + payload.len();
    }

    /// A header block, written by `encode`, in as many frames as it takes.
    pub fn headers(&mut self, stream: Key, end: bool, max_frame: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        self.growing = None;
        let at = self.tail.len();
        self.tail.extend_from_slice(&[0; HEAD]);
        encode(&mut self.tail);
        let block = self.tail.len() - at - HEAD;
        let end = if end { flag::END_STREAM } else { 0 };
        if block <= max_frame {
            let head = Head { length: block, kind: kind::HEADERS, flags: flag::END_HEADERS | end, stream };
            self.tail[at..at + HEAD].copy_from_slice(&head.bytes());
            self.len += HEAD + block;
            return;
        }
        let block = self.tail.split_off(at + HEAD);
        self.tail.truncate(at);
        let last = block.len().div_ceil(max_frame) - 1;
        for (nth, piece) in block.chunks(max_frame).enumerate() {
            let (kind, flags) = if nth == 0 { (kind::HEADERS, end) } else { (kind::CONTINUATION, 0) };
            self.frame(kind, flags | if nth == last { flag::END_HEADERS } else { 0 }, stream, piece);
        }
    }

    /// `prefix` and `data` as DATA, in one frame: together no longer than `max_frame`.
    pub fn data(&mut self, stream: Key, prefix: &[u8], data: &[u8], end: bool, max_frame: usize) {
        let length = prefix.len() + data.len();
        let flags = if end { flag::END_STREAM } else { 0 };
        match self.growing {
            Some((key, at)) if key == stream && self.tail.len() - at - HEAD + length <= max_frame => {
                self.len += length;
                self.tail.extend_from_slice(prefix);
                self.tail.extend_from_slice(data);
                let head = Head { length: self.tail.len() - at - HEAD, kind: kind::DATA, flags, stream };
                self.tail[at..at + HEAD].copy_from_slice(&head.bytes());
            }
            _ => {
                self.raw(&Head { length, kind: kind::DATA, flags, stream }.bytes());
                let at = self.tail.len() - HEAD;
                self.raw(prefix);
                self.raw(data);
                self.growing = Some((stream, at));
            }
        }
        if end {
            self.growing = None;
        }
    }

    /// The same for data that need not be copied.
    pub fn large_data(&mut self, stream: Key, prefix: &[u8], data: Bytes, end: bool, max_frame: usize) {
        if data.len() < WORTH_KEEPING {
            return self.data(stream, prefix, &data, end, max_frame);
        }
        let flags = if end { flag::END_STREAM } else { 0 };
        let length = prefix.len() + data.len();
        self.raw(&Head { length, kind: kind::DATA, flags, stream }.bytes());
        self.raw(prefix);
        self.close_tail();
        self.len += data.len();
        self.pieces.push_back(data);
    }

    fn close_tail(&mut self) {
        self.growing = None;
        if self.written < self.tail.len() {
            let mut tail = Bytes::from(std::mem::take(&mut self.tail));
            tail.advance(std::mem::take(&mut self.written));
            self.pieces.push_back(tail);
        }
    }

    // ---- taken out

    /// Appends everything to `out`.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() && self.pieces.is_empty() && self.written == 0 {
            std::mem::swap(out, &mut self.tail);
        } else {
            out.reserve(self.len);
            self.pieces.drain(..).for_each(|piece| out.extend_from_slice(&piece));
            out.extend_from_slice(&self.tail[self.written..]);
        }
        self.consume(self.len);
    }

    /// Fills `slices` with the first of what waits; returns how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = &self.tail[self.written..];
        let all = self.pieces.iter().map(|piece| &piece[..]).chain((!tail.is_empty()).then_some(tail));
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// The first `count` bytes are written.
    pub fn consume(&mut self, mut count: usize) {
        self.growing = None;
        self.len -= count;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > count {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
        self.written += count;
        if self.len == 0 {
            self.tail.clear();
            self.written = 0;
            self.replies = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(output: &mut Output) -> Vec<u8> {
        let mut out = Vec::new();
        output.take(&mut out);
        assert!(output.len() == 0);
        out
    }

    #[test]
    fn data_of_one_stream_shares_a_frame() {
        let mut output = Output::default();
        output.data(1, b"p", b"one", false, 100);
        output.data(1, b"p", b"two", true, 100);
        output.data(3, b"", b"x", false, 100);
        output.data(3, b"", &[b'y'; 100], false, 100);
        let out = taken(&mut output);
        assert_eq!(out[..17], *[&[0, 0, 8, 0, 1, 0, 0, 0, 1], &b"poneptwo"[..]].concat());
        assert_eq!(out.len(), 9 + 8 + 9 + 1 + 9 + 100);
    }

    #[test]
    fn a_frame_that_was_taken_does_not_grow() {
        let mut output = Output::default();
        output.data(1, b"", b"one", false, 100);
        taken(&mut output);
        output.data(1, b"", b"two", false, 100);
        assert_eq!(taken(&mut output).len(), 9 + 3);
    }

    #[test]
    fn pieces_are_written_in_any_portions() {
        let mut whole = Output::default();
        let fill = |output: &mut Output| {
            output.frame(kind::PING, 0, 0, &[1; 8]);
            output.large_data(1, b"12345", Bytes::from(vec![7; 9000]), false, 16_384);
            output.frame(kind::PING, 0, 0, &[2; 8]);
            output.large_data(1, b"", Bytes::from(vec![8; 5000]), true, 16_384);
        };
        fill(&mut whole);
        let expected = taken(&mut whole);
        for portion in [1, 7, 17, 5000, 100_000] {
            let mut output = Output::default();
            fill(&mut output);
            let mut out = Vec::new();
            while output.len() > 0 {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = output.slices(&mut slices);
                let before = out.len();
                for slice in &slices[..count] {
                    let room = portion - (out.len() - before);
                    out.extend_from_slice(&slice[..slice.len().min(room)]);
                }
                let written = out.len() - before;
                output.consume(written);
            }
            assert!(out == expected, "in portions of {portion}");
        }
    }

    #[test]
    fn long_header_blocks_are_continued() {
        let mut output = Output::default();
        output.headers(1, true, 10, |out| out.extend_from_slice(&[9; 25]));
        let out = taken(&mut output);
        assert_eq!(out[..9], [0, 0, 10, kind::HEADERS, flag::END_STREAM, 0, 0, 0, 1]);
        assert_eq!(out[19..28], [0, 0, 10, kind::CONTINUATION, 0, 0, 0, 0, 1]);
        assert_eq!(out[38..47], [0, 0, 5, kind::CONTINUATION, flag::END_HEADERS, 0, 0, 0, 1]);
    }
}
