//! One socket and the protocol on it, driven by whoever waits for an answer.
//!
//! Blocking callers take turns to poll it (`leading`). Event loops call `turn` when the socket is readable. Watchers are
//! told outside the lock.

use std::os::fd::RawFd;
use std::sync::{Arc, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::busy::BusyPoll;
use crate::driven::Driven;
use crate::fork::{Descriptor, ProcessMutex};
use crate::listener::{ConnectionInfo, Hears, Watcher};
use crate::port_policy::{Admission, LinkSecurity};
use crate::protocol::Protocol;
use crate::scheduler::Scheduler;
use crate::socket::{self, Epoll, Polled};
use crate::state::State;
use crate::turn::Turn;
use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_core::http2::Counters;
use proxyless_tls::protocol_detection::Taken;
use proxyless_tls::session::Session;

/// How long what a loop last read says that the peer is there.
const FRESH: Duration = Duration::from_millis(1);
/// Messages of one call that follow each other within this time leave together.
const TOGETHER: Duration = Duration::from_micros(100);
/// So many bytes of them do not wait for more.
const ENOUGH: usize = 16 * 1024;
/// A loop with many commands in one turn lets the peer begin before the turn ends.
const COMMANDS_PER_FLUSH: usize = 24;

/// A listener that takes the calls of one protocol that come in.
pub trait Answers<P: Protocol>: Hears<P> {
    fn accepted(link: &Arc<Link<P, Self>>, key: P::Key) -> Self::Accepted;
}

pub struct Link<P: Protocol, L: Answers<P>> {
    fd: Descriptor,
    pub peer: String,
    /// Callers take turns to lead. Otherwise the reactor drives alone.
    callers_lead: bool,
    /// Server: by what port policy it came in.
    pub admission: Option<Admission<L>>,
    /// The reactor's, which looks after the link when no caller leads it, and the name by which that knows it.
    scheduler: Weak<Scheduler<L>>,
    token: u64,
    /// How the caller that leads waits.
    pub busy_poll: BusyPoll,
    state: ProcessMutex<State<P, L>>,
}

impl<P: Protocol, L: Answers<P>> Link<P, L> {
    pub(super) fn new(
        fd: Descriptor,
        protocol: P,
        security: LinkSecurity<L>,
        callers_lead: bool,
        scheduler: &Arc<Scheduler<L>>,
        token: u64,
    ) -> Self {
        socket::set_nodelay(fd.fd());
        Self {
            peer: socket::peer_name(fd.fd()),
            fd,
            callers_lead,
            admission: security.admission,
            scheduler: Arc::downgrade(scheduler),
            token,
            busy_poll: BusyPoll::default(),
            state: ProcessMutex::new(State::new(protocol, security.session)),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.fd.fd()
    }

    /// Nobody will read it any more. The socket is closed at once, however long the owners of its calls go on: all that use
    /// its number do so under the lock of the state, but for those that poll it. The last of them closes it then.
    pub(super) fn leave(&self, state: &mut State<P, L>, epoll: &Epoll) {
        epoll.remove(self.fd());
        state.left = true;
        if state.polled > 0 {
            socket::shut(self.fd());
        }
        self.close_unpolled(state);
    }

    fn close_unpolled(&self, state: &State<P, L>) {
        if state.left && state.polled == 0 {
            self.fd.close();
        }
    }

    /// Waits outside the lock, and has the result under it again.
    pub(super) fn polled<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P, L>>,
        poll: impl FnOnce() -> Polled,
    ) -> (MutexGuard<'a, State<P, L>>, Polled) {
        state.polled += 1;
        drop(state);
        let polled = poll();
        let mut state = self.lock();
        state.polled = state.polled.saturating_sub(1); // in the child of a fork it is another state
        self.close_unpolled(&state);
        (state, polled)
    }

    pub fn lock(&self) -> MutexGuard<'_, State<P, L>> {
        self.state.lock()
    }

    /// It is the parent process's: this one was forked.
    pub fn inherited(&self) -> bool {
        self.state.inherited()
    }

    /// A call that is over changes no more: its watcher is let go, or each would keep the other alive. False: it is.
    pub fn watch(&self, key: P::Key, watcher: Watcher<L::Callback>) -> bool {
        let mut state = self.lock();
        let over = state.protocol.call(key).is_none_or(P::finished);
        let unneeded = if over { Some(watcher) } else { state.watchers.insert(key, watcher) };
        drop(state);
        drop(unneeded);
        !over
    }

    pub fn unwatch(&self, key: P::Key) {
        let removed = self.lock().watchers.remove(&key);
        drop(removed);
    }

    pub fn on_lost(&self, callback: L::Callback) {
        self.lock().on_lost = Some(callback);
    }

    /// Calls for which the peer has no stream free are not taken from here on; see `State::tell_of_room`.
    pub fn on_room(&self, callback: L::Callback) {
        self.lock().on_room = Some(Arc::new(callback));
    }

    /// `callback(problem | None)` once the peer has said its first words, or will not.
    pub fn on_heard(&self, callback: L::Callback) {
        self.lock().waits_to_hear = Some(callback);
    }

    // ---- bytes

    /// Writes what waits; false if the socket has no room for all of it.
    pub fn flush(&self) -> bool {
        self.lock().flush(self.fd())
    }

    /// The events that a command itself made (a cancelled call, a refused request).
    pub fn events(&self) -> Vec<L::Event> {
        let mut state = self.lock();
        self.wake_leader(&mut state);
        state.spread()
    }

    /// Makes the leader look again: something changed that the socket does not tell it.
    fn wake_leader(&self, state: &mut State<P, L>) {
        if state.led && !std::mem::replace(&mut state.rung, true) {
            state.bell.as_ref().inspect(|bell| bell.ring());
        }
    }

    // ---- driven by callers

    /// Writes what waits and blocks while the socket has no room. The leader does not wait for room on our behalf.
    pub fn flush_all(&self, until: Option<Instant>) {
        let mut state = self.lock();
        while !state.flush(self.fd()) {
            let fd = self.fd();
            let (next, polled) = self.polled(state, || socket::poll(fd, libc::POLLOUT, -1, until));
            state = next;
            if let Polled::TimedOut = polled {
                return;
            }
        }
    }

    /// Before a call is put on a link that nobody reads: what the peer said meanwhile may be that it is gone.
    /// A call that is then refused was not sent, and goes elsewhere for free.
    pub fn look_before_call(&self, state: &mut State<P, L>) {
        // A loop sees the end of a connection in its next turn; blocking links are read by nobody between calls.
        if !state.led && (self.callers_lead || state.last_turn.elapsed() > FRESH) {
            state.read(self.fd(), false);
            self.leave_alone(state);
        }
    }

    // ---- left alone

    /// Says hello, and lets the reactor read what comes back.
    pub fn begin(&self) -> Vec<L::Event> {
        let mut state = self.lock();
        if let Some(scheduler) = self.scheduler.upgrade() {
            self.flush_under(&mut state, &scheduler);
            self.tend(&mut state);
            self.arm(&mut state, &scheduler, Instant::now());
        }
        state.spread()
    }

    /// After a command that nobody will wait for: gets its bytes out and the answer looked for.
    /// True: the reactor's loop should be asked to flush, which tells the events then.
    pub fn commanded(self: &Arc<Self>) -> (bool, Vec<L::Event>) {
        if self.inherited() {
            return (false, Vec::new());
        }
        let mut state = self.lock();
        if let Some(scheduler) = self.scheduler.upgrade() {
            if scheduler.defers_flush() {
                self.arm(&mut state, &scheduler, Instant::now());
                // The first command of a turn goes out at once: it may be the only one, and somebody waits for it.
                let first = !std::mem::replace(&mut state.dirty, true);
                state.commands = if first { 0 } else { state.commands + 1 };
                if state.commands % COMMANDS_PER_FLUSH == 0 {
                    self.flush_under(&mut state, &scheduler);
                }
                return (first && scheduler.note_dirty(self.clone()), Vec::new());
            }
            self.flush_under(&mut state, &scheduler);
            self.tend(&mut state);
            self.arm(&mut state, &scheduler, Instant::now());
        }
        (false, state.spread())
    }

    /// Sends a message of a stream by `send`, which says whether the call goes on and nothing of it waits for the peer.
    /// True: nothing is left to do for its sender, it has left or soon will; else a flush is due. A message that
    /// `follows` others of its call, with nothing received in between, may wait a little for more of them: a system call
    /// costs several times what a small message does.
    pub fn send(self: &Arc<Self>, follows: bool, send: impl FnOnce(&mut P) -> bool) -> bool {
        let mut state = self.lock();
        let goes_on = send(&mut state.protocol);
        let now = Instant::now();
        if goes_on && follows && state.protocol.waiting_output() < ENOUGH {
            let begun = state.held_since;
            if now - begun.unwrap_or(state.sent_at) < TOGETHER
                && (begun.is_some() || self.scheduler.upgrade().is_some_and(|scheduler| scheduler.hold(self.clone())))
            {
                state.held_since = begun.or(Some(now));
                return true;
            }
        }
        state.sent_at = now;
        false
    }

    /// Writes what waits; the reactor goes on when the socket has room again. The events: calls that a dead link refused.
    pub fn flush_now(&self) -> Vec<L::Event> {
        let mut state = self.lock();
        state.dirty = false;
        if let Some(scheduler) = self.scheduler.upgrade() {
            self.flush_under(&mut state, &scheduler);
            self.arm(&mut state, &scheduler, Instant::now());
        }
        state.spread()
    }

    pub(super) fn flush_under(&self, state: &mut State<P, L>, scheduler: &Scheduler<L>) {
        let drained = state.flush(self.fd());
        if self.callers_lead {
            if !drained && state.led {
                self.wake_leader(state);
            } else if !drained {
                scheduler.watch_once(self.fd(), self.token, true, true);
                state.tended = true;
            }
        } else if state.blocked == drained {
            state.blocked = !drained;
            scheduler.watch(self.fd(), self.token, !drained);
        }
    }

    /// Lets the reactor read while no caller does.
    pub(super) fn tend(&self, state: &mut State<P, L>) {
        if !self.callers_lead || state.tended || state.led || state.socket_dead {
            return;
        }
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.watch_once(self.fd(), self.token, true, state.unsent());
            state.tended = true;
        }
    }

    pub(super) fn untend(&self, state: &mut State<P, L>) {
        if self.callers_lead && std::mem::take(&mut state.tended) {
            if let Some(scheduler) = self.scheduler.upgrade() {
                scheduler.ignore(self.fd(), self.token);
            }
        }
    }

    /// The reactor's turn. A socket that a caller leads is left to it. `to_the_end`: the peer has hung up.
    pub(super) fn look(self: &Arc<Self>, to_the_end: bool, turn: &mut Turn<L>) {
        let mut state = self.lock();
        if self.callers_lead {
            state.tended = false;
            if state.led {
                return;
            }
        }
        let more = state.read(self.fd(), to_the_end);
        let now = state.last_turn; // it began just now, or the socket is dead
        state.expire(now);
        if let Some(scheduler) = self.scheduler.upgrade() {
            self.flush_under(&mut state, &scheduler);
            if more && !self.callers_lead {
                scheduler.watch(self.fd(), self.token, state.blocked); // what is there already is told of anew
            }
            if self.callers_lead && state.waiters.is_empty() {
                self.tend(&mut state);
            }
            self.arm(&mut state, &scheduler, now);
        }
        let accepted = state.protocol.take_accepted();
        turn.events.append(&mut state.spread());
        drop(state);
        if !accepted.is_empty() && self.admission.as_ref().is_some_and(Admission::overstays) {
            let stayed = Status::new(code::UNAVAILABLE, "told to go away, the client stayed").by(Origin::Channel);
            turn.events.append(&mut Driven::close(&**self, &stayed));
        } else {
            turn.accepted.extend(accepted.into_iter().map(|key| L::accepted(self, key)));
        }
    }

    pub(super) fn callers_lead(&self) -> bool {
        self.callers_lead
    }

    pub(super) fn scheduler(&self) -> Option<Arc<Scheduler<L>>> {
        self.scheduler.upgrade()
    }

    pub fn token(&self) -> u64 {
        self.token
    }

    pub fn dead(&self) -> bool {
        self.lock().socket_dead
    }
}

