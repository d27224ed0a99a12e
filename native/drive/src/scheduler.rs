//! What links ask of the reactor that drives them: to be watched by its epoll, to be looked at when something is due, to be
//! flushed with others. A link knows no more of its reactor than this.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proxyless_core::timers::Timers;

use crate::driven::Driven;
use crate::fork::ProcessMutex;
use crate::listener::Listener;
use crate::socket::{self, Alarm, Bell, Epoll};
use crate::turn::Turn;

pub(super) const ALARM: u64 = 0;
pub(super) const BELL: u64 = 1;
pub(super) const HELD: u64 = 2;
pub(super) const OPEN: u64 = 3;
/// Among the timers: connections that have not said what they are.
pub(super) const HANDSHAKES: u64 = 4;
pub(super) const FIRST_FREE: u64 = 5;

/// So many bells are kept for those who lead next.
const SPARE_BELLS: usize = 16;
/// How long a sender that does not come back keeps what it has sent from leaving.
const HELD_AT_MOST: Duration = Duration::from_micros(200);
/// How long callers may leave a link alone before it is looked after.
pub(super) const IDLE: Duration = Duration::from_secs(1);

pub(super) struct Scheduler<L: Listener> {
    pub(super) epoll: Epoll,
    /// Where threads poll: the epoll of the open links, inside the other.
    pub(super) open: Option<Open>,
    pub(super) alarm: Alarm,
    /// What the alarm is set for.
    pub(super) timers: ProcessMutex<Timers>,
    began: Instant,
    /// How often a link was looked at because something was due, or may have been.
    pub(super) looks: AtomicU64,
    pub(super) bell: Bell,
    /// For callers that lead: as many as lead at a time, not one per link.
    bells: ProcessMutex<Vec<Bell>>,
    /// An event loop flushes once per turn; without one, commands flush at once.
    defers_flush: bool,
    dirty: ProcessMutex<Vec<Arc<dyn Driven<L>>>>,
    /// Links whose messages wait for others to leave with, and what ends that.
    held: ProcessMutex<Vec<Arc<dyn Driven<L>>>>,
    pub(super) held_alarm: Alarm,
    /// A thread waits in `poll`.
    pub(super) waiting: AtomicBool,
}

/// What a thread that lingers waits on.
pub(super) struct Open {
    pub(super) epoll: Epoll,
    /// Calls it back.
    pub(super) bell: Bell,
}

impl Open {
    fn inside(outer: &Epoll) -> io::Result<Self> {
        let (epoll, bell) = (Epoll::inner()?, Bell::new()?);
        epoll.add(bell.fd(), libc::EPOLLIN, BELL)?;
        outer.add(epoll.fd(), libc::EPOLLIN, OPEN)?;
        Ok(Self { epoll, bell })
    }
}

impl<L: Listener> Scheduler<L> {
    pub fn new(defers_flush: bool) -> io::Result<Self> {
        let (epoll, alarm, held_alarm, bell) = (Epoll::new()?, Alarm::new()?, Alarm::new()?, Bell::new()?);
        epoll.add(alarm.fd(), libc::EPOLLIN, ALARM)?;
        epoll.add(bell.fd(), libc::EPOLLIN, BELL)?;
        epoll.add(held_alarm.fd(), libc::EPOLLIN, HELD)?;
        let open = if defers_flush { None } else { Some(Open::inside(&epoll)?) };
        Ok(Self {
            epoll,
            open,
            alarm,
            timers: ProcessMutex::default(),
            began: Instant::now(),
            looks: AtomicU64::new(0),
            bell,
            bells: ProcessMutex::default(),
            defers_flush,
            dirty: ProcessMutex::default(),
            held: ProcessMutex::default(),
            held_alarm,
            waiting: AtomicBool::new(false),
        })
    }

    pub fn defers_flush(&self) -> bool {
        self.defers_flush
    }

    // ---- the epoll

    /// The epoll that open links are in.
    pub fn of_links(&self) -> &Epoll {
        self.open.as_ref().map_or(&self.epoll, |open| &open.epoll)
    }

    /// A loop polls alone; of the threads that wait together one is told, so that not all wake for one call.
    pub fn arrivals(&self) -> libc::c_int {
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

    // ---- bells

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

    // ---- output

    /// True for the first since the last `flush`: the loop should be asked for one.
    pub fn note_dirty(&self, link: Arc<dyn Driven<L>>) -> bool {
        let mut dirty = self.dirty.lock();
        dirty.push(link);
        dirty.len() == 1
    }

    pub fn flush(&self) -> Vec<L::Event> {
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

    pub fn let_go(&self, turn: &mut Turn<L>) {
        let held = std::mem::take(&mut *self.held.lock());
        turn.events.extend(held.iter().flat_map(|link| link.let_go()));
    }

    // ---- time

    /// When a link that is left alone is to be looked at: many at a time, and none twice a second.
    pub fn look_after(&self, dead: bool, last_turn: Instant) -> Instant {
        if dead {
            return last_turn;
        }
        let turns = (last_turn - self.began).as_secs() + 1;
        self.began + Duration::from_secs(turns) + IDLE
    }

    /// How often a link was looked at because something was due, or may have been.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// What has this token is looked at then, and not at `before` any more.
    pub fn look_at(&self, token: u64, before: Option<Instant>, at: Instant) {
        let mut timers = self.timers.lock();
        if timers.set(token, before, at) {
            self.alarm.set(at);
        }
    }

    /// Makes the threads that wait look again.
    pub fn wake(&self) {
        self.bell.ring();
        self.open.as_ref().inspect(|open| open.bell.ring());
    }
}
