//! Header blocks from the peer: put together, decoded (always, since the table is the connection's), and given a meaning.

use super::data::AFTER_RESET;
use super::fault::Fault;
use super::input::{Block, unpadded};
use super::stream::{Receiving, Sending, Stream};
use super::{Connection, Role, goaway::Leaving, validate};
use crate::http2::frame::{self, Head, code, flag, kind};
use crate::http2::growth::Full;
use crate::http2::{Headers, Key};

/// A CONTINUATION frame below this size carries next to nothing...
const SMALL: usize = 256;
/// ...and nobody needs more of them than this in a row.
const MOST_SMALL: u32 = 32;
/// A header block is given up on when it is larger than the list limit by this. Below, its stream alone is refused.
const LENIENCY: usize = 4;
/// Streams that ended by the protocol while the application still works on them, or the peer has not read of it.
const LINGERING: usize = 100;

impl Connection {
    pub(super) fn on_headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let key = head.stream;
        let wrong_side = key % 2 == 0 || (self.role == Role::Client && key >= self.next);
        if key == 0 || wrong_side {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "HEADERS on a stream that the peer must not use"));
        }
        let mut fragment = unpadded(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let (priority, rest) = fragment
                .split_first_chunk::<5>()
                .ok_or(Fault::connection(code::FRAME_SIZE_ERROR, "HEADERS too short for its priority"))?;
            depends_on_itself = frame::number(priority) & frame::LARGEST_STREAM == key;
            fragment = rest;
        }
        let end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.on_block(key, end, depends_on_itself, fragment);
        }
        let fragments = fragment.to_vec();
        self.input.block = Some(Block { key, end, depends_on_itself, fragments, small: 0, since: self.now });
        Ok(())
    }

    pub(super) fn on_continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let Some(block) = &mut self.input.block else { return Ok(()) }; // checked with the head
        block.fragments.extend_from_slice(payload);
        let whole = head.has(flag::END_HEADERS);
        block.small += u32::from(payload.len() < SMALL && !whole);
        let most = LENIENCY * self.settings.max_header_list_size.max(frame::SMALLEST_MAX_SIZE) as usize;
        if block.small > MOST_SMALL || block.fragments.len() > most {
            return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "a header block without end"));
        }
        if whole {
            if let Some(block) = self.input.block.take() {
                return self.on_block(block.key, block.end, block.depends_on_itself, &block.fragments);
            }
        }
        Ok(())
    }

    fn on_block(&mut self, key: Key, end: bool, depends_on_itself: bool, block: &[u8]) -> Result<(), Fault> {
        let mut headers = Headers::with_capacity(12, 256);
        // What nobody will look at keeps the table right, and nothing else.
        let limit = if self.heeds(key) { self.settings.max_header_list_size as usize } else { 0 };
        let decoded = self
            .decoder
            .decode(block, limit, &mut headers)
            .map_err(|_| Fault::connection(code::COMPRESSION_ERROR, "a header block that cannot be decoded"))?;
        if !self.budgets.growth.spend_many(self.now, decoded.written.saturating_sub(block.len())) {
            return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "header blocks that become far more than they are"));
        }
        let fault = if decoded.too_large {
            Some((code::ENHANCE_YOUR_CALM, "received headers larger than max"))
        } else if decoded.malformed {
            Some((code::PROTOCOL_ERROR, "a field with characters that it must not have"))
        } else if depends_on_itself {
            Some((code::PROTOCOL_ERROR, "a stream that depends on itself"))
        } else {
            match self.growth.charge(headers.list_size().saturating_sub(block.len())) {
                Ok(charge) => {
                    headers.charge = charge;
                    None
                }
                Err(Full) => Some((code::ENHANCE_YOUR_CALM, "the header lists of open streams hold too much")),
            }
        };
        let Some(stream) = self.streams.get(&key) else {
            return match self.role {
                Role::Server if key > self.last_peer => {
                    let taken = self.on_request(key, end, headers, fault);
                    if !end && !self.streams.contains_key(&key) {
                        self.expect_late(self.local_window);
                    }
                    taken
                }
                _ => self.late(key, kind::HEADERS),
            };
        };
        if stream.reset_by_peer {
            return Err(Fault::stream(key, code::STREAM_CLOSED, AFTER_RESET));
        }
        if stream.view.broken.is_some() {
            return Ok(());
        }
        if stream.receiving == Receiving::Ended {
            return Err(Fault::stream(key, code::STREAM_CLOSED, "HEADERS on a stream that ended"));
        }
        if let Some((code, reason)) = fault {
            return Err(Fault::stream(key, code, reason));
        }
        match stream.receiving {
            Receiving::Head => self.on_response(key, end, headers),
            _ => self.on_trailers(key, end, headers),
        }
    }

    /// A header block on that stream means something to us.
    fn heeds(&self, key: Key) -> bool {
        match self.streams.get(&key) {
            Some(stream) => stream.view.broken.is_none() && stream.receiving != Receiving::Ended,
            None => {
                let new = self.role == Role::Server && key > self.last_peer;
                new && !matches!(self.leaving, Leaving::Final(_))
            }
        }
    }

    fn on_request(
        &mut self,
        key: Key,
        end: bool,
        headers: Headers,
        fault: Option<(u32, &'static str)>,
    ) -> Result<(), Fault> {
        self.last_peer = key;
        if let Leaving::Final(_) = self.leaving {
            self.remember(key, super::Closed::ByUs); // said in GOAWAY already
            return Ok(());
        }
        if let Some((code, reason)) = fault {
            return Err(Fault::stream(key, code, reason));
        }
        let length = validate::request(&headers).map_err(|reason| Fault::stream(key, code::PROTOCOL_ERROR, reason))?;
        let limit = self.settings.max_concurrent_streams;
        // A client does not know yet that these ended, and is told so by at most two frames each: its trailers and a
        // reset. One that takes no notice of its own limit reads no answers, or soon would not.
        let lingering = self.streams.len().max(self.output.unwritten_ends());
        if self.open >= limit || lingering >= 2 * limit as usize + LINGERING {
            self.counters.refused += 1;
            self.output.reply(kind::RST_STREAM, 0, key, &code::REFUSED_STREAM.to_be_bytes());
            self.remember(key, super::Closed::ByUs);
            return Ok(());
        }
        let window = i64::from(self.peer.initial_window);
        let mut stream = Stream::new(Sending::Open, Receiving::Body, window, self.local_window);
        stream.expected = length;
        self.streams.insert(key, stream);
        self.open += 1;
        self.counters.opened += 1;
        if end {
            self.ended_by_headers(key)?;
        }
        self.accepted.push((key, headers));
        Ok(())
    }

    fn on_response(&mut self, key: Key, end: bool, headers: Headers) -> Result<(), Fault> {
        let malformed = |reason| Fault::stream(key, code::PROTOCOL_ERROR, reason);
        let (status, length) = validate::response(&headers).map_err(malformed)?;
        if status < 200 {
            // Only a foretaste; 101 does not exist in HTTP/2.
            if end || status == 101 {
                return Err(malformed("an interim response that ends the stream"));
            }
            return self.spend_prelude("too many interim responses");
        }
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        stream.view.head = Some(headers);
        stream.receiving = Receiving::Body;
        self.answered = true;
        // These have no body, whatever length they name (RFC 9110, section 8.6).
        stream.expected = length.filter(|_| !matches!(status, 204 | 304));
        if end {
            return self.ended_by_headers(key);
        }
        self.note(key);
        Ok(())
    }

    fn on_trailers(&mut self, key: Key, end: bool, headers: Headers) -> Result<(), Fault> {
        let malformed = |reason| Fault::stream(key, code::PROTOCOL_ERROR, reason);
        if !end {
            return Err(malformed("HEADERS inside a body"));
        }
        validate::trailers(&headers).map_err(malformed)?;
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.view.trailers = Some(headers);
        }
        self.ended_by_headers(key)
    }

    fn ended_by_headers(&mut self, key: Key) -> Result<(), Fault> {
        if self.streams.get(&key).is_some_and(|stream| stream.expected.is_some_and(|left| left > 0)) {
            return Err(Fault::stream(key, code::PROTOCOL_ERROR, "less data than content-length says"));
        }
        self.received_end(key);
        Ok(())
    }
}
