//! A set of links and listeners that one event loop, or one thread, drives through one epoll.
//!
//! An asyncio loop watches the epoll's own descriptor and calls `poll` without waiting; a thread waits inside it.
//! Links that their callers lead are watched only while nobody leads them.
//! Where a thread polls, open links have an epoll of their own inside the reactor's: a thread that has answered a call may
//! `linger` on it, and has what arrives to itself meanwhile. All else stays the reactor's own thread's.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::busy::BusyPoll;
use crate::driven::Driven;
use crate::fork::{Descriptor, ProcessMutex};
use crate::link::{Answers, Link};
use crate::listener::Listener;
use crate::misfits::{is_new_misfit, still_fits};
use crate::pending_handshakes::PendingHandshakes;
use crate::port::Port;
use crate::port_policy::{LinkSecurity, PortPolicy};
use crate::protocol::Protocol;
use crate::registrations::{Registration, Registrations};
use crate::scheduler::{ALARM, BELL, FIRST_FREE, HANDSHAKES, HELD, OPEN, Open, Scheduler};
use crate::socket::{self, Epoll};
use crate::turn::Turn;
use proxyless_core::grpc::Tally;
use proxyless_core::http2::Counters;

/// So many are looked at before what arrived has its turn again.
const PER_ALARM: usize = 256;

pub struct Reactor<L: Listener> {
    pub(super) scheduler: Arc<Scheduler<L>>,
    pub(super) registrations: ProcessMutex<Registrations<L>>,
    pub(super) pending_handshakes: ProcessMutex<PendingHandshakes<L>>,
    /// Calls went before handshakes in the last turn.
    pub(super) handshakes_put_off: AtomicBool,
    /// A thread lingers: what arrives on open links is its.
    lingering: AtomicBool,
    /// What links have carried that are over, and what their peers did.
    past: ProcessMutex<(Tally, Counters)>,
    next_token: AtomicU64,
    /// How the threads that wait here do so.
    pub busy_poll: BusyPoll,
}