impl<P: Protocol, L: Answers<P>> ConnectionInfo for Link<P, L> {
    fn peer(&self) -> &str {
        &self.peer
    }

    fn look_at_session(&self, look: &mut dyn FnMut(Option<&Session>)) {
        look(self.lock().session.as_deref());
    }

    fn chain(&self) -> Option<&Taken> {
        self.admission.as_ref().map(|admission| &admission.chain)
    }

    fn server_name(&self) -> Option<&str> {
        self.admission.as_ref().and_then(Admission::server_name)
    }
}

impl<P: Protocol, L: Answers<P>> Driven<L> for Link<P, L> {
    fn fd(&self) -> RawFd {
        self.fd()
    }

    fn token(&self) -> u64 {
        self.token
    }

    fn local_name(&self) -> String {
        let _own = self.lock(); // the descriptor is this link's as long as nobody lets go of it
        socket::local_name(self.fd())
    }

    fn admission(&self) -> Option<&Admission<L>> {
        self.admission.as_ref()
    }

    fn info(self: Arc<Self>) -> Arc<dyn ConnectionInfo> {
        self
    }

    fn arm(&self) {
        self.rouse(&mut self.lock());
    }

    fn take_in(&self, bytes: &[u8]) {
        self.lock().take_in_opened(bytes, Instant::now());
    }

