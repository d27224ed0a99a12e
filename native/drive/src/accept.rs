//! How a reactor takes connections in: accepted, a pending handshake where the port asks for one, and then a link.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::driven::Driven;
use crate::fork::Descriptor;
use crate::listener::Listener;
use crate::pending_handshakes::Progress;
use crate::port::Port;
use crate::port_policy::LinkSecurity;
use crate::reactor::Reactor;
use crate::scheduler::HANDSHAKES;
use crate::socket;
use crate::turn::Turn;

/// A listener that found no descriptor to spare looks again after this time.
const EXHAUSTED: Duration = Duration::from_millis(50);
/// How long handshakes may keep a turn from its end; one half of a handshake costs about as much.
const HANDSHAKES_PER_TURN: Duration = Duration::from_millis(1);

impl<L: Listener> Reactor<L> {
    /// The accept path: a port without a port policy that speaks one protocol does so at once, others look at the first
    /// bytes.
    pub(super) fn welcome(self: &Arc<Self>, socket: Descriptor, port: Arc<Port<L>>, turn: &mut Turn<L>) {
        match port.looks() {
            false => {
                // Without a descriptor to spare the connection is dropped; its client tries again.
                let _ = self.admit(&port, 0, socket, LinkSecurity::default(), &[]);
            }
            true => {
                let before = port.port_policy.as_ref().and_then(|port_policy| port_policy.before_handshakes());
                let token = self.next_token();
                if self.scheduler.epoll.add(socket.fd(), libc::EPOLLIN, token).is_err() {
                    return; // as above
                }
                let until = self.pending_handshakes.lock().begin(&self.scheduler.epoll, token, socket, port);
                if let Some(until) = until {
                    self.scheduler.look_at(HANDSHAKES, None, until);
                }
                if let Some(callback) = before {
                    turn.events.push(L::changed(callback)); // told before the next turn, which reads
                } else {
                    turn.handshakes.push(token); // its bytes may be there
                }
            }
        }
    }

    /// Makes our end of a connection that was accepted. `first`: what was read of it already.
    fn admit(
        &self,
        port: &Port<L>,
        speaks: usize,
        socket: Descriptor,
        security: LinkSecurity<L>,
        first: &[u8],
    ) -> io::Result<Arc<dyn Driven<L>>> {
        let link = port.link(speaks, &self.scheduler, self.next_token(), socket, security);
        let link = link.ok_or(io::ErrorKind::Unsupported)?;
        self.take(link.clone(), false, first)?;
        Ok(link)
    }

    /// Handshakes come behind all that goes on in open connections, and no more of them in one turn than fit into
    /// `HANDSHAKES_PER_TURN`; the others are told of again. Calls that came in are handed over first, but not twice in a
    /// row: who is busy must not keep everybody else out.
    pub(super) fn advance_handshakes(self: &Arc<Self>, turn: &mut Turn<L>) {
        let waiting = std::mem::take(&mut turn.handshakes);
        let put_off =
            !waiting.is_empty() && !turn.accepted.is_empty() && !self.handshakes_put_off.load(Ordering::Relaxed);
        self.handshakes_put_off.store(put_off, Ordering::Relaxed);
        if put_off {
            return;
        }
        let begun = Instant::now();
        for token in waiting {
            let progress = self.pending_handshakes.lock().turn(&self.scheduler.epoll, token);
            self.advanced(progress, turn);
            if begun.elapsed() > HANDSHAKES_PER_TURN {
                return;
            }
        }
    }

    fn advanced(self: &Arc<Self>, progress: Progress<L>, turn: &mut Turn<L>) {
        match progress {
            Progress::NotYet => {}
            Progress::Refused(event) => turn.events.push(event),
            Progress::Opened { socket, port, speaks, security, first } => {
                if let Ok(link) = self.admit(&port, speaks, socket, *security, &first) {
                    if let Some(admission) = link.admission() {
                        turn.events.push(L::admitted(admission.port_policy.on_admitted.clone(), link.clone().info()));
                    }
                    self.turn_link(link, true, turn);
                }
            }
        }
    }

    /// Under the lock of the registrations.
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
                Err(_) if self.pending_handshakes.lock().drop_oldest(&self.scheduler.epoll) => {}
                Err(_) => {
                    let _ = self.scheduler.epoll.modify(listener, 0, token);
                    return self.scheduler.look_at(token, None, Instant::now() + EXHAUSTED);
                }
            }
        }
    }

    /// One that rests for want of descriptors looks again.
    pub(super) fn rouse_listener(&self, token: u64, listener: RawFd) {
        let _ = self.scheduler.epoll.modify(listener, libc::EPOLLIN, token);
    }
}