impl<L: Listener> Reactor<L> {
    pub fn new(defers_flush: bool) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            scheduler: Arc::new(Scheduler::new(defers_flush)?),
            registrations: ProcessMutex::default(),
            pending_handshakes: ProcessMutex::default(),
            handshakes_put_off: AtomicBool::new(false),
            lingering: AtomicBool::new(false),
            past: ProcessMutex::default(),
            next_token: AtomicU64::new(FIRST_FREE),
            busy_poll: BusyPoll::default(),
        }))
    }

    /// As a loop knows it.
    pub fn number(&self) -> RawFd {
        self.scheduler.epoll.number()
    }

    // ---- registrations

    /// Takes a connected socket in, and the bytes that were read from it already. With `callers_lead` it is watched
    /// only on demand.
    pub fn adopt<P: Protocol>(
        &self,
        fd: Descriptor,
        protocol: P,
        security: LinkSecurity<L>,
        callers_lead: bool,
        first: &[u8],
    ) -> io::Result<Arc<Link<P, L>>>
    where
        L: Answers<P>,
    {
        let link = Arc::new(Link::new(fd, protocol, security, callers_lead, &self.scheduler, self.next_token()));
        self.take(link.clone(), callers_lead, first)?;
        Ok(link)
    }

    pub(super) fn take(&self, link: Arc<dyn Driven<L>>, callers_lead: bool, first: &[u8]) -> io::Result<()> {
        let token = link.token();
        socket::set_nonblocking(link.fd())?;
        self.registrations.lock().by_token.insert(token, Registration::Link(link.clone()));
        // From here on `mark_misfits` sees it; what was replaced before that is looked at now.
        if let Some(late) = link.admission().filter(|admission| admission.is_late()) {
            if !still_fits(&*link) {
                late.tell();
                link.shut_down();
            }
        }
        if !first.is_empty() {
            link.take_in(first);
        }
        // Last of all: who is told of an arrival, whatever thread that is, is told once, and has to find all in order.
        let events = if callers_lead { 0 } else { self.scheduler.arrivals() };
        if let Err(error) = self.scheduler.of_links().add(link.fd(), events, token) {
            self.release(&*link);
            return Err(error);
        }
        link.arm();
        Ok(())
    }

    pub(super) fn next_token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    pub fn listen(&self, socket: Descriptor, port: Port<L>) -> io::Result<u64> {
        socket::set_nonblocking(socket.fd())?;
        let token = self.next_token();
        self.scheduler.epoll.add(socket.fd(), libc::EPOLLIN, token)?;
        self.registrations.lock().by_token.insert(token, Registration::Listener { socket, port: Arc::new(port) });
        Ok(token)
    }

    /// Closes the listeners and what has not yet begun; returns the links that are left.
    pub fn stop_listening(&self) -> Vec<Arc<dyn Driven<L>>> {
        *self.pending_handshakes.lock() = PendingHandshakes::default();
        let mut registrations = self.registrations.lock();
        registrations.by_token.retain(|_, registration| matches!(registration, Registration::Link(_)));
        registrations.links()
    }

    pub fn links(&self) -> Vec<Arc<dyn Driven<L>>> {
        self.registrations.lock().links()
    }

    /// From now on the time counts of those links that the port policy, which was changed, would not let in any more as
    /// they are. Returns how many have joined them.
    pub fn mark_misfits(&self, port_policy: &Arc<PortPolicy<L>>) -> usize {
        self.links().iter().filter(|link| is_new_misfit(&***link, port_policy)).count()
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
        let released = self.registrations.lock().by_token.remove(&token);
        if let Some(Registration::Link(link)) = &released {
            let armed = link.leave_reactor(self.scheduler.of_links());
            self.scheduler.timers.lock().cancel(token, armed);
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

    // ---- the turn

    /// Looks no longer than until `leave` says that others look for the same.
    fn wait(&self, epoll: &Epoll, alone: bool, until: Option<Instant>, leave: impl Fn() -> bool) -> Vec<(u64, bool)> {
        let look = || Some(epoll.wait(Some(Instant::now()))).filter(|ready| !ready.is_empty() || leave());
        let found = if leave() { None } else { self.busy_poll.look(alone, until, look) };
        found.filter(|ready| !ready.is_empty()).unwrap_or_else(|| epoll.wait(until))
    }

    /// Waits until `until` (None: without limit) for something to do, and does it.
    pub fn poll(self: &Arc<Self>, until: Option<Instant>) -> Turn<L> {
        let mut turn = Turn::default();
        self.scheduler.waiting.store(!self.scheduler.defers_flush(), Ordering::Release);
        loop {
            let ready = self.wait(&self.scheduler.epoll, false, until, || self.lingering.load(Ordering::Relaxed));
            for &(token, hung_up) in &ready {
                match token {
                    BELL => self.scheduler.bell.silence(),
                    ALARM => self.alarm_rang(&mut turn),
                    HELD => {
                        self.scheduler.held_alarm.silence();
                        self.scheduler.let_go(&mut turn);
                    }
                    OPEN => self.turn_open(&self.scheduler.of_links().wait(Some(Instant::now())), &mut turn),
                    token => self.serve(token, hung_up, &mut turn),
                }
            }
            self.advance_handshakes(&mut turn);
            // What was held has left, or a look at the time found nothing: Python has not to hear of it.
            let inner = !ready.is_empty() && ready.iter().all(|(token, _)| matches!(*token, HELD | ALARM));
            if !inner || !turn.is_empty() {
                break;
            }
        }
        self.scheduler.waiting.store(false, Ordering::Release);
        self.scheduler.let_go(&mut turn);
        turn
    }

    /// Waits beside the reactor's own thread for what arrives on open links, which that thread is not told of meanwhile, or
    /// for a `wake`. One thread at a time; `alone`: nothing else goes on here.
    pub fn linger(self: &Arc<Self>, alone: bool, until: Instant) -> Turn<L> {
        let mut turn = Turn::default();
        if let Some(Open { epoll, .. }) = &self.scheduler.open {
            // It fails only for a reactor that was inherited.
            let tell = |events| self.scheduler.epoll.modify(epoll.fd(), events, OPEN);
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
            match (token, &self.scheduler.open) {
                (BELL, Some(open)) => open.bell.silence(),
                _ => self.serve(token, hung_up, turn),
            }
        }
    }

    fn serve(self: &Arc<Self>, token: u64, hung_up: bool, turn: &mut Turn<L>) {
        let mut accepted = Vec::new();
        let link = match self.registrations.lock().by_token.get(&token) {
            Some(Registration::Link(link)) => Some(link.clone()),
            Some(Registration::Listener { socket, port }) => {
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
            turn.handshakes.push(token);
        }
    }

    pub fn flush(&self) -> Vec<L::Event> {
        self.scheduler.flush()
    }

    pub fn wake(&self) {
        self.scheduler.wake();
    }

    /// How often a link was looked at because something was due, or may have been.
    pub fn looks(&self) -> u64 {
        self.scheduler.looks()
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

    // ---- time

    fn alarm_rang(self: &Arc<Self>, turn: &mut Turn<L>) {
        self.scheduler.alarm.silence();
        let due = {
            let mut timers = self.scheduler.timers.lock();
            let due = timers.take_due(Instant::now(), PER_ALARM);
            if let Some(next) = timers.next() {
                self.scheduler.alarm.set(next);
            }
            due
        };
        for token in due {
            self.look(token, turn);
        }
    }

    fn look(self: &Arc<Self>, token: u64, turn: &mut Turn<L>) {
        if token == HANDSHAKES {
            let (late, next) = self.pending_handshakes.lock().expire(&self.scheduler.epoll, Instant::now());
            turn.events.extend(late);
            if let Some(next) = next {
                self.scheduler.look_at(HANDSHAKES, None, next);
            }
            return;
        }
        let link = match self.registrations.lock().by_token.get(&token) {
            Some(Registration::Link(link)) => link.clone(),
            Some(Registration::Listener { socket, .. }) => return self.rouse_listener(token, socket.fd()),
            None => return,
        };
        self.scheduler.looks.fetch_add(1, Ordering::Relaxed);
        link.clone().on_time(turn);
        self.release_if_dead(&*link);
    }
}
