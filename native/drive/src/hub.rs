//! A set of links and listeners that one event loop, or one thread, drives through one epoll.
//!
//! An asyncio loop watches the epoll's own descriptor and calls `poll` without waiting; a thread waits inside it.
//! Links that their callers lead are watched only while nobody leads them.
//! Where a thread polls, open links have an epoll of their own inside the hub's: a thread that has answered a call may
//! `linger` on it, and has what arrives to itself meanwhile. All else stays the hub's own thread's.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::busy::BusyPoll;
use crate::fork::{Descriptor, ProcessMutex};
use crate::gate::{Gate, Security, is_new_misfit, still_fits};
use crate::greetings::Greetings;
use crate::link::{Driven, Link};
use crate::listener::{Hears, Listener};
use crate::members::{Member, Members};
use crate::port::Port;
use crate::protocol::Protocol;
use crate::socket::{self, Alarm, Bell, Epoll};
use proxyless_core::grpc::Tally;
use proxyless_core::http2::Counters;
use proxyless_core::timers::Timers;

const ALARM: u64 = 0;
const BELL: u64 = 1;
const HELD: u64 = 2;
const OPEN: u64 = 3;
/// Among the timers: connections that have not said what they are.
pub(super) const GREETINGS: u64 = 4;
const FIRST_FREE: u64 = 5;

/// So many bells are kept for those who lead next.
const SPARE_BELLS: usize = 16;
/// How long a sender that does not come back keeps what it has sent from leaving.
const HELD_AT_MOST: Duration = Duration::from_micros(200);

pub struct Hub<L: Listener> {
    pub(super) epoll: Epoll,
    /// Of threads: the open links, inside the other.
    open: Option<Open>,
    pub(super) alarm: Alarm,
    /// What the alarm is set for.
    pub(super) timers: ProcessMutex<Timers>,
    pub(super) began: Instant,
    /// How often a link was looked at because something was due, or may have been.
    pub(super) looks: AtomicU64,
    bell: Bell,
    /// For callers that lead: as many as lead at a time, not one per link.
    bells: ProcessMutex<Vec<Bell>>,
    /// An event loop flushes once per turn; without one, commands flush at once.
    defers_flush: bool,
    pub(super) members: ProcessMutex<Members<L>>,
    pub(super) greetings: ProcessMutex<Greetings<L>>,
    dirty: ProcessMutex<Vec<Arc<dyn Driven<L>>>>,
    /// Links whose messages wait for others to leave with, and what ends that.
    held: ProcessMutex<Vec<Arc<dyn Driven<L>>>>,
    held_alarm: Alarm,
    /// A thread waits in `poll`.
    waiting: AtomicBool,
    /// Calls went before greetings in the last turn.
    pub(super) greetings_put_off: AtomicBool,
    /// A thread lingers: what arrives on open links is its.
    lingering: AtomicBool,
    /// What links have carried that are over, and what their peers did.
    past: ProcessMutex<(Tally, Counters)>,
    next_token: AtomicU64,
    /// Of the threads that wait here.
    pub busy_poll: BusyPoll,
}

/// What a thread that lingers waits on.
struct Open {
    epoll: Epoll,
    /// Calls it back.
    bell: Bell,
}

impl Open {
    fn inside(outer: &Epoll) -> io::Result<Self> {
        let (epoll, bell) = (Epoll::inner()?, Bell::new()?);
        epoll.add(bell.fd(), libc::EPOLLIN, BELL)?;
        outer.add(epoll.fd(), libc::EPOLLIN, OPEN)?;
        Ok(Self { epoll, bell })
    }
}

/// What one poll brought.
pub struct Turn<L: Listener> {
    pub accepted: Vec<L::Accepted>,
    pub news: Vec<L::News>,
    /// Connections that are not open yet and have something to say.
    pub(super) greetings: Vec<u64>,
}

impl<L: Listener> Default for Turn<L> {
    fn default() -> Self {
        Self { accepted: Vec::new(), news: Vec::new(), greetings: Vec::new() }
    }
}

impl<L: Listener> Turn<L> {
    fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.news.is_empty()
    }
}

