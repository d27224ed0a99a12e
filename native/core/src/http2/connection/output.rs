//! Bytes on their way out. DATA of one stream that directly follows its own is put in the same frame.

use bytes::Bytes;

use crate::http2::frame::{HEAD, Head, flag, kind};
use crate::http2::{Key, Outbox};

/// Copying less than this costs less than one more piece in a vectored write.
const WORTH_KEEPING: usize = 8 * 1024;

#[derive(Default)]
pub struct Output {
    outbox: Outbox,
    /// The DATA frame that may still grow.
    growing: Option<Growing>,
    /// Bytes that answer the peer and that it can cause at will: SETTINGS and PING acknowledged, resets.
    replies: usize,
    /// Ends of streams, regular ones and resets: those that wait here, and those that were taken and may not be written.
    ends: usize,
    ends_taken: usize,
}

struct Growing {
    stream: Key,
    /// Where its head is among the small bytes.
    at: usize,
    length: usize,
}

impl Output {
    pub fn len(&self) -> usize {
        self.outbox.len()
    }

    /// How many bytes of replies wait.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// How many ends of streams the peer cannot have seen yet.
    pub fn unwritten_ends(&self) -> usize {
        self.ends + self.ends_taken
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.growing = None;
        self.outbox.small().extend_from_slice(bytes);
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: Key, payload: &[u8]) {
        self.raw(&Head { length: payload.len(), kind, flags, stream }.bytes());
        self.raw(payload);
        self.ends += usize::from(kind == kind::RST_STREAM);
    }

    /// A frame that the peer can cause at will.
    pub fn reply(&mut self, kind: u8, flags: u8, stream: Key, payload: &[u8]) {
        self.frame(kind, flags, stream, payload);
        self.replies += HEAD + payload.len();
    }

    /// A header block, written by `encode`, in as many frames as it takes.
    pub fn headers(&mut self, stream: Key, end: bool, max_frame: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        self.growing = None;
        self.ends += usize::from(end);
        let bytes = self.outbox.small();
        let at = bytes.len();
        bytes.extend_from_slice(&[0; HEAD]);
        encode(bytes);
        let length = bytes.len() - at - HEAD;
        let end = if end { flag::END_STREAM } else { 0 };
        if length <= max_frame {
            let head = Head { length, kind: kind::HEADERS, flags: flag::END_HEADERS | end, stream };
            bytes[at..at + HEAD].copy_from_slice(&head.bytes());
            return;
        }
        let block = bytes.split_off(at + HEAD);
        bytes.truncate(at);
        let last = block.len().div_ceil(max_frame) - 1;
        for (nth, piece) in block.chunks(max_frame).enumerate() {
            let (kind, flags) = if nth == 0 { (kind::HEADERS, end) } else { (kind::CONTINUATION, 0) };
            self.frame(kind, flags | if nth == last { flag::END_HEADERS } else { 0 }, stream, piece);
        }
    }

    /// `prefix` and `data` as DATA, in one frame: together no longer than `max_frame`.
    pub fn data(&mut self, stream: Key, prefix: &[u8], data: &[u8], end: bool, max_frame: usize) {
        let bytes = self.data_head(stream, prefix.len() + data.len(), end, max_frame);
        bytes.extend_from_slice(prefix);
        bytes.extend_from_slice(data);
    }

    /// The same for data that need not be copied.
    pub fn large_data(&mut self, stream: Key, prefix: &[u8], data: Bytes, end: bool, max_frame: usize) {
        if data.len() < WORTH_KEEPING {
            return self.data(stream, prefix, &data, end, max_frame);
        }
        self.data_head(stream, prefix.len() + data.len(), end, max_frame).extend_from_slice(prefix);
        self.outbox.push(data);
    }

    /// Writes the head of a frame that holds so much more, or lengthens the last one; returns where to go on.
    fn data_head(&mut self, stream: Key, more: usize, end: bool, max_frame: usize) -> &mut Vec<u8> {
        self.ends += usize::from(end);
        let bytes = self.outbox.small();
        let (at, before) = match self.growing {
            Some(Growing { stream: same, at, length }) if same == stream && length + more <= max_frame => (at, length),
            _ => {
                bytes.extend_from_slice(&[0; HEAD]);
                (bytes.len() - HEAD, 0)
            }
        };
        let length = before + more;
        let flags = if end { flag::END_STREAM } else { 0 };
        bytes[at..at + HEAD].copy_from_slice(&Head { length, kind: kind::DATA, flags, stream }.bytes());
        self.growing = (!end).then_some(Growing { stream, at, length });
        bytes
    }

    /// Moves everything behind what is in `out`. Who takes has written what was taken before.
    pub fn take(&mut self, out: &mut Outbox) {
        self.outbox.move_to(out);
        self.growing = None;
        self.replies = 0;
        self.ends_taken = std::mem::take(&mut self.ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(output: &mut Output) -> Vec<u8> {
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        output.take(&mut outbox);
        assert!(output.len() == 0);
        outbox.write_to(&mut out);
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
    fn large_data_shares_a_frame_and_is_not_copied() {
        let mut output = Output::default();
        let large = Bytes::from(vec![7; WORTH_KEEPING]);
        output.large_data(1, b"p", large.clone(), false, 100_000);
        output.large_data(1, b"q", large.clone(), false, 100_000);
        output.data(1, b"", b"small", true, 100_000);
        let mut outbox = Outbox::default();
        output.take(&mut outbox);
        let mut slices = [std::io::IoSlice::new(&[]); 6];
        assert_eq!(outbox.slices(&mut slices), 5);
        assert_eq!([slices[1].as_ptr(), slices[3].as_ptr()], [large.as_ptr(); 2]);
        let length = (2 * (1 + WORTH_KEEPING) + 5) as u32;
        assert_eq!(slices[0][..], [&length.to_be_bytes()[1..], &[0, flag::END_STREAM, 0, 0, 0, 1, b'p']].concat());
        assert_eq!((&slices[2][..], &slices[4][..]), (&b"q"[..], &b"small"[..]));
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
