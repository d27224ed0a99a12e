//! How a hub takes connections in: accepted, greeted where a port asks for it, and then a link.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::fork::Descriptor;
use crate::gate::Security;
use crate::greetings::Greeted;
use crate::hub::{GREETINGS, Hub, Turn};
use crate::listener::Listener;
use crate::port::Port;
use crate::socket;

/// A listener that found no descriptor to spare looks again after this time.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// How long greetings may keep a turn from its end; one half of a handshake costs about as much.
const GREETING: Duration = Duration::from_millis(1);

impl<L: Listener> Hub<L> {
    /// The accept path: a port without a gate that speaks one protocol does so at once, others look at the first bytes.
    pub(super) fn welcome(self: &Arc<Self>, socket: Descriptor, port: Arc<Port<L>>, turn: &mut Turn<L>) {
        match port.looks() {
            false => {
                // Without a descriptor to spare the connection is dropped; its client tries again.
                let _ = port.adopt(0, self, socket, Security::default(), &[]);
            }
            true => {
                let before = port.gate.as_ref().and_then(|gate| gate.before_handshakes());
                let token = self.next_token();
                if self.epoll.add(socket.fd(), libc::EPOLLIN, token).is_err() {
                    return; // as above
                }
                let until = self.greetings.lock().begin(&self.epoll, token, socket, port);
                if let Some(until) = until {
                    self.look_at(GREETINGS, None, until);
                }
                if let Some(callback) = before {
                    turn.news.push(L::changed(callback)); // told before the next turn, which reads
                } else {
                    turn.greetings.push(token); // its bytes may be there
                }
            }
        }
    }

    /// Handshakes come behind all that goes on in open connections, and no more of them in one turn than fit into
    /// `GREETING`; the others are told of again. Calls that came in are handed over first, but not twice in a row: who is
    /// busy must not keep everybody else out.
    pub(super) fn greet(self: &Arc<Self>, turn: &mut Turn<L>) {
        let waiting = std::mem::take(&mut turn.greetings);
        let put_off =
            !waiting.is_empty() && !turn.accepted.is_empty() && !self.greetings_put_off.load(Ordering::Relaxed);
        self.greetings_put_off.store(put_off, Ordering::Relaxed);
        if put_off {
            return;
        }
        let begun = Instant::now();
        for token in waiting {
            let greeted = self.greetings.lock().turn(&self.epoll, token);
            self.greeted(greeted, turn);
            if begun.elapsed() > GREETING {
                return;
            }
        }
    }

    fn greeted(self: &Arc<Self>, greeted: Greeted<L>, turn: &mut Turn<L>) {
        match greeted {
            Greeted::NotYet => {}
            Greeted::Refused(news) => turn.news.push(news),
            Greeted::Opened { socket, port, speaks, security, first } => {
                if let Ok(link) = port.adopt(speaks, self, socket, *security, &first) {
                    if let Some(admission) = link.admission() {
                        turn.news.push(L::admitted(admission.gate.on_admitted.clone(), link.clone()));
                    }
                    self.turn_link(link, true, turn);
                }
            }
        }
    }

    /// Under the lock of the members.
    pub(super) fn accept_all(
        &self,
        token: u64,
        listener: RawFd,
        port: &Arc<Port<L>>,
        accepted: &mut Vec<(Descriptor, Arc<Port<L>>)>,
    ) {
        loop {
            match socket::accept(listener) {
                Ok(Some(socket)) => accepted.push((socket, port.clone())),
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