impl<L: Listener> Hub<L> {
    pub fn new(defers_flush: bool) -> io::Result<Arc<Self>> {
        let (epoll, alarm, held_alarm, bell) = (Epoll::new()?, Alarm::new()?, Alarm::new()?, Bell::new()?);
        epoll.add(alarm.fd(), libc::EPOLLIN, ALARM)?;
        epoll.add(bell.fd(), libc::EPOLLIN, BELL)?;
        epoll.add(held_alarm.fd(), libc::EPOLLIN, HELD)?;
        let open = if defers_flush { None } else { Some(Open::inside(&epoll)?) };
        Ok(Arc::new(Self {
            epoll,
            open,
            alarm,
            timers: ProcessMutex::default(),
            began: Instant::now(),
            looks: AtomicU64::new(0),
            bell,
            bells: ProcessMutex::default(),
            defers_flush,
            members: ProcessMutex::default(),
            greetings: ProcessMutex::default(),
            dirty: ProcessMutex::default(),
            held: ProcessMutex::default(),
            held_alarm,
            waiting: AtomicBool::new(false),
            greetings_put_off: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            past: ProcessMutex::default(),
            next_token: AtomicU64::new(FIRST_FREE),
            busy_poll: BusyPoll::default(),
        }))
    }

    /// As a loop knows it.
    pub fn number(&self) -> RawFd {
        self.epoll.number()
    }

    pub fn defers_flush(&self) -> bool {
        self.defers_flush
    }

    // ---- members

    /// Takes a connected socket in, and the bytes that were read from it already. With `callers_lead` it is watched
    /// only on demand.
    pub fn adopt<P: Protocol>(
        self: &Arc<Self>,
        fd: Descriptor,
        protocol: P,
        security: Security<L>,
        callers_lead: bool,
        first: &[u8],
    ) -> io::Result<Arc<Link<P, L>>>
    where
        L: Hears<P>,
    {
        let token = self.next_token();
        socket::set_nonblocking(fd.fd())?;
        let link = Arc::new(Link::new(fd, protocol, security, callers_lead, Arc::downgrade(self), token));
        let mut members = self.members.lock();
        members.by_token.insert(token, Member::Link(link.clone()));
        drop(members);
        // From here on `mark_misfits` sees it; what was replaced before that is looked at now.
        if let Some(late) = link.admission.as_ref().filter(|admission| admission.is_late()) {
            if !still_fits::<L>(&*link) {
                late.tell();
                link.lock().protocol.shut_down();
            }
        }
        if !first.is_empty() {
            link.take_in(first);
        }
        // Last of all: who is told of an arrival, whatever thread that is, is told once, and has to find all in order.
        let events = if callers_lead { 0 } else { self.arrivals() };
        if let Err(error) = self.of_links().add(link.fd(), events, token) {
            self.release(&*link);
            return Err(error);
        }
        link.arm(&mut link.lock(), self, Instant::now());
        Ok(link)
    }

    fn of_links(&self) -> &Epoll {
        self.open.as_ref().map_or(&self.epoll, |open| &open.epoll)
    }

    pub(super) fn next_token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    pub fn listen(&self, socket: Descriptor, port: Port<L>) -> io::Result<u64> {
        socket::set_nonblocking(socket.fd())?;
        let token = self.next_token();
        self.epoll.add(socket.fd(), libc::EPOLLIN, token)?;
        self.members.lock().by_token.insert(token, Member::Listener { socket, port: Arc::new(port) });
        Ok(token)
    }

    /// Closes the listeners and what has not yet begun; returns the links that are left.
    pub fn stop_listening(&self) -> Vec<Arc<dyn Driven<L>>> {
        *self.greetings.lock() = Greetings::default();
        let mut members = self.members.lock();
        members.by_token.retain(|_, member| matches!(member, Member::Link(_)));
        members.links()
    }

    pub fn links(&self) -> Vec<Arc<dyn Driven<L>>> {
        self.members.lock().links()
    }

    /// From now on the time counts of those links that the gate, which was changed, would not let in any more as they
    /// are. Returns how many have joined them.
    pub fn mark_misfits(&self, gate: &Arc<Gate<L>>) -> usize {
        self.links().iter().filter(|link| is_new_misfit(&***link, gate)).count()
    }

