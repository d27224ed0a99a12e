//! One socket and the protocol on it, driven by whoever waits for an answer.
//!
//! Blocking callers take turns (leader/follower): one thread, the leader, polls the socket and reads for all; the
//! others sleep until their call changed or the lead is free. Whoever leaves passes the lead on. Event loops call
//! `turn` when the socket is readable. Watchers are told outside the lock.

use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::busy::BusyPoll;
use crate::fork::{Descriptor, ProcessMutex};
use crate::gate::{Admission, Security};
use crate::hub::Hub;
use crate::hub::Turn;
use crate::listener::{Hears, Listener, Watcher, tell_all};
use crate::protocol::Protocol;
use crate::socket::{self, Bell, Epoll, Polled};
use crate::state::State;
use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_core::http2::Counters;
use proxyless_tls::session::Session;

/// How long the main thread sleeps before it lets its caller look for signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);
/// How long what a loop last read says that the peer is there.
const FRESH: Duration = Duration::from_millis(1);
/// Messages of one call that follow each other within this time leave together.
const TOGETHER: Duration = Duration::from_micros(100);
/// So many bytes of them do not wait for more.
const ENOUGH: usize = 16 * 1024;
/// How long who leads waits at a time where there was no descriptor for a bell to be had.
const UNCALLED: Duration = Duration::from_millis(5);
/// A loop with many commands in one turn lets the peer begin before the turn ends.
const COMMANDS_PER_FLUSH: usize = 24;

pub enum Waited {
    Ready,
    DeadlinePassed,
    /// The main thread should run signal handlers, then wait on.
    Interrupted,
}

pub struct Link<P: Protocol, L: Hears<P>> {
    fd: Descriptor,
    pub peer: String,
    /// Callers take turns to lead. Otherwise the hub drives alone.
    callers_lead: bool,
    /// Server: by what gate it came in.
    pub admission: Option<Admission<L>>,
    /// Who looks after the link when no caller leads it, and by what name it knows it.
    hub: Weak<Hub<L>>,
    token: u64,
    /// Of the caller that leads.
    pub busy_poll: BusyPoll,
    state: ProcessMutex<State<P, L>>,
}

thread_local! {
    static SLEEP: Arc<Condvar> = Arc::new(Condvar::new());
}

