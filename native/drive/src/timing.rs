//! What happens because it is time, not because something arrived: deadlines, keepalive, idleness, patience.
//!
//! A link has at most one moment for which its reactor knows to look at it, `State::armed`. It is moved forward when
//! something is due sooner, and never back: a look that comes too early finds the next moment, which spares every call
//! the work. So who waits for nothing costs nothing, and who is due is all that an alarm visits.

use std::sync::Arc;
use std::time::Instant;

use crate::link::{Answers, Link};
use crate::protocol::Protocol;
use crate::scheduler::{IDLE, Scheduler};
use crate::state::State;
use crate::turn::Turn;

impl<P: Protocol, L: Answers<P>> Link<P, L> {
    /// Sees to it that the reactor looks at the link when something is due.
    pub(super) fn arm(&self, state: &mut State<P, L>, scheduler: &Scheduler<L>, now: Instant) {
        let Some(at) = self.due_at(state, scheduler, now) else { return };
        if state.armed.is_none_or(|armed| at < armed) {
            scheduler.look_at(self.token(), state.armed, at);
            state.armed = Some(at);
        }
    }

    fn due_at(&self, state: &mut State<P, L>, scheduler: &Scheduler<L>, now: Instant) -> Option<Instant> {
        let left_alone = self.left_alone(state).then(|| scheduler.look_after(state.socket_dead, state.last_turn));
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

    /// Lets the reactor look at the connection's own timers in time; a caller that waits for its answer does not.
    pub fn rouse(&self, state: &mut State<P, L>) {
        if let Some(scheduler) = self.scheduler() {
            self.arm(state, &scheduler, Instant::now());
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
        let Some(scheduler) = self.scheduler() else { return };
        if due {
            state.expire(now);
            self.flush_under(&mut state, &scheduler);
        }
        if self.left_alone(&state) && state.last_turn + IDLE <= now {
            self.tend(&mut state);
        }
        self.arm(&mut state, &scheduler, now);
        turn.events.append(&mut state.spread());
    }
}
