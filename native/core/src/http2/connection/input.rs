//! Cuts the peer's bytes into frames. A frame that arrives whole is worked on where it lies; DATA is passed on piece by
//! piece; anything else that is cut is held until its end has come, which the frame size limit bounds.

use std::time::Instant;

use super::Connection;
use super::fault::Fault;
use crate::http2::Key;
use crate::http2::frame::{self, HEAD, Head, code, flag, kind};

/// Replies that the peer causes and does not read. More, and it will be told to calm down.
const MOST_REPLIES: usize = 128 * 1024;

pub struct Input {
    /// What is still missing of the preface.
    preface: &'static [u8],
    /// The peer's first SETTINGS have come.
    greeted: bool,
    /// A frame that has not come whole.
    held: Vec<u8>,
    /// A DATA frame of which more is to come.
    data: Option<Rest>,
    /// A header block of which more is to come.
    pub(super) block: Option<Block>,
    started: Instant,
}

struct Rest {
    key: Key,
    left: usize,
    end: bool,
}

pub struct Block {
    pub key: Key,
    pub end: bool,
    /// Its HEADERS frame made the stream depend on itself.
    pub depends_on_itself: bool,
    pub fragments: Vec<u8>,
    /// CONTINUATION frames that carried next to nothing.
    pub small: u32,
    pub since: Instant,
}

impl Input {
    pub fn new(preface: bool, now: Instant) -> Self {
        Self {
            preface: if preface { frame::PREFACE } else { &[] },
            greeted: false,
            held: Vec::new(),
            data: None,
            block: None,
            started: now,
        }
    }

    /// Since when the peer owes the rest of something that everything else waits for.
    pub fn waiting_since(&self) -> Option<Instant> {
        if self.greeted { self.block.as_ref().map(|block| block.since) } else { Some(self.started) }
    }

    pub fn overdue(&self) -> Fault {
        if self.greeted {
            Fault::connection(code::ENHANCE_YOUR_CALM, "the rest of a header block did not come in time")
        } else {
            Fault::connection(code::SETTINGS_TIMEOUT, "the peer did not say in time that it speaks HTTP/2")
        }
    }
}

