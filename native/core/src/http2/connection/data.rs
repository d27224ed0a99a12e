//! DATA from the peer, and the windows that it may fill. A stream's bytes count as held until its owner asks for more;
//! held bytes are what both windows withhold.

use std::time::Instant;

use bytes::BytesMut;

use super::Connection;
use super::bandwidth::PROBE;
use super::fault::Fault;
use super::input::unpadded;
use super::stream::{Receiving, Sending};
use crate::http2::Key;
use crate::http2::frame::{self, Head, code, flag, kind, setting};

/// Reading less than this right to its place saves less than the second piece of a vectored read costs.
const WORTH_LANDING: usize = 8 * 1024;
/// How much of the connection's window one stream's may grow to: a 64th.
const STREAM_SHARE: i64 = 64;
/// How much of it streams may have together beyond the window that all begin with, a quarter: what the line carries it
/// carries for all of them, and slow readers, who fill theirs, must leave room for who is not slow.
const WIDE_SHARE: i64 = 4;

/// What may be on its way at most, on streams that ended here one after the other: the connection's window, which is
/// topped up meanwhile, says nothing about that.
const MOST_LATE: i64 = 256 << 20;
/// So much may come late over a connection's life for no good reason: a peer that miscounts loses its stream only.
pub const LATE_LENIENCY: i64 = 1 << 20;

pub const AFTER_RESET: &str = "a frame on a stream that the peer has reset";

impl Connection {
    pub(super) fn on_data(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        let data = unpadded(head, payload)?;
        self.admit(head.stream, head.length, data.len())?;
        let padding = (head.length - data.len()) as i64;
        if padding > 0 {
            // Nobody needs to ask for the room that padding took.
            if let Some(stream) = self.streams.get_mut(&head.stream).filter(|stream| stream.view.broken.is_none()) {
                stream.held -= padding;
                self.held -= padding;
                self.let_in(head.stream, 0);
            }
        }
        self.deliver(head.stream, data, head.has(flag::END_STREAM))
    }

