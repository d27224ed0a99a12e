//! The peer's SETTINGS, PING, PRIORITY and WINDOW_UPDATE.

use super::fault::Fault;
use super::stream::Sending;
use super::{Connection, Role};
use crate::http2::Key;
use crate::http2::frame::{self, Head, code, flag, kind};

impl Connection {
    pub(super) fn on_settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "SETTINGS on a stream"));
        }
        if head.has(flag::ACK) {
            return self.on_settings_acknowledged(payload);
        }
        self.counters.settings += 1;
        if !self.budgets.settings.spend(self.now) {
            return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "too many SETTINGS"));
        }
        let before = i64::from(self.peer.initial_window);
        let first = !self.greeted();
        self.peer.apply(payload, first, self.role == Role::Client)?;
        self.encoder.limit_table(self.peer.header_table_size as usize);
        self.output.reply(kind::SETTINGS, flag::ACK, 0, &[]);
        self.shift_send_windows(i64::from(self.peer.initial_window) - before)?;
        self.turnover += 1;
        self.open_waiting();
        Ok(())
    }

    /// A new initial window moves the windows of all streams, also below zero (section 6.9.2).
    fn shift_send_windows(&mut self, by: i64) -> Result<(), Fault> {
        if by == 0 {
            return Ok(());
        }
        let mut widened = Vec::new();
        for (key, stream) in &mut self.streams {
            if stream.sending == Sending::Ended || stream.view.broken.is_some() {
                continue;
            }
            stream.send_window += by;
            if stream.send_window > frame::LARGEST_WINDOW {
                return Err(Fault::connection(code::FLOW_CONTROL_ERROR, "SETTINGS let a window overflow"));
            }
            if by > 0 && !stream.queue.is_empty() {
                widened.push(*key);
            }
        }
        widened.into_iter().for_each(|key| self.line_up(key));
        Ok(())
    }

    fn on_settings_acknowledged(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if !payload.is_empty() {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "SETTINGS acknowledged with a payload"));
        }
        let Some(owed) = self.settings_owed.checked_sub(1) else {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "SETTINGS acknowledged that were not sent"));
        };
        self.settings_owed = owed;
        if std::mem::replace(&mut self.greeting_acknowledged, true) {
            return Ok(()); // a wider window counts from when it was said
        }
        let window = i64::from(self.settings.stream_window);
        let by = window - self.local_window;
        if by != 0 {
            self.local_window = window;
            self.streams.values_mut().for_each(|stream| stream.recv_window += by);
        }
        Ok(())
    }

    pub(super) fn on_ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "PING on a stream"));
        }
        let Some(opaque) = payload.first_chunk::<8>().filter(|_| payload.len() == 8) else {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "PING of another length than eight"));
        };
        if head.has(flag::ACK) {
            self.on_pong(u64::from_be_bytes(*opaque));
            return Ok(());
        }
        self.counters.pings += 1;
        if !self.budgets.pings.spend(self.now) {
            return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "too_many_pings"));
        }
        if self.role == Role::Server {
            let (early, enough) = self.strikes.ping(self.now, self.open > 0, &self.settings.pings);
            self.counters.ping_strikes += u64::from(early);
            if enough {
                return Err(Fault::connection(code::ENHANCE_YOUR_CALM, "too_many_pings"));
            }
        }
        self.acknowledge_ping(payload);
        Ok(())
    }

    /// Priorities are ignored (section 5.3.2), but not their form.
    pub(super) fn on_priority(&mut self, key: Key, payload: &[u8]) -> Result<(), Fault> {
        if key == 0 {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "PRIORITY without a stream"));
        }
        if payload.len() != 5 {
            return Err(Fault::stream(key, code::FRAME_SIZE_ERROR, "PRIORITY of another length than five"));
        }
        if frame::number(payload) & frame::LARGEST_STREAM == key {
            return Err(Fault::stream(key, code::PROTOCOL_ERROR, "a stream that depends on itself"));
        }
        Ok(())
    }

    pub(super) fn on_window_update(&mut self, key: Key, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != 4 {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than four"));
        }
        let by = i64::from(frame::number(payload) & frame::LARGEST_STREAM);
        if key == 0 {
            if by == 0 {
                return Err(Fault::connection(code::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing"));
            }
            self.send_window += by;
            if self.send_window > frame::LARGEST_WINDOW {
                return Err(Fault::connection(code::FLOW_CONTROL_ERROR, "the connection's window overflows"));
            }
            return Ok(());
        }
        if self.idle(key) {
            return Err(Fault::connection(code::PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that nobody opened"));
        }
        let Some(stream) = self.streams.get_mut(&key).filter(|stream| stream.view.broken.is_none()) else {
            return Ok(()); // it may have been sent before the peer knew of the end
        };
        if by == 0 {
            return Err(Fault::stream(key, code::PROTOCOL_ERROR, "WINDOW_UPDATE by nothing"));
        }
        stream.send_window += by;
        if stream.send_window > frame::LARGEST_WINDOW {
            return Err(Fault::stream(key, code::FLOW_CONTROL_ERROR, "the stream's window overflows"));
        }
        if !stream.queue.is_empty() {
            self.line_up(key);
        }
        Ok(())
    }
}
