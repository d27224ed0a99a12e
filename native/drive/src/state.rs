//! What a link's mutex guards: the protocol, the bytes on their way out, and who waits for what.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar};
use std::time::Instant;

use proxyless_core::http2::Outbox;
use proxyless_tls::session::Session;

use crate::fork::Blank;
use crate::listener::{Hears, OnEnd, Watcher};
use crate::protocol::{Outcome, Protocol};
use crate::socket::{self, Bell};

const READ_BUFFER: usize = 64 * 1024;
/// How much is read besides what goes right to its place: the next frame's head, and what is small behind it.
const BESIDE: usize = 4 * 1024;
/// The most that one turn reads, so that a busy peer does not starve the others.
const READ_PER_TURN: usize = 1024 * 1024;
/// At most so many pieces are written by one system call.
const PIECES: usize = 16;

thread_local! {
    /// Where received bytes stay until the protocol has them; per thread, so that an idle link costs none.
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub struct State<P: Protocol, L: Hears<P>> {
    pub protocol: P,
    /// None: plaintext.
    pub session: Option<Box<Session>>,
    /// Told of the peer's first words: only they say that it speaks the protocol, and that it has accepted our
    /// certificate, too.
    pub(super) waits_to_hear: Option<L::Callback>,
    heard: Option<Result<(), String>>,
    output: Outbox,
    /// A thread polls the socket.
    pub(super) led: bool,
    pub(super) rung: bool,
    /// Rung by others for who leads, who has it from the reactor meanwhile.
    pub(super) bell: Option<Bell>,
    /// So many threads poll the socket outside the lock.
    pub(super) polled: usize,
    /// The reactor has let go of the socket: who polls it last closes it.
    pub(super) left: bool,
    pub(super) waiters: Vec<(P::Key, Arc<Condvar>)>,
    pub(super) watchers: HashMap<P::Key, Watcher<L::Callback>>,
    /// For calls whose end somebody else hears of.
    ends: HashMap<P::Key, OnEnd<L::Callback>>,
    pub(super) on_lost: Option<L::Callback>,
    /// Client: calls for which there is no room are not taken. Their owners wait to be told of room (`when_room`).
    pub(super) on_room: Option<Arc<L::Callback>>,
    /// The connection's turnover when somebody began to wait for room.
    when_room: Option<u64>,
    pub(super) socket_dead: bool,
    /// The reactor waits for room to write.
    pub(super) blocked: bool,
    pub(super) last_turn: Instant,
    /// When the reactor looks at the link, at the latest, though nothing arrives (`timing`).
    pub(super) armed: Option<Instant>,
    /// The reactor's epoll watches the socket (always so where callers do not lead).
    pub(super) tended: bool,
    /// The reactor knows that output waits.
    pub(super) dirty: bool,
    pub(super) commands: usize,
    /// Messages wait since then for others to leave with; the reactor sees to it that they do not wait for long.
    pub(super) held_since: Option<Instant>,
    /// When messages last left without waiting.
    pub(super) sent_at: Instant,
}

impl<P: Protocol, L: Hears<P>> Blank for State<P, L> {
    /// The state of a connection that is over.
    fn blank() -> Self {
        let mut state = Self::new(P::blank(Instant::now()), None);
        state.lose();
        state
    }
}

impl<P: Protocol, L: Hears<P>> State<P, L> {
    pub(super) fn new(protocol: P, session: Option<Box<Session>>) -> Self {
        Self {
            protocol,
            session,
            waits_to_hear: None,
            heard: None,
            output: Outbox::default(),
            led: false,
            rung: false,
            bell: None,
            polled: 0,
            left: false,
            waiters: Vec::new(),
            watchers: HashMap::new(),
            ends: HashMap::new(),
            on_lost: None,
            on_room: None,
            when_room: None,
            socket_dead: false,
            blocked: false,
            last_turn: Instant::now(),
            armed: None,
            tended: false,
            dirty: false,
            commands: 0,
            held_since: None,
            sent_at: Instant::now(),
        }
    }

    pub fn watch(&mut self, key: P::Key, watcher: Watcher<L::Callback>) {
        self.watchers.insert(key, watcher);
    }

    pub fn tell_end(&mut self, key: P::Key, on_end: OnEnd<L::Callback>) {
        self.ends.insert(key, on_end);
    }

    /// Somebody is to hear how calls end, whether or not their owners wait for it.
    pub(super) fn tells_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// How the call ended, for whoever is to hear of it.
    pub fn heard_end(&mut self, key: P::Key) -> Option<L::Event> {
        let on_end = self.ends.remove(&key)?;
        Some(L::end(on_end, self.protocol.outcome(key)))
    }

    /// Client: no call can go out. One that would have to wait for a stream does so elsewhere.
    pub fn full(&self) -> bool {
        !self.protocol.usable() || (self.on_room.is_some() && self.protocol.room() == 0)
    }

    /// `on_room` is told, once, when a stream has ended or the peer has moved its limit, and there is room then.
    pub fn tell_of_room(&mut self) {
        self.when_room = Some(self.protocol.turnover());
    }

    /// Reads what is there. A short read was the last one, except where the peer's end (`to_the_end`) comes behind it.
    /// True: there may be more, for the next turn.
    pub(super) fn read(&mut self, fd: RawFd, to_the_end: bool) -> bool {
        let mut total = 0;
        RECEIVED.with_borrow_mut(|buffer| {
            buffer.resize(READ_BUFFER, 0);
            while !self.socket_dead && total < READ_PER_TURN {
                self.last_turn = Instant::now();
                match self.receive(fd, buffer, self.last_turn) {
                    Ok(None) => break,
                    Ok(Some((0, _))) | Err(_) => self.lose(),
                    Ok(Some((length, room))) => {
                        total += length;
                        if length < room && !to_the_end {
                            break;
                        }
                    }
                }
            }
        });
        L::holds(self.protocol.growth());
        total >= READ_PER_TURN && !self.socket_dead
    }

    /// Receives once; returns how much (0: the peer closed), and for how much there was room. The payload of a large
    /// message goes right to its place.
    fn receive(&mut self, fd: RawFd, buffer: &mut [u8], now: Instant) -> io::Result<Option<(usize, usize)>> {
        let landing = if self.session.is_none() { self.protocol.landing() } else { None };
        let Some((body, room)) = landing else {
            let Some(length) = socket::receive(fd, buffer)? else { return Ok(None) };
            if length > 0 {
                self.take_in(fd, &buffer[..length], now);
            }
            return Ok(Some((length, buffer.len())));
        };
        let beside = &mut buffer[..BESIDE];
        let Some((landed, length)) = socket::receive_beside(fd, body, room, beside)? else { return Ok(None) };
        if landed > 0 {
            self.protocol.landed(landed, now);
            self.take_in_opened(&beside[..length], now);
        }
        Ok(Some((landed + length, room + BESIDE)))
    }

    pub(super) fn take_in(&mut self, fd: RawFd, bytes: &[u8], now: Instant) {
        let Some(session) = &mut self.session else { return self.take_in_opened(bytes, now) };
        let mut spoke = false;
        let protocol = &mut self.protocol;
        let fed = session.feed(bytes, &mut |plain| {
            spoke = true;
            protocol.feed(plain, now);
            protocol.advance();
        });
        if fed.is_err() {
            while session.wants_write() && session.write_to(&mut socket::Outlet(fd)).is_ok() {} // the alert
            socket::shut(fd);
        }
        if spoke {
            self.note_first_words();
        }
        match fed {
            Ok(false) => {}
            Ok(true) => self.lose(),
            Err(reason) => {
                self.heard.get_or_insert(Err(reason));
                self.lose();
            }
        }
    }

    pub(super) fn take_in_opened(&mut self, bytes: &[u8], now: Instant) {
        self.protocol.feed(bytes, now);
        // Progress after each piece keeps the bytes that wait inside the protocol few.
        self.protocol.advance();
        self.note_first_words();
    }

    fn note_first_words(&mut self) {
        if self.waits_to_hear.is_some() && self.heard.is_none() {
            self.heard = Some(self.protocol.ended().map_or(Ok(()), |reason| Err(reason.to_owned())));
        }
    }

    pub(super) fn lose(&mut self) {
        self.socket_dead = true;
        if self.waits_to_hear.is_some() {
            let handshaking = self.session.as_ref().is_some_and(|session| session.handshaking());
            let when = if handshaking { "in the TLS handshake" } else { "before it said anything" };
            self.heard.get_or_insert_with(|| Err(format!("the peer closed the connection {when}")));
        }
        self.protocol.feed_eof();
        self.protocol.advance();
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.protocol.next_deadline(now).is_some() {
            self.protocol.expire(now);
            self.protocol.advance();
        }
    }

    /// Nobody leads, and nobody waits to.
    pub fn alone(&self) -> bool {
        !self.led && self.waiters.is_empty()
    }

    /// Bytes wait for room in the socket.
    pub fn unsent(&self) -> bool {
        !self.output.is_empty() || self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    pub fn flush(&mut self, fd: RawFd) -> bool {
        self.held_since = None;
        self.protocol.advance();
        if self.session.is_some() { self.flush_sealed(fd) } else { self.flush_plain(fd) }
    }

    fn flush_sealed(&mut self, fd: RawFd) -> bool {
        loop {
            while let Some(session) = self.session.as_mut().filter(|session| session.wants_write()) {
                if self.socket_dead {
                    return true;
                }
                match session.write_to(&mut socket::Outlet(fd)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(_) => self.lose(),
                }
            }
            self.protocol.take_output(&mut self.output);
            let Some(session) = &mut self.session else { return true };
            if !self.output.is_empty() {
                while !self.output.is_empty() {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let count = self.output.slices(&mut pieces);
                    let length = pieces[..count].iter().map(|piece| piece.len()).sum();
                    session.write(&pieces[..count]);
                    self.output.consume(length);
                }
                continue;
            }
            if self.protocol.ended().is_some() && !self.socket_dead {
                session.close();
                while session.wants_write() && session.write_to(&mut socket::Outlet(fd)).is_ok() {}
                socket::shut(fd);
                self.socket_dead = true;
            }
            return true;
        }
    }

    fn flush_plain(&mut self, fd: RawFd) -> bool {
        loop {
            if self.output.is_empty() {
                self.protocol.take_output(&mut self.output);
                if self.output.is_empty() {
                    if self.protocol.ended().is_some() && !self.socket_dead {
                        // Said all there was to say to a peer that broke the protocol, or that we are through with.
                        socket::shut(fd);
                        self.socket_dead = true;
                    }
                    return true;
                }
            }
            if self.socket_dead {
                self.output.clear();
                continue;
            }
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = self.output.slices(&mut pieces);
            match socket::send(fd, &pieces[..count]) {
                Ok(Some(n)) => self.output.consume(n),
                Ok(None) => return false,
                // The read side tells the calls: what the peer said last may still be there.
                Err(_) => self.lose(),
            }
        }
    }

    /// Wakes the threads whose calls changed and collects what to tell the watchers of the others.
    pub(super) fn spread(&mut self) -> Vec<L::Event> {
        let mut events = Vec::new();
        // First of all: a call that is told its end may be sent anew, and must not find this link again.
        if !self.protocol.usable() {
            if let Some(callback) = self.on_lost.take() {
                events.push(L::lost(callback));
            }
            self.on_room = None;
        }
        if let (Some(before), Some(callback)) = (self.when_room, &self.on_room) {
            if self.protocol.turnover() != before && self.protocol.room() > 0 {
                self.when_room = None;
                events.push(L::changed(callback.clone()));
            }
        }
        if let Some(heard) = self.heard.take() {
            if let Some(callback) = self.waits_to_hear.take() {
                events.push(L::heard(callback, heard.err()));
            }
        }
        for key in self.protocol.take_changed() {
            for (_, sleep) in self.waiters.iter().filter(|(waiting, _)| *waiting == key) {
                sleep.notify_one();
            }
            if self.watchers.is_empty() && self.ends.is_empty() {
                continue; // as where callers wait in threads
            }
            let finished = self.protocol.call(key).is_none_or(P::finished);
            // `OnEnd` hears of the end before the call's owner, who may send it anew.
            match self.watchers.get(&key) {
                Some(Watcher::Outcome(_)) if finished => {
                    if let Some(Watcher::Outcome(callback)) = self.watchers.remove(&key) {
                        let on_end = self.ends.remove(&key);
                        let outcome = self.protocol.take_outcome(key);
                        events.extend(on_end.map(|on_end| L::end(on_end, outcome.without_message())));
                        events.push(L::outcome(callback, outcome));
                    }
                }
                Some(Watcher::Change(callback)) => {
                    let change = L::changed(callback.clone());
                    if finished {
                        events.extend(self.heard_end(key));
                        self.watchers.remove(&key); // not its last owner: the event has it
                    }
                    events.push(change);
                }
                _ if finished => events.extend(self.heard_end(key)),
                _ => {}
            }
        }
        events
    }
}
