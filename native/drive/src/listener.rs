//! The one who is told of what no thread waits for: Python, or a test. Events are made under a link's lock and told
//! outside it.

use std::sync::Arc;
use std::time::Instant;

use proxyless_tls::protocol_detection::Taken;
use proxyless_tls::session::Session;

use crate::protocol::Protocol;

/// What is told of connections, whatever they carry. The functions that make events call nothing of the listener's.
pub trait Listener: Sized + Send + Sync + 'static {
    /// What was given to be told something.
    type Callback: Send + Sync + 'static;
    /// Something to tell somebody.
    type Event: Send + 'static;
    /// A call that came in, for whoever answers it.
    type Accepted: Send + 'static;

    fn changed(callback: Arc<Self::Callback>) -> Self::Event;
    /// No new call can be put on the connection any more.
    fn lost(callback: Self::Callback) -> Self::Event;
    /// The peer has said its first words, or will not for this reason.
    fn heard(callback: Self::Callback, problem: Option<String>) -> Self::Event;
    /// A connection was not let in: its peer, and why.
    fn refused(callback: Arc<Self::Callback>, peer: String, reason: String) -> Self::Event;
    fn admitted(callback: Arc<Self::Callback>, connection: Arc<dyn ConnectionInfo>) -> Self::Event;

    fn tell(events: Vec<Self::Event>);

    /// So many bytes of small blocks are held by what was just read.
    fn holds(_bytes: usize) {}
}

/// What can be asked of a connection, whatever it carries.
pub trait ConnectionInfo: Send + Sync {
    /// The peer's address.
    fn peer(&self) -> &str;
    /// What TLS says of it; None: plaintext.
    fn look_at_session(&self, look: &mut dyn FnMut(Option<&Session>));
    /// Server: that it came in by; None on a port without a port policy.
    fn chain(&self) -> Option<&Taken>;
    /// Server: what the client asked for.
    fn server_name(&self) -> Option<&str>;
}

/// What is told of the calls of one protocol.
pub trait Hears<P: Protocol>: Listener {
    fn outcome(callback: Self::Callback, outcome: P::Outcome) -> Self::Event;
    fn end(on_end: OnEnd<Self::Callback>, outcome: P::Outcome) -> Self::Event;
}

/// The one who is told of a call's changes when no thread waits for it.
pub enum Watcher<C> {
    /// Once, with the whole outcome of a call whose messages nobody receives one by one.
    Outcome(C),
    /// At each change, without arguments.
    Change(Arc<C>),
}

/// Another one than the call's maker, who hears how it ended: once, also where the maker is gone.
pub struct OnEnd<C> {
    pub callback: C,
    began: Instant,
}

impl<C> OnEnd<C> {
    pub fn new(callback: C) -> Self {
        Self { callback, began: Instant::now() }
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

pub fn tell_all<L: Listener>(events: Vec<L::Event>) {
    if !events.is_empty() {
        L::tell(events);
    }
}
