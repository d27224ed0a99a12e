//! How a hub takes connections in: accepted, greeted where a port asks for it, and then a link.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fork::Descriptor;
use super::gate::Security;
use super::greetings::Greeted;
use super::hub::{GREETINGS, Hub, ServerSettings, Turn};
use super::news::News;
use super::socket;

/// A listener that found no descriptor to spare looks again after this time.
const EXHAUSTED: Duration = Duration::from_millis(50);

impl Hub {
    /// The accept path: a port without a gate speaks plaintext at once, one with a gate looks at the first bytes.
    pub(super) fn welcome(self: &Arc<Self>, socket: Descriptor, settings: ServerSettings, turn: &mut Turn) {
        match &settings.gate {
            None => {
                let connection = settings.connection();
                // Without a descriptor to spare the connection is dropped; its client tries again.
                let _ = self.adopt(socket, connection, Security::default(), false, &[]);
            }
            Some(gate) => {
                let before = gate.before_handshakes();
                let token = self.next_token();
                if self.epoll.add(socket.fd(), libc::EPOLLIN, token).is_err() {
                    return; // as above
                }
                let until = self.greetings.lock().begin(&self.epoll, token, socket, settings);
                if let Some(until) = until {
                    self.look_at(GREETINGS, None, until);
                }
                if let Some(callback) = before {
                    turn.news.push(News::Change(callback)); // told before the next turn, which reads
                } else {
                    let greeted = self.greetings.lock().turn(&self.epoll, token); // its bytes may be there
                    self.greeted(greeted, turn);
                }
            }
        }
    }

    pub(super) fn greeted(self: &Arc<Self>, greeted: Greeted, turn: &mut Turn) {
        match greeted {
            Greeted::NotYet => {}
            Greeted::Refused(news) => turn.news.push(news),
            Greeted::Opened { socket, settings, security, first } => {
                let connection = settings.connection();
                if let Ok(link) = self.adopt(socket, connection, security, false, &first) {
                    self.turn_link(&link, true, turn);
                }
            }
        }
    }

    /// Under the lock of the members.
    pub(super) fn accept_all(
        &self,
        token: u64,
        listener: RawFd,
        settings: &ServerSettings,
        accepted: &mut Vec<(Descriptor, ServerSettings)>,
    ) {
        loop {
            match socket::accept(listener) {
                Ok(Some(socket)) => accepted.push((socket, settings.clone())),
                Ok(None) => return,
                // Out of descriptors: who has not even said hello makes room, else the listener rests.
                Err(_) if self.greetings.lock().drop_oldest(&self.epoll) => {}
                Err(_) => {
                    let _ = self.epoll.modify(listener, 0, token);
                    return self.look_at(token, None, Instant::now() + EXHAUSTED);
                }
            }
        }
    }

    /// One that rests for want of descriptors looks again.
    pub(super) fn rouse_listener(&self, token: u64, listener: RawFd) {
        let _ = self.epoll.modify(listener, libc::EPOLLIN, token);
    }
}