impl<P: Protocol, L: Hears<P>> Link<P, L> {
    pub fn new(
        fd: Descriptor,
        protocol: P,
        security: Security<L>,
        callers_lead: bool,
        hub: Weak<Hub<L>>,
        token: u64,
    ) -> Self {
        socket::set_nodelay(fd.fd());
        Self {
            peer: socket::peer_name(fd.fd()),
            fd,
            callers_lead,
            admission: security.admission,
            hub,
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

    /// Waits outside the lock. Who holds the lock again has the result.
    fn polled<'a>(
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

    /// A call that is over changes no more: its watcher is let go, or the two would keep each other for ever. False: it is.
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

    /// The news that a command itself made (a cancelled call, a refused request).
    pub fn news(&self) -> Vec<L::News> {
        let mut state = self.lock();
        self.stir(&mut state);
        state.spread()
    }

    /// Makes the leader look again: something changed that the socket does not tell it.
    fn stir(&self, state: &mut State<P, L>) {
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

    /// Blocks until `ready` holds for the call (or it finished, or is gone). Without the GIL.
    pub fn wait(&self, key: P::Key, deadline: Option<Instant>, ready: &dyn Fn(&P::Call) -> bool) -> Waited {
        let signals = socket::on_main_thread();
        let mut state = self.lock();
        let mut interrupted = false;
        let result = loop {
            if state.protocol.call(key).is_none_or(|call| P::finished(call) || ready(call)) {
                break Waited::Ready;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break Waited::DeadlinePassed;
            }
            if interrupted {
                break Waited::Interrupted;
            }
            let until = if signals { Some(sooner(deadline, Instant::now() + SIGNAL_CHECK)) } else { deadline };
            if state.led || !self.callers_lead {
                state = self.follow(state, key, until);
            } else {
                let (next, signal) = self.lead(state, until);
                state = next;
                interrupted |= signal;
            }
            interrupted |= signals && until != deadline && until.is_some_and(|until| until <= Instant::now());
        };
        // Starting the call may have shown that the link is lost, which nobody else has seen yet.
        let news = state.spread();
        self.pass_lead_on(&mut state);
        drop(state);
        tell_all::<L>(news);
        result
    }

    fn follow<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P, L>>,
        key: P::Key,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State<P, L>> {
        let sleep = SLEEP.with(Arc::clone);
        state.waiters.push((key, sleep.clone()));
        let mut state = match until {
            None => sleep.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner()),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                sleep.wait_timeout(state, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0
            }
        };
        state.waiters.retain(|(_, other)| !Arc::ptr_eq(other, &sleep));
        state
    }

    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<P, L>>,
        until: Option<Instant>,
    ) -> (MutexGuard<'a, State<P, L>>, bool) {
        state.led = true;
        self.untend(&mut state);
        let events = if state.flush(self.fd()) { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
        if state.socket_dead {
            // Nothing will ever be read: let the protocol end its calls.
            state.read(self.fd(), false);
        }
        // A dead socket is always ready, and never has anything: then only the bell can bring news.
        let fd = if state.socket_dead { -1 } else { self.fd() };
        let alone = state.waiters.is_empty();
        let hub = self.hub.upgrade();
        state.bell = hub.as_ref().and_then(|hub| hub.lend_bell());
        let bell = state.bell.as_ref().map_or(-1, Bell::fd);
        let until = if bell < 0 { Some(sooner(until, Instant::now() + UNCALLED)) } else { until };
        let look = || match socket::poll(fd, events, bell, Some(Instant::now())) {
            Polled::TimedOut => None,
            polled => Some(polled),
        };
        let (mut state, polled) = self.polled(state, || {
            self.busy_poll.look(alone, until, look).unwrap_or_else(|| socket::poll(fd, events, bell, until))
        });
        let rung = std::mem::take(&mut state.rung);
        if let (Some(bell), Some(hub)) = (state.bell.take(), hub) {
            hub.take_bell_back(bell, rung);
        }
        if let Polled::Ready = polled {
            state.read(self.fd(), false);
            state.flush(self.fd());
        }
        state.led = false;
        let news = state.spread();
        if !news.is_empty() {
            // What is called may itself make a call on this link: nobody leads meanwhile, or somebody else.
            self.pass_lead_on(&mut state);
            drop(state);
            tell_all::<L>(news);
            state = self.lock();
        }
        (state, matches!(polled, Polled::Interrupted))
    }

    fn pass_lead_on(&self, state: &mut State<P, L>) {
        if state.led || !self.callers_lead {
            return;
        }
        match state.waiters.first() {
            Some((_, sleep)) => sleep.notify_one(),
            None if !state.watchers.is_empty() || state.tells_ends() => self.tend(state),
            None => self.leave_alone(state),
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

    /// Says hello, and lets the hub read what comes back.
    pub fn begin(&self) -> Vec<L::News> {
        let mut state = self.lock();
        if let Some(hub) = self.hub.upgrade() {
            self.flush_under(&mut state, &hub);
            self.tend(&mut state);
            self.arm(&mut state, &hub, Instant::now());
        }
        state.spread()
    }

    /// After a command that nobody will wait for: gets its bytes out and the answer looked for.
    /// True: the hub's loop should be asked to flush, which tells the news then.
    pub fn commanded(self: &Arc<Self>) -> (bool, Vec<L::News>) {
        if self.inherited() {
            return (false, Vec::new());
        }
        let mut state = self.lock();
        if let Some(hub) = self.hub.upgrade() {
            if hub.defers_flush() {
                self.arm(&mut state, &hub, Instant::now());
                // The first command of a turn goes out at once: it may be the only one, and somebody waits for it.
                let first = !std::mem::replace(&mut state.dirty, true);
                state.commands = if first { 0 } else { state.commands + 1 };
                if state.commands % COMMANDS_PER_FLUSH == 0 {
                    self.flush_under(&mut state, &hub);
                }
                return (first && hub.note_dirty(self.clone()), Vec::new());
            }
            self.flush_under(&mut state, &hub);
            self.tend(&mut state);
            self.arm(&mut state, &hub, Instant::now());
        }
        (false, state.spread())
    }

    /// Sends a message of a stream by `send`, which says whether the call goes on and nothing of it waits for the peer.
    /// True: nothing is left to do for its sender, it has left or soon will; else a flush is due. A message that
    /// `follows` others of its call, with nothing received in between, may wait a little for more of them: a system call
    /// costs several times what a small message does.
    pub fn send(self: &Arc<Self>, follows: bool, send: impl FnOnce(&mut P) -> bool) -> bool {
        let mut state = self.lock();
        let going = send(&mut state.protocol);
        let now = Instant::now();
        if going && follows && state.protocol.waiting_output() < ENOUGH {
            let begun = state.held_since;
            if now - begun.unwrap_or(state.sent_at) < TOGETHER
                && (begun.is_some() || self.hub.upgrade().is_some_and(|hub| hub.hold(self.clone())))
            {
                state.held_since = begun.or(Some(now));
                return true;
            }
        }
        state.sent_at = now;
        false
    }

    /// Writes what waits; the hub goes on when the socket has room again. The news: calls that a dead link refused.
    pub fn flush_now(&self) -> Vec<L::News> {
        let mut state = self.lock();
        state.dirty = false;
        if let Some(hub) = self.hub.upgrade() {
            self.flush_under(&mut state, &hub);
            self.arm(&mut state, &hub, Instant::now());
        }
        state.spread()
    }

    pub(super) fn flush_under(&self, state: &mut State<P, L>, hub: &Hub<L>) {
        let drained = state.flush(self.fd());
        if self.callers_lead {
            if !drained && state.led {
                self.stir(state);
            } else if !drained {
                hub.watch_once(self.fd(), self.token, true, true);
                state.tended = true;
            }
        } else if state.blocked == drained {
            state.blocked = !drained;
            hub.watch(self.fd(), self.token, !drained);
        }
    }

    /// Lets the hub read while no caller does.
    pub(super) fn tend(&self, state: &mut State<P, L>) {
        if !self.callers_lead || state.tended || state.led || state.socket_dead {
            return;
        }
        if let Some(hub) = self.hub.upgrade() {
            hub.watch_once(self.fd(), self.token, true, state.unsent());
            state.tended = true;
        }
    }

    fn untend(&self, state: &mut State<P, L>) {
        if self.callers_lead && std::mem::take(&mut state.tended) {
            if let Some(hub) = self.hub.upgrade() {
                hub.ignore(self.fd(), self.token);
            }
        }
    }

    /// The hub's turn. A socket that a caller leads is left to it. `to_the_end`: the peer has hung up.
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
        if let Some(hub) = self.hub.upgrade() {
            self.flush_under(&mut state, &hub);
            if more && !self.callers_lead {
                hub.watch(self.fd(), self.token, state.blocked); // what is there already is told of anew
            }
            if self.callers_lead && state.waiters.is_empty() {
                self.tend(&mut state);
            }
            self.arm(&mut state, &hub, now);
        }
        let accepted = state.protocol.take_accepted();
        turn.news.append(&mut state.spread());
        drop(state);
        if !accepted.is_empty() && self.admission.as_ref().is_some_and(Admission::overstays) {
            let stayed = Status::new(code::UNAVAILABLE, "told to go away, the client stayed").by(Origin::Channel);
            turn.news.append(&mut Driven::close(&**self, &stayed));
        } else {
            turn.accepted.extend(accepted.into_iter().map(|key| L::accepted(self, key)));
        }
    }

    pub(super) fn callers_lead(&self) -> bool {
        self.callers_lead
    }

    pub(super) fn hub(&self) -> Option<Arc<Hub<L>>> {
        self.hub.upgrade()
    }

    pub fn token(&self) -> u64 {
        self.token
    }

    pub fn dead(&self) -> bool {
        self.lock().socket_dead
    }
}

/// A link as its hub knows it, whatever it carries.
pub trait Driven<L: Listener>: Send + Sync {
    fn fd(&self) -> RawFd;
    fn token(&self) -> u64;
    fn peer(&self) -> &str;
    /// This side's address.
    fn local_name(&self) -> String;
    fn admission(&self) -> Option<&Admission<L>>;
    /// What TLS says of it; None: plaintext.
    fn look_at_session(&self, look: &mut dyn FnMut(Option<&Session>));
    /// What arrived before the link was made.
    fn take_in(&self, bytes: &[u8]);
    /// Something may have arrived.
    fn turn(self: Arc<Self>, to_the_end: bool, turn: &mut Turn<L>);
    /// The moment for which it was armed has come.
    fn on_time(self: Arc<Self>, turn: &mut Turn<L>);
    /// What was held leaves.
    fn let_go(&self) -> Vec<L::News>;
    fn flush_now(&self) -> Vec<L::News>;
    /// After a command that nobody will wait for: gets its bytes out and the answer looked for. True: the hub's loop
    /// should be asked to flush, which tells the news then.
    fn after_command(self: Arc<Self>) -> (bool, Vec<L::News>);
    fn dead(&self) -> bool;
    /// No new calls; it ends after those in progress.
    fn shut_down(&self);
    /// Ends it: every call ends with `status`, what waits is written if there is room, the socket is shut.
    fn close(&self, status: &Status) -> Vec<L::News>;
    /// Its hub lets go of it; returns when it was armed for.
    fn leave_hub(&self, epoll: &Epoll) -> Option<Instant>;
    fn tally(&self) -> Tally;
    fn counters(&self) -> Counters;
}

impl<P: Protocol, L: Hears<P>> Driven<L> for Link<P, L> {
    fn fd(&self) -> RawFd {
        self.fd()
    }

    fn token(&self) -> u64 {
        self.token
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn local_name(&self) -> String {
        let _own = self.lock(); // the descriptor is this link's as long as nobody lets go of it
        socket::local_name(self.fd())
    }

    fn admission(&self) -> Option<&Admission<L>> {
        self.admission.as_ref()
    }

    fn look_at_session(&self, look: &mut dyn FnMut(Option<&Session>)) {
        look(self.lock().session.as_deref());
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
    fn let_go(&self) -> Vec<L::News> {
        let mut state = self.lock();
        if let (Some(_), Some(hub)) = (state.held_since, self.hub.upgrade()) {
            self.flush_under(&mut state, &hub);
        }
        state.spread()
    }

    fn flush_now(&self) -> Vec<L::News> {
        self.flush_now()
    }

    fn after_command(self: Arc<Self>) -> (bool, Vec<L::News>) {
        self.commanded()
    }

    fn dead(&self) -> bool {
        self.dead()
    }

    fn shut_down(&self) {
        self.lock().protocol.shut_down();
    }

    fn close(&self, status: &Status) -> Vec<L::News> {
        let mut state = self.lock();
        self.stir(&mut state);
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
        let news = state.spread();
        drop(state);
        drop(unneeded);
        news
    }

    fn leave_hub(&self, epoll: &Epoll) -> Option<Instant> {
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

fn sooner(deadline: Option<Instant>, other: Instant) -> Instant {
    deadline.map_or(other, |deadline| deadline.min(other))
}
