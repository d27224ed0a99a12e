//! Accepted connections that have not yet shown what they are: few bytes each, and not for long.

use std::collections::{HashMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxyless_tls::chains::Arriving;
use proxyless_tls::protocol_detection::{Opened, ProtocolDetection};

use crate::fork::Descriptor;
use crate::listener::Listener;
use crate::port::Port;
use crate::port_policy::{Admission, LinkSecurity};
use crate::socket::{self, Epoll};

/// How long a client may take to show what it is and to finish its handshake (Envoy's default transport socket
/// connect time-out is 10 s, too).
const LIMIT: Duration = Duration::from_secs(10);
/// How late one may be noticed, so that those that came together go together.
const GRAIN: Duration = Duration::from_millis(250);
/// More at once than this is an attack: the oldest go.
const MOST: usize = 16 * 1024;

pub struct PendingHandshakes<L: Listener> {
    by_token: HashMap<u64, PendingHandshake<L>>,
    /// In the order of their time; some are over already.
    oldest: VecDeque<(Instant, u64)>,
    /// The reactor will call `expire`.
    watched: bool,
}

struct PendingHandshake<L: Listener> {
    socket: Descriptor,
    port: Arc<Port<L>>,
    detection: ProtocolDetection,
    /// The version of the port policy's chains when it came.
    version: u64,
}

pub enum Progress<L: Listener> {
    NotYet,
    Refused(L::Event),
    Opened { socket: Descriptor, port: Arc<Port<L>>, speaks: usize, security: Box<LinkSecurity<L>>, first: Vec<u8> },
}

impl<L: Listener> Default for PendingHandshakes<L> {
    fn default() -> Self {
        Self { by_token: HashMap::new(), oldest: VecDeque::new(), watched: false }
    }
}

impl<L: Listener> PendingHandshakes<L> {
    /// Returns when `expire` is due if that is not known yet.
    pub fn begin(&mut self, epoll: &Epoll, token: u64, socket: Descriptor, port: Arc<Port<L>>) -> Option<Instant> {
        let until = Instant::now() + LIMIT;
        if self.by_token.len() >= MOST {
            self.drop_oldest(epoll);
        }
        let version = port.port_policy.as_ref().map_or(0, |port_policy| port_policy.version());
        self.by_token
            .insert(token, PendingHandshake { socket, port, detection: ProtocolDetection::default(), version });
        self.oldest.push_back((until, token));
        (!std::mem::replace(&mut self.watched, true)).then_some(until)
    }

    /// The socket is readable or writable, or may be.
    pub fn turn(&mut self, epoll: &Epoll, token: u64) -> Progress<L> {
        let Some(mut pending) = self.by_token.remove(&token) else { return Progress::NotYet };
        let chains = pending.port.chains();
        let fd = pending.socket.fd();
        let mut buffer = [0; 4096];
        loop {
            let fed = match socket::receive(fd, &mut buffer) {
                // It opened and closed: that is how some look whether anybody listens (a kubelet's tcpSocket probe).
                Ok(Some(0)) if pending.detection.unheard() => {
                    epoll.remove(fd);
                    return Progress::NotYet;
                }
                Ok(Some(0)) => Err(format!("it was closed while we waited for {}", pending.detection.waits_for())),
                Ok(Some(n)) => pending.detection.feed(&chains, &pending.port.spoken, &buffer[..n]),
                Ok(None) => break,
                Err(error) => Err(error.to_string()),
            };
            let sent = pending.detection.write_to(&mut socket::Outlet(fd));
            match fed {
                Ok(None) => {}
                Ok(Some(opened)) => {
                    if let Err(reason) = admitted(&opened, fd) {
                        return pending.refused(epoll, reason);
                    }
                    epoll.remove(fd);
                    let PendingHandshake { socket, port, version, .. } = pending;
                    let port_policy = port.port_policy.clone();
                    let admission =
                        port_policy.map(|port_policy| Admission::new(port_policy, opened.hello, opened.chain, version));
                    let security = Box::new(LinkSecurity { session: opened.session, admission });
                    let (speaks, first) = (opened.speaks, opened.first);
                    return Progress::Opened { socket, port, speaks, security, first };
                }
                Err(reason) => return pending.refused(epoll, reason),
            }
            if sent.is_err() && pending.detection.has_output() {
                break;
            }
        }
        let writable = if pending.detection.has_output() { libc::EPOLLOUT } else { 0 };
        let _ = epoll.modify(fd, libc::EPOLLIN | writable, token);
        self.by_token.insert(token, pending);
        Progress::NotYet
    }

    /// Ends those whose time is over; returns when the next is due.
    pub fn expire(&mut self, epoll: &Epoll, now: Instant) -> (Vec<L::Event>, Option<Instant>) {
        let mut late = Vec::new();
        while let Some((until, token)) = self.oldest.front().copied() {
            let Some(pending) = self.by_token.remove(&token) else {
                self.oldest.pop_front();
                continue;
            };
            if until > now {
                self.by_token.insert(token, pending);
                return (late, Some(until.max(now + GRAIN)));
            }
            self.oldest.pop_front();
            let reason = format!("after {} s we still waited for {}", LIMIT.as_secs(), pending.detection.waits_for());
            if let Progress::Refused(event) = pending.refused(epoll, reason) {
                late.push(event);
            }
        }
        self.watched = false;
        (late, None)
    }

    /// False: there is none.
    pub fn drop_oldest(&mut self, epoll: &Epoll) -> bool {
        while let Some((_, token)) = self.oldest.pop_front() {
            if let Some(pending) = self.by_token.remove(&token) {
                epoll.remove(pending.socket.fd());
                return true;
            }
        }
        false
    }
}

/// Whether the chain that took a connection lets it in, now that all is known of it.
fn admitted(opened: &Opened, fd: RawFd) -> Result<(), String> {
    let Some(admits) = &opened.chain.admits else { return Ok(()) };
    let arriving = Arriving {
        peer: &socket::peer_name(fd),
        local: &socket::local_name(fd),
        server_name: opened.hello.server_name.as_deref(),
        session: opened.session.as_deref(),
    };
    admits(&arriving).map_err(|why| format!("{}: {why}", opened.chain.name))
}

impl<L: Listener> PendingHandshake<L> {
    fn refused(self, epoll: &Epoll, reason: String) -> Progress<L> {
        let fd = self.socket.fd();
        epoll.remove(fd);
        let peer = socket::peer_name(fd);
        socket::shut(fd);
        match &self.port.port_policy {
            Some(port_policy) => Progress::Refused(L::refused(port_policy.on_refused.clone(), peer, reason)),
            None => Progress::NotYet,
        }
    }
}
