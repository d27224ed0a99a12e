//! What a link carries, without I/O: bytes in, calls that changed; commands in, bytes out. The commands that begin and
//! answer calls are each protocol's own, and known to its users alone.
//!
//! It fits protocols whose calls have numbers (HTTP/2, framed ones with ids) and ones that answer in order, where a key
//! is the place in the row and `room` says how many may wait in it.

use std::hash::Hash;
use std::time::Instant;

use bytes::BytesMut;
use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::Status;
use proxyless_core::http2::{Counters, Outbox};

pub trait Protocol: Sized + Send + 'static {
    /// Names a call of the connection, and never another one.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Call;
    type Outcome: Outcome;

    /// A connection that is over and was never begun: what the child of a fork sees of its parent's.
    fn blank(now: Instant) -> Self;

    // ---- bytes

    fn feed(&mut self, bytes: &[u8], now: Instant);
    fn feed_eof(&mut self);

    /// Where bytes from the socket may be put right away, if that is known: into this buffer's spare room, so many at the
    /// most. `landed` is due for what was appended.
    fn landing(&mut self) -> Option<(&mut BytesMut, usize)> {
        None
    }

    fn landed(&mut self, _length: usize, _now: Instant) {}

    /// Moves all that can move, of what was fed and commanded.
    fn advance(&mut self);
    /// Appends what is to be sent, as much as a socket may take at once: ask again until nothing comes.
    fn take_output(&mut self, out: &mut Outbox);
    /// At least so many bytes wait to be taken.
    fn waiting_output(&self) -> usize;

    // ---- time

    /// When `expire` is due if nothing happens.
    fn next_deadline(&mut self, now: Instant) -> Option<Instant>;
    fn expire(&mut self, now: Instant);

    // ---- the connection

    /// New calls can be put on it.
    fn usable(&self) -> bool;
    /// Why it is over, once it is.
    fn ended(&self) -> Option<&str>;
    /// Client: so many more calls go out at once.
    fn room(&self) -> u32;
    /// Another number than before: `room` may be another one.
    fn turnover(&self) -> u64;
    /// No new calls; it ends after those in progress.
    fn shut_down(&mut self);
    /// The same without waiting for anybody.
    fn part(&mut self);
    /// Ends every call at once with the same status.
    fn end_all(&mut self, status: &Status);
    fn tally(&self) -> Tally;

    /// What its peer may have done on purpose.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// What small blocks hold that may soon be gone.
    fn growth(&self) -> usize {
        0
    }

    // ---- calls

    /// The calls that changed since the last time.
    fn take_changed(&mut self) -> Vec<Self::Key>;
    /// Server: the calls that came since the last time.
    fn take_accepted(&mut self) -> Vec<Self::Key>;
    fn call(&self, key: Self::Key) -> Option<&Self::Call>;
    fn finished(call: &Self::Call) -> bool;
    /// How the call ended, or is given up by its owner; it stays.
    fn outcome(&self, key: Self::Key) -> Self::Outcome;
    /// The same, and the connection forgets the call.
    fn take_outcome(&mut self, key: Self::Key) -> Self::Outcome;
}

/// How a call ended.
pub trait Outcome: Send + 'static {
    /// For those who do not want what was received.
    fn without_message(&self) -> Self;
}
