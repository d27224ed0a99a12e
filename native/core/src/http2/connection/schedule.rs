//! Whose turn it is to send. Streams that have something to send and room in their window stand in a line; each sends a
//! share and goes to the end of it. Only as much as the socket will soon take is moved to the output, so that what waits
//! for a slow peer stays with its sender, who is told (`unsent`).

use bytes::Buf;

use super::Connection;
use super::stream::{Outgoing, Sending};
use crate::http2::Key;

/// The output is not filled beyond this by messages.
pub const MARK: usize = 256 * 1024;
/// What a stream may send before it is another's turn.
const SHARE: i64 = 64 * 1024;

enum Turn {
    /// Nothing is left to send.
    Done,
    /// More waits, and may go on at its next turn.
    Again,
    /// Its own window is used up.
    Stalled,
    /// The connection's window is used up.
    AllStalled,
}

impl Connection {
    /// Puts a stream at the end of the line, unless it stands there.
    pub(super) fn line_up(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(&key) {
            let can = stream.sending == Sending::Open && !stream.queue.is_empty() && !stream.scheduled;
            if can && (stream.send_window > 0 || stream.queue.front().is_some_and(Outgoing::is_free)) {
                stream.scheduled = true;
                self.line.push_back(key);
            }
        }
    }

    /// Moves what may be sent to the output, up to the mark.
    pub(super) fn fill(&mut self) {
        while self.output.len() < MARK {
            let Some(key) = self.line.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(&key) else { continue };
            stream.scheduled = false;
            match self.take_turn(key) {
                Turn::Again => self.line_up(key),
                Turn::Stalled => {}
                Turn::Done => {
                    if let Some(stream) = self.streams.get_mut(&key) {
                        stream.view.unsent = false;
                        self.note(key);
                    }
                }
                Turn::AllStalled => {
                    if let Some(stream) = self.streams.get_mut(&key) {
                        stream.scheduled = true;
                        self.line.push_front(key);
                    }
                    return;
                }
            }
        }
    }

    fn take_turn(&mut self, key: Key) -> Turn {
        let mut share = SHARE;
        loop {
            let Some(stream) = self.streams.get_mut(&key) else { return Turn::Done };
            let max_frame = self.peer.max_frame_size as usize;
            match stream.queue.front_mut() {
                None => return Turn::Done,
                Some(Outgoing::Trailers(trailers)) => {
                    let trailers = std::mem::take(trailers);
                    stream.queue.clear();
                    self.send_trailers_now(key, &trailers);
                    return Turn::Done;
                }
                Some(Outgoing::Data { prefix, data, end }) => {
                    let length = prefix.len() + data.len();
                    let room = stream.send_window.min(self.send_window).min(share).min(max_frame as i64);
                    if room <= 0 && length > 0 {
                        return match (stream.send_window, self.send_window) {
                            (..=0, _) => Turn::Stalled,
                            (_, ..=0) => Turn::AllStalled,
                            _ => Turn::Again,
                        };
                    }
                    let now = length.min(room.max(0) as usize);
                    let head = prefix.split_to(prefix.len().min(now));
                    let piece = data.split_to(now - head.len());
                    let last = *end && now == length;
                    stream.send_window -= now as i64;
                    self.send_window -= now as i64;
                    share -= now as i64;
                    if now == length {
                        stream.queue.pop_front();
                    }
                    self.output.large_data(key, &head, piece, last, max_frame);
                    self.strikes.forgive();
                    if last {
                        self.sent_end(key);
                        return Turn::Done;
                    }
                }
            }
        }
    }
}

impl Outgoing {
    /// Needs no room in any window.
    fn is_free(&self) -> bool {
        match self {
            Self::Trailers(_) => true,
            Self::Data { prefix, data, .. } => !prefix.has_remaining() && !data.has_remaining(),
        }
    }
}
