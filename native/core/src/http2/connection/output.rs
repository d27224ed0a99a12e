//! Bytes on their way out. DATA of one stream that directly follows its own is put in the same frame.

use crate::http2::Key;
use crate::http2::frame::{HEAD, Head, flag, kind};

#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// The DATA frame that may still grow: its stream and where its head is.
    growing: Option<(Key, usize)>,
    /// Bytes that answer the peer and that it can cause at will: SETTINGS and PING acknowledged, resets.
    replies: usize,
}

impl Output {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes of replies wait.
    pub fn replies(&self) -> usize {
        self.replies
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.growing = None;
        self.bytes.extend_from_slice(bytes);
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
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEAD]);
        encode(&mut self.bytes);
        let length = self.bytes.len() - at - HEAD;
        let end = if end { flag::END_STREAM } else { 0 };
        if length <= max_frame {
            let head = Head { length, kind: kind::HEADERS, flags: flag::END_HEADERS | end, stream };
            self.bytes[at..at + HEAD].copy_from_slice(&head.bytes());
            return;
        }
        let block = self.bytes.split_off(at + HEAD);
        self.bytes.truncate(at);
        let last = block.len().div_ceil(max_frame) - 1;
        for (nth, piece) in block.chunks(max_frame).enumerate() {
            let (kind, flags) = if nth == 0 { (kind::HEADERS, end) } else { (kind::CONTINUATION, 0) };
            self.frame(kind, flags | if nth == last { flag::END_HEADERS } else { 0 }, stream, piece);
        }
    }

    /// `prefix` and `data` as DATA, in one frame: together no longer than `max_frame`.
    pub fn data(&mut self, stream: Key, prefix: &[u8], data: &[u8], end: bool, max_frame: usize) {
        let more = prefix.len() + data.len();
        let at = match self.growing {
            Some((key, at)) if key == stream && self.bytes.len() - at - HEAD + more <= max_frame => at,
            _ => {
                self.bytes.extend_from_slice(&[0; HEAD]);
                self.bytes.len() - HEAD
            }
        };
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(data);
        let flags = if end { flag::END_STREAM } else { 0 };
        let head = Head { length: self.bytes.len() - at - HEAD, kind: kind::DATA, flags, stream };
        self.bytes[at..at + HEAD].copy_from_slice(&head.bytes());
        self.growing = (!end).then_some((stream, at));
    }

    /// Appends everything to `out`; into an empty one it is not copied.
    pub fn take(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() {
            std::mem::swap(out, &mut self.bytes);
        } else {
            out.append(&mut self.bytes);
        }
        self.growing = None;
        self.replies = 0;
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
    fn long_header_blocks_are_continued() {
        let mut output = Output::default();
        output.headers(1, true, 10, |out| out.extend_from_slice(&[9; 25]));
        let out = taken(&mut output);
        assert_eq!(out[..9], [0, 0, 10, kind::HEADERS, flag::END_STREAM, 0, 0, 0, 1]);
        assert_eq!(out[19..28], [0, 0, 10, kind::CONTINUATION, 0, 0, 0, 0, 1]);
        assert_eq!(out[38..47], [0, 0, 5, kind::CONTINUATION, flag::END_HEADERS, 0, 0, 0, 1]);
    }
}
