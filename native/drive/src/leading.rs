//! Blocking callers take turns (leader/follower): one thread, the leader, polls the socket and reads for all; the others
//! sleep until their call changed or the lead is free. A thread that leaves passes the lead on.

use std::sync::{Arc, Condvar, MutexGuard};
use std::time::{Duration, Instant};

use crate::link::{Answers, Link};
use crate::listener::tell_all;
use crate::protocol::Protocol;
use crate::socket::{self, Bell, Polled};
use crate::state::State;

/// How long the main thread sleeps before it lets its caller look for signals.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);
/// How long who leads waits at a time where there was no descriptor for a bell to be had.
const UNCALLED: Duration = Duration::from_millis(5);

pub enum Waited {
    Ready,
    DeadlinePassed,
    /// The main thread should run signal handlers, then wait on.
    Interrupted,
}

thread_local! {
    static SLEEP: Arc<Condvar> = Arc::new(Condvar::new());
}

impl<P: Protocol, L: Answers<P>> Link<P, L> {
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
            if state.led || !self.callers_lead() {
                state = self.follow(state, key, until);
            } else {
                let (next, signal) = self.lead(state, until);
                state = next;
                interrupted |= signal;
            }
            interrupted |= signals && until != deadline && until.is_some_and(|until| until <= Instant::now());
        };
        // Starting the call may have shown that the link is lost, which nobody else has seen yet.
        let events = state.spread();
        self.pass_lead_on(&mut state);
        drop(state);
        tell_all::<L>(events);
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
        let interest = if state.flush(self.fd()) { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
        if state.socket_dead {
            // Nothing will ever be read: let the protocol end its calls.
            state.read(self.fd(), false);
        }
        // A dead socket is always ready, and never has anything: then only the bell can say that something happened.
        let fd = if state.socket_dead { -1 } else { self.fd() };
        let alone = state.waiters.is_empty();
        let scheduler = self.scheduler();
        state.bell = scheduler.as_ref().and_then(|scheduler| scheduler.lend_bell());
        let bell = state.bell.as_ref().map_or(-1, Bell::fd);
        let until = if bell < 0 { Some(sooner(until, Instant::now() + UNCALLED)) } else { until };
        let look = || match socket::poll(fd, interest, bell, Some(Instant::now())) {
            Polled::TimedOut => None,
            polled => Some(polled),
        };
        let (mut state, polled) = self.polled(state, || {
            self.busy_poll.look(alone, until, look).unwrap_or_else(|| socket::poll(fd, interest, bell, until))
        });
        let rung = std::mem::take(&mut state.rung);
        if let (Some(bell), Some(scheduler)) = (state.bell.take(), scheduler) {
            scheduler.take_bell_back(bell, rung);
        }
        if let Polled::Ready = polled {
            state.read(self.fd(), false);
            state.flush(self.fd());
        }
        state.led = false;
        let events = state.spread();
        if !events.is_empty() {
            // What is called may itself make a call on this link: nobody leads meanwhile, or somebody else.
            self.pass_lead_on(&mut state);
            drop(state);
            tell_all::<L>(events);
            state = self.lock();
        }
        (state, matches!(polled, Polled::Interrupted))
    }

    fn pass_lead_on(&self, state: &mut State<P, L>) {
        if state.led || !self.callers_lead() {
            return;
        }
        match state.waiters.first() {
            Some((_, sleep)) => sleep.notify_one(),
            None if !state.watchers.is_empty() || state.tells_ends() => self.tend(state),
            None => self.leave_alone(state),
        }
    }
}

fn sooner(deadline: Option<Instant>, other: Instant) -> Instant {
    deadline.map_or(other, |deadline| deadline.min(other))
}
