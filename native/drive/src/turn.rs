//! What one look of a reactor at its links has brought.

use crate::listener::Listener;

pub struct Turn<L: Listener> {
    pub accepted: Vec<L::Accepted>,
    pub events: Vec<L::Event>,
    /// Connections that are not open yet and have something to say.
    pub(super) handshakes: Vec<u64>,
}

impl<L: Listener> Default for Turn<L> {
    fn default() -> Self {
        Self { accepted: Vec::new(), events: Vec::new(), handshakes: Vec::new() }
    }
}

impl<L: Listener> Turn<L> {
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.events.is_empty()
    }
}