    /// The misfits whose clients are to be told to go away, once each, and when the next are due.
    pub fn due_misfits(&self) -> (Vec<Arc<dyn Driven<L>>>, Option<Instant>) {
        let now = Instant::now();
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for link in self.links() {
            let Some(admission) = link.admission() else { continue };
            match admission.to_be_told() {
                Some(at) if at <= now => {
                    admission.tell();
                    due.push(link.clone());
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        (due, next)
    }

    pub fn release(&self, link: &dyn Driven<L>) {
        let token = link.token();
        let released = self.members.lock().by_token.remove(&token);
        if let Some(Member::Link(link)) = &released {
            let armed = link.leave_hub(self.of_links());
            self.timers.lock().cancel(token, armed);
            let (tally, counters) = (link.tally(), link.counters());
            let mut past = self.past.lock();
            past.0.add(tally);
            past.1 += counters;
        }
        drop(released); // outside the lock: a link's end reaches back here
    }

    /// What all links together have carried, those that are over too.
    pub fn tally(&self) -> Tally {
        let mut total = self.past.lock().0;
        for link in self.links() {
            total.add(link.tally());
        }
        total
    }

    /// What the peers of all links did, those that are over too.
    pub fn counters(&self) -> Counters {
        let mut total = self.past.lock().1;
        for link in self.links() {
            total += link.counters();
        }
        total
    }

    // ---- what links ask

    /// A loop polls alone; of the threads that wait together one is told, so that not all wake for one call.
    fn arrivals(&self) -> libc::c_int {
        if self.defers_flush { libc::EPOLLIN } else { socket::ARRIVALS_ONCE }
    }

    pub fn watch(&self, fd: RawFd, token: u64, also_writable: bool) {
        let events = self.arrivals() | if also_writable { libc::EPOLLOUT } else { 0 };
        let _ = self.of_links().modify(fd, events, token); // fails only for a link that was released meanwhile
    }

    pub fn watch_once(&self, fd: RawFd, token: u64, readable: bool, writable: bool) {
        let events = if readable { libc::EPOLLIN } else { 0 } | if writable { libc::EPOLLOUT } else { 0 };
        let _ = self.of_links().modify(fd, events | libc::EPOLLONESHOT, token);
    }

    pub fn ignore(&self, fd: RawFd, token: u64) {
        let _ = self.of_links().modify(fd, 0, token);
    }

    /// None: there was no descriptor to be had.
    pub fn lend_bell(&self) -> Option<Bell> {
        let spare = self.bells.lock().pop();
        spare.or_else(|| Bell::new().ok())
    }

    pub fn take_bell_back(&self, bell: Bell, rung: bool) {
        if rung {
            bell.silence();
        }
        let mut bells = self.bells.lock();
        if bells.len() < SPARE_BELLS {
            bells.push(bell);
        }
    }

    /// True for the first since the last `flush`: the loop should be asked for one.
    pub fn note_dirty(&self, link: Arc<dyn Driven<L>>) -> bool {
        let mut dirty = self.dirty.lock();
        dirty.push(link);
        dirty.len() == 1
    }

    pub fn flush(&self) -> Vec<L::News> {
        let dirty = std::mem::take(&mut *self.dirty.lock());
        dirty.into_iter().flat_map(|link| link.flush_now()).collect()
    }

    /// Lets go of what the link holds, soon. False: nobody is there to do it, because the thread that polls is with Python
    /// (an interceptor, a callback, a handler of a server without a pool), or because a loop polls.
    pub fn hold(&self, link: Arc<dyn Driven<L>>) -> bool {
        let mut held = self.held.lock(); // first: who stops waiting looks into it after it has said so
        if !self.waiting.load(Ordering::Acquire) {
            return false;
        }
        held.push(link);
        if held.len() == 1 {
            self.held_alarm.set(Instant::now() + HELD_AT_MOST);
        }
        true
    }

    fn let_go(&self, turn: &mut Turn<L>) {
        let held = std::mem::take(&mut *self.held.lock());
        turn.news.extend(held.iter().flat_map(|link| link.let_go()));
    }

    pub fn wake(&self) {
        self.bell.ring();
        self.open.as_ref().inspect(|open| open.bell.ring());
    }

    // ---- the turn

    /// Looks no longer than until `leave` says that others look for the same.
    fn wait(&self, epoll: &Epoll, alone: bool, until: Option<Instant>, leave: impl Fn() -> bool) -> Vec<(u64, bool)> {
        let look = || Some(epoll.wait(Some(Instant::now()))).filter(|ready| !ready.is_empty() || leave());
        let found = if leave() { None } else { self.busy_poll.look(alone, until, look) };
        found.filter(|ready| !ready.is_empty()).unwrap_or_else(|| epoll.wait(until))
    }

    /// Waits until `until` (None: for ever) for something to do, and does it.
    pub fn poll(self: &Arc<Self>, until: Option<Instant>) -> Turn<L> {
        let mut turn = Turn::default();
        self.waiting.store(!self.defers_flush, Ordering::Release);
        loop {
            let ready = self.wait(&self.epoll, false, until, || self.lingering.load(Ordering::Relaxed));
            for &(token, hung_up) in &ready {
                match token {
                    BELL => self.bell.silence(),
                    ALARM => self.alarm_rang(&mut turn),
                    HELD => {
                        self.held_alarm.silence();
                        self.let_go(&mut turn);
                    }
                    OPEN => self.turn_open(&self.of_links().wait(Some(Instant::now())), &mut turn),
                    token => self.serve(token, hung_up, &mut turn),
                }
            }
            self.greet(&mut turn);
            // What was held has left, or a look at the time found nothing: Python has not to hear of it.
            let inner = !ready.is_empty() && ready.iter().all(|(token, _)| matches!(*token, HELD | ALARM));
            if !inner || !turn.is_empty() {
                break;
            }
        }
        self.waiting.store(false, Ordering::Release);
        self.let_go(&mut turn);
        turn
    }

    /// Waits beside the hub's own thread for what arrives on open links, which that thread is not told of meanwhile, or
    /// for a `wake`. One thread at a time; `alone`: nothing else goes on here.
    pub fn linger(self: &Arc<Self>, alone: bool, until: Instant) -> Turn<L> {
        let mut turn = Turn::default();
        if let Some(Open { epoll, .. }) = &self.open {
            let tell = |events| self.epoll.modify(epoll.fd(), events, OPEN); // fails only for a hub that was inherited
            let _ = tell(0);
            self.lingering.store(true, Ordering::Relaxed);
            self.turn_open(&self.wait(epoll, alone, Some(until), || false), &mut turn);
            self.lingering.store(false, Ordering::Relaxed);
            let _ = tell(libc::EPOLLIN);
        }
        turn
    }

    fn turn_open(self: &Arc<Self>, ready: &[(u64, bool)], turn: &mut Turn<L>) {
        for &(token, hung_up) in ready {
            match (token, &self.open) {
                (BELL, Some(open)) => open.bell.silence(),
                _ => self.serve(token, hung_up, turn),
            }
        }
    }

    fn serve(self: &Arc<Self>, token: u64, hung_up: bool, turn: &mut Turn<L>) {
        let mut accepted = Vec::new();
        let link = match self.members.lock().by_token.get(&token) {
            Some(Member::Link(link)) => Some(link.clone()),
            Some(Member::Listener { socket, port }) => {
                self.accept_all(token, socket.fd(), port, &mut accepted);
                None
            }
            None => None,
        };
        for (socket, port) in accepted {
            self.welcome(socket, port, turn);
        }
        if let Some(link) = link {
            self.turn_link(link, hung_up, turn);
        } else {
            turn.greetings.push(token);
        }
    }

    pub(super) fn turn_link(&self, link: Arc<dyn Driven<L>>, to_the_end: bool, turn: &mut Turn<L>) {
        link.clone().turn(to_the_end, turn);
        self.release_if_dead(&*link);
    }

    pub(super) fn release_if_dead(&self, link: &dyn Driven<L>) {
        if link.dead() {
            self.release(link);
        }
    }
}
