//! What happens because it is time, not because something arrived: deadlines, keepalive, idleness, patience.
//!
//! A link has one moment at the most for which its hub knows to look at it, `State::armed`. It is moved forward when
//! something is due sooner, and never back: a look that comes too early finds the next moment, which spares every call
//! the work. So who waits for nothing costs nothing, and who is due is all that an alarm visits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::hub::{GREETINGS, Hub, Turn};
use crate::link::Link;
use crate::listener::{Hears, Listener};
use crate::members::Member;
use crate::protocol::Protocol;
use crate::state::State;

/// How long callers may leave a link alone before the hub looks after it.
const IDLE: Duration = Duration::from_secs(1);
/// So many are looked at before what arrived has its turn again.
const PER_ALARM: usize = 256;

impl<P: Protocol, L: Hears<P>> Link<P, L> {
    /// Sees to it that the hub looks at the link when something is due.
    pub(super) fn arm(&self, state: &mut State<P, L>, hub: &Hub<L>, now: Instant) {
        let Some(at) = self.due_at(state, hub, now) else { return };
        if state.armed.is_none_or(|armed| at < armed) {
            hub.look_at(self.token(), state.armed, at);
            state.armed = Some(at);
        }
    }

    fn due_at(&self, state: &mut State<P, L>, hub: &Hub<L>, now: Instant) -> Option<Instant> {
        let left_alone = self.left_alone(state).then(|| hub.look_after(state.socket_dead, state.last_turn));
        [state.protocol.next_deadline(now), left_alone].into_iter().flatten().min()
    }

    /// Nobody reads it. An idle one must still answer pings and see its end; one that is over has to be let go.
    fn left_alone(&self, state: &State<P, L>) -> bool {
        self.callers_lead() && !state.led && !state.tended && state.waiters.is_empty()
    }

    /// Callers come and go: mostly the link is armed for that.
    pub(super) fn leave_alone(&self, state: &mut State<P, L>) {
        if state.socket_dead || state.armed.is_none_or(|at| at > state.last_turn + 2 * IDLE) {
            self.rouse(state);
        }
    }

    /// Lets the hub look at the connection's own timers in time; a caller that waits for its answer does not.
    pub fn rouse(&self, state: &mut State<P, L>) {
        if let Some(hub) = self.hub() {
            self.arm(state, &hub, Instant::now());
        }
    }

    /// The moment for which the link was armed has come.
    pub(super) fn look_in_time(self: &Arc<Self>, turn: &mut Turn<L>) {
        let mut state = self.lock();
        state.armed = None;
        let now = Instant::now();
        let due = state.protocol.next_deadline(now).is_some_and(|at| at <= now);
        if due && !state.led {
            drop(state);
            return self.look(false, turn); // what lies in the socket may be what is waited for
        }
        let Some(hub) = self.hub() else { return };
        if due {
            state.expire(now);
            self.flush_under(&mut state, &hub);
        }
        if self.left_alone(&state) && state.last_turn + IDLE <= now {
            self.tend(&mut state);
        }
        self.arm(&mut state, &hub, now);
        turn.news.append(&mut state.spread());
    }
}

impl<L: Listener> Hub<L> {
    /// When a link that is left alone is to be looked at: many at a time, and none twice a second.
    fn look_after(&self, dead: bool, last_turn: Instant) -> Instant {
        if dead {
            return last_turn;
        }
        let turns = (last_turn - self.began).as_secs() + 1;
        self.began + Duration::from_secs(turns) + IDLE
    }

    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// What has this token is looked at then, and not at `before` any more.
    pub(super) fn look_at(&self, token: u64, before: Option<Instant>, at: Instant) {
        let mut timers = self.timers.lock();
        if timers.set(token, before, at) {
            self.alarm.set(at);
        }
    }

    pub(super) fn alarm_rang(self: &Arc<Self>, turn: &mut Turn<L>) {
        self.alarm.silence();
        let due = {
            let mut timers = self.timers.lock();
            let due = timers.take_due(Instant::now(), PER_ALARM);
            if let Some(next) = timers.next() {
                self.alarm.set(next);
            }
            due
        };
        for token in due {
            self.look(token, turn);
        }
    }

    fn look(self: &Arc<Self>, token: u64, turn: &mut Turn<L>) {
        if token == GREETINGS {
            let (late, next) = self.greetings.lock().expire(&self.epoll, Instant::now());
            turn.news.extend(late);
            if let Some(next) = next {
                self.look_at(GREETINGS, None, next);
            }
            return;
        }
        let link = match self.members.lock().by_token.get(&token) {
            Some(Member::Link(link)) => link.clone(),
            Some(Member::Listener { socket, .. }) => return self.rouse_listener(token, socket.fd()),
            None => return,
        };
        self.looks.fetch_add(1, Ordering::Relaxed);
        link.clone().on_time(turn);
        self.release_if_dead(&*link);
    }
}