    /// A DATA frame of that length (padding included), with so much data, comes: may it, and is there room for it?
    pub(super) fn admit(&mut self, key: Key, length: usize, data: usize) -> Result<(), Fault> {
        let size = length as i64;
        if key == 0 || (!self.streams.contains_key(&key) && self.idle(key)) {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "DATA without a stream"));
        }
        if size > self.recv_window {
            return Err(Fault::connection(code::FLOW_CONTROL_ERROR, "DATA beyond the connection's window"));
        }
        self.recv_window -= size;
        let Some(stream) = self.streams.get_mut(&key) else {
            self.late(key, kind::DATA)?;
            return self.came_late(size);
        };
        if stream.view.broken.is_some() {
            if stream.reset_by_peer {
                self.top_up();
                return Err(Fault::stream(key, code::STREAM_CLOSED, AFTER_RESET));
            }
            return self.came_late(size);
        }
        let fault = match stream.receiving {
            Receiving::Head => Some((code::PROTOCOL_ERROR, "DATA before the response's head")),
            Receiving::Ended => Some((code::STREAM_CLOSED, "DATA on a stream that ended")),
            Receiving::Body if size > stream.recv_window.max(0) => {
                Some((code::FLOW_CONTROL_ERROR, "DATA beyond the stream's window"))
            }
            Receiving::Body => None,
        };
        if let Some((code, reason)) = fault {
            self.top_up();
            return Err(Fault::stream(key, code, reason));
        }
        stream.recv_window -= size;
        stream.held += size;
        self.held += size;
        if let Some(left) = &mut stream.expected {
            let Some(less) = left.checked_sub(data as u64) else {
                return Err(Fault::stream(key, code::PROTOCOL_ERROR, "more data than content-length says"));
            };
            *left = less;
        }
        if self.bandwidth.received(size, self.local_window, self.now) {
            self.ping(PROBE);
        }
        Ok(())
    }

    /// DATA on a stream that is over on this side. Its sender may not have known yet; what was on its way then, the
    /// stream's window held. More than that is sent by who does not care.
    fn came_late(&mut self, size: i64) -> Result<(), Fault> {
        self.late_window -= size.max(1);
        if self.late_window < 0 {
            return Err(Fault::connection(code::FLOW_CONTROL_ERROR, "DATA without end on streams that are over"));
        }
        self.top_up();
        Ok(())
    }

    /// A stream ends on this side before its peer has ended it: so much may be on its way.
    pub(super) fn expect_late(&mut self, window: i64) {
        let not_acknowledged = if self.greeting_acknowledged { 0 } else { i64::from(self.settings.stream_window) };
        let one_that_ends_it = 1;
        self.late_window = (self.late_window + window.max(not_acknowledged) + one_that_ends_it).min(MOST_LATE);
    }

    /// A piece of a DATA frame that was admitted.
    pub(super) fn deliver(&mut self, key: Key, piece: &[u8], end: bool) -> Result<(), Fault> {
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        if stream.view.broken.is_some() {
            return Ok(());
        }
        if piece.is_empty() && !end {
            self.counters.empty_frames += 1;
            if !self.budgets.empty.spend(self.now) {
                return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "too many empty DATA frames"));
            }
            return Ok(());
        }
        if stream.view.body.is_empty() && stream.view.body.capacity() < piece.len() {
            stream.view.body = BytesMut::with_capacity(piece.len());
        }
        stream.view.body.extend_from_slice(piece);
        self.delivered(key, end)
    }

    /// Where the next bytes of the wire belong, and how many of them, if that is known and room is made: a socket can be
    /// read right into it. `landed` is due for what was appended.
    pub fn landing(&mut self) -> Option<(&mut BytesMut, usize)> {
        let (key, left) = self.arriving()?;
        let view = &mut self.streams.get_mut(&key)?.view;
        let room = left.min(view.body.capacity() - view.body.len());
        (view.broken.is_none() && room >= WORTH_LANDING).then_some((&mut view.body, room))
    }

    pub fn landed(&mut self, length: usize, now: Instant) {
        self.now = now;
        let Some((key, end)) = self.arrived(length) else { return };
        if let Err(fault) = self.delivered(key, end) {
            self.give_up(fault);
        }
    }

    /// The body of a stream that is not broken has grown.
    fn delivered(&mut self, key: Key, end: bool) -> Result<(), Fault> {
        if end {
            let Some(stream) = self.streams.get(&key) else { return Ok(()) };
            if stream.expected.is_some_and(|left| left > 0) {
                return Err(Fault::stream(key, code::PROTOCOL_ERROR, "less data than content-length says"));
            }
            self.received_end(key);
        } else {
            self.note(key);
        }
        Ok(())
    }

    /// The peer's side of the stream ended regularly.
    pub(super) fn received_end(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let was_open = stream.open();
        stream.receiving = Receiving::Ended;
        stream.view.ended = true;
        if was_open && !stream.open() {
            self.closed_one();
        }
        self.note(key);
    }

    /// The stream's owner has looked at all that arrived and asks for more: at least for `missing` bytes, if it knows.
    /// The peer gets the room back, and enough for those however small the window is.
    pub fn release(&mut self, key: Key, missing: usize) {
        let Some(stream) = self.streams.get(&key) else { return };
        if missing > 0 {
            self.widen((stream.view.body.len() + missing) as i64);
        }
        let Some(stream) = self.streams.get_mut(&key) else { return };
        self.held -= std::mem::take(&mut stream.held);
        self.make_room(key, (missing as i64).min(frame::LARGEST_WINDOW));
    }

    /// The stream's owner has taken some of what arrived, and the peer gets the room of that back.
    pub fn taken(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let taken = stream.held - stream.view.body.len() as i64;
        if taken > 0 {
            stream.held -= taken;
            self.held -= taken;
            self.make_room(key, 0);
        }
    }

    /// Who is read has as much on the way as the line can carry; who is not keeps to the window that all begin with.
    fn make_room(&mut self, key: Key, missing: i64) {
        let Some(stream) = self.streams.get(&key) else { return };
        let most = i64::from(self.settings.connection_window) / WIDE_SHARE;
        let others = self.wide - stream.wide;
        let carried = self.bandwidth.product().min(self.local_window + (most - others).max(0));
        self.let_in(key, missing.max(carried));
        self.top_up();
    }

    /// Gives the stream's room back that nobody holds, half a window at a time.
    fn let_in(&mut self, key: Key, at_least: i64) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        // The peer knows nothing yet of a stream that waits for its turn.
        if stream.sending == Sending::Waiting || stream.receiving == Receiving::Ended || stream.view.broken.is_some() {
            return;
        }
        let target = self.local_window.max(at_least);
        let room = target - stream.held - stream.recv_window;
        if room >= (self.local_window / 2).max(1) {
            stream.recv_window += room;
            let wide = target - self.local_window;
            self.wide += wide - std::mem::replace(&mut stream.wide, wide);
            self.output.frame(kind::WINDOW_UPDATE, 0, key, &(room as u32).to_be_bytes());
            self.strikes.forgive();
        }
    }

    /// A message that does not fit a stream's window makes its sender wait for more room, every time: from here on the
    /// window holds two of them, as far as the connection's window allows (memory stays bounded by that one).
    fn widen(&mut self, message: i64) {
        let most = i64::from(self.settings.connection_window) / STREAM_SHARE;
        if message <= self.local_window || most <= self.local_window || !self.greeting_acknowledged {
            return;
        }
        let wanted = (2 * message as u64).next_power_of_two().min(most as u64) as i64;
        let by = wanted - self.local_window;
        if self.streams.values().any(|stream| stream.recv_window + by > frame::LARGEST_WINDOW) {
            return;
        }
        self.local_window = wanted;
        self.expect_late(by * STREAM_SHARE); // on streams that ended here and, for the peer, have not yet
        self.streams.values_mut().for_each(|stream| stream.recv_window += by);
        let value = (wanted as u32).to_be_bytes();
        self.output.frame(kind::SETTINGS, 0, 0, &[&setting::INITIAL_WINDOW_SIZE.to_be_bytes()[..], &value].concat());
        self.settings_owed += 1;
    }

    /// Gives back the connection's room that nobody holds, half a window at a time.
    pub(super) fn top_up(&mut self) {
        let whole = i64::from(self.settings.connection_window.max(frame::DEFAULT_WINDOW));
        let room = whole - self.held - self.recv_window;
        if room >= whole / 2 && self.ended.is_none() {
            self.recv_window += room;
            self.output.frame(kind::WINDOW_UPDATE, 0, 0, &(room as u32).to_be_bytes());
        }
    }
}