    fn turn(self: Arc<Self>, to_the_end: bool, turn: &mut Turn<L>) {
        self.look(to_the_end, turn);
    }

    fn on_time(self: Arc<Self>, turn: &mut Turn<L>) {
        self.look_in_time(turn);
    }

    /// What was held leaves.
    fn let_go(&self) -> Vec<L::Event> {
        let mut state = self.lock();
        if let (Some(_), Some(scheduler)) = (state.held_since, self.scheduler.upgrade()) {
            self.flush_under(&mut state, &scheduler);
        }
        state.spread()
    }

    fn flush_now(&self) -> Vec<L::Event> {
        self.flush_now()
    }

    fn after_command(self: Arc<Self>) -> (bool, Vec<L::Event>) {
        self.commanded()
    }

    fn dead(&self) -> bool {
        self.dead()
    }

    fn shut_down(&self) {
        self.lock().protocol.shut_down();
    }

    fn close(&self, status: &Status) -> Vec<L::Event> {
        let mut state = self.lock();
        self.wake_leader(&mut state);
        state.protocol.end_all(status);
        state.protocol.part();
        state.flush(self.fd());
        state.lose();
        socket::shut(self.fd());
        for (_, sleep) in &state.waiters {
            sleep.notify_one();
        }
        // Told outside the lock that they are let go of: what is dropped may reach back here.
        let unneeded = (state.on_lost.take(), state.on_room.take(), state.waits_to_hear.take());
        let events = state.spread();
        drop(state);
        drop(unneeded);
        events
    }

    fn leave_reactor(&self, epoll: &Epoll) -> Option<Instant> {
        let mut state = self.lock();
        self.leave(&mut state, epoll);
        state.armed
    }

    fn tally(&self) -> Tally {
        self.lock().protocol.tally()
    }

    fn counters(&self) -> Counters {
        self.lock().protocol.counters()
    }
}