impl Connection {
    pub(super) fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.ended.is_none() {
            if let Err(fault) = self.take_step(&mut bytes) {
                self.give_up(fault);
            }
            if self.output.replies() > MOST_REPLIES {
                self.give_up(Fault::connection(code::ENHANCE_YOUR_CALM, "replies are asked for and not read"));
            }
        }
    }

    fn take_step(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        if !self.input.preface.is_empty() {
            return self.take_preface(bytes);
        }
        if let Some((_, left)) = self.arriving() {
            let (piece, others) = bytes.split_at(left.min(bytes.len()));
            *bytes = others;
            let Some((key, end)) = self.arrived(piece.len()) else { return Ok(()) };
            return self.deliver(key, piece, end);
        }
        if self.input.held.is_empty() {
            if let Some((raw, rest)) = bytes.split_first_chunk::<HEAD>() {
                let head = Head::parse(raw);
                self.check_head(head)?;
                if let Some((payload, others)) = rest.split_at_checked(head.length) {
                    *bytes = others;
                    return self.on_frame(head, payload);
                }
                if streams(head) {
                    *bytes = rest;
                    return self.begin(head);
                }
            }
        }
        self.hold(bytes)
    }

    /// The stream whose DATA the next bytes of the wire are, and how many of them.
    pub(super) fn arriving(&self) -> Option<(Key, usize)> {
        self.input.data.as_ref().map(|rest| (rest.key, rest.left))
    }

    /// So many of them have come; true: they end the stream.
    pub(super) fn arrived(&mut self, length: usize) -> Option<(Key, bool)> {
        let rest = self.input.data.as_mut()?;
        rest.left -= length;
        let (key, end) = (rest.key, rest.end && rest.left == 0);
        if rest.left == 0 {
            self.input.data = None;
        }
        Some((key, end))
    }

    fn take_preface(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        let length = self.input.preface.len().min(bytes.len());
        let (said, others) = bytes.split_at(length);
        if said != &self.input.preface[..length] {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "the peer does not speak HTTP/2"));
        }
        self.input.preface = &self.input.preface[length..];
        *bytes = others;
        Ok(())
    }

    /// Adds to the frame that has not come whole: first its head, then the rest of it.
    fn hold(&mut self, bytes: &mut &[u8]) -> Result<(), Fault> {
        let held = &mut self.input.held;
        let whole = held.first_chunk::<HEAD>().map_or(HEAD, |raw| HEAD + Head::parse(raw).length);
        let (piece, others) = bytes.split_at((whole - held.len()).min(bytes.len()));
        let headless = held.len() < HEAD;
        held.extend_from_slice(piece);
        *bytes = others;
        let Some(head) = held.first_chunk::<HEAD>().map(Head::parse) else { return Ok(()) };
        let complete = held.len() == HEAD + head.length;
        if headless {
            self.check_head(head)?;
            if streams(head) && !complete {
                self.input.held.clear();
                return self.begin(head);
            }
        }
        if !complete {
            return Ok(());
        }
        let held = std::mem::take(&mut self.input.held);
        let result = self.on_frame(head, &held[HEAD..]);
        if held.capacity() <= 64 * 1024 {
            self.input.held = held; // its memory serves the next one, too
            self.input.held.clear();
        }
        result
    }

    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        let end = head.has(flag::END_STREAM);
        // Whatever is wrong with the stream: the frame's payload has to be passed over.
        self.input.data = Some(Rest { key: head.stream, left: head.length, end });
        self.admit(head.stream, head.length, head.length)
    }

    fn check_head(&mut self, head: Head) -> Result<(), Fault> {
        if !self.input.greeted && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "the peer does not begin with SETTINGS"));
        }
        if head.length > self.settings.max_frame_size.max(frame::SMALLEST_MAX_SIZE) as usize {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "a frame beyond the size allowed"));
        }
        match &self.input.block {
            Some(block) if head.kind != kind::CONTINUATION || head.stream != block.key => {
                Err(Fault::connection(code::PROTOCOL_ERROR, "a header block was interrupted"))
            }
            None if head.kind == kind::CONTINUATION => {
                Err(Fault::connection(code::PROTOCOL_ERROR, "CONTINUATION of nothing"))
            }
            _ => Ok(()),
        }
    }

    fn on_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        match head.kind {
            kind::DATA => self.on_data(head, payload),
            kind::HEADERS => self.on_headers(head, payload),
            kind::PRIORITY => self.on_priority(head.stream, payload),
            kind::RST_STREAM => self.on_reset(head.stream, payload),
            kind::SETTINGS => {
                self.on_settings(head, payload)?;
                self.input.greeted = true;
                Ok(())
            }
            kind::PUSH_PROMISE => Err(Fault::connection(code::PROTOCOL_ERROR, "PUSH_PROMISE, which is switched off")),
            kind::PING => self.on_ping(head, payload),
            kind::GOAWAY if head.stream != 0 => Err(Fault::connection(code::PROTOCOL_ERROR, "GOAWAY on a stream")),
            kind::GOAWAY => self.on_goaway(payload),
            kind::WINDOW_UPDATE => self.on_window_update(head.stream, payload),
            kind::CONTINUATION => self.on_continuation(head, payload),
            _ => Ok(()), // unknown kinds are ignored (section 4.1)
        }
    }

    /// The peer's first SETTINGS have come.
    pub fn greeted(&self) -> bool {
        self.input.greeted
    }
}

/// Passed on as it comes. Padded DATA waits until it is whole: rare, and its padding's length stands in front.
fn streams(head: Head) -> bool {
    head.kind == kind::DATA && !head.has(flag::PADDED)
}

/// Takes the padding off a payload (section 6.1).
pub fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    payload
        .split_first()
        .and_then(|(&padding, rest)| rest.get(..rest.len().checked_sub(usize::from(padding))?))
        .ok_or(Fault::connection(code::PROTOCOL_ERROR, "more padding than frame"))
}
