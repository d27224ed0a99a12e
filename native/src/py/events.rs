//! Python as the listener of the drivers: what calls and connections tell its callables.

use std::sync::Arc;

use proxyless_core::grpc;
use proxyless_core::grpc::ended::Ended;
use proxyless_core::http2::Key;
use proxyless_drive::link::{Answers, Link as Driver};
use proxyless_drive::listener::{ConnectionInfo, Hears, Listener, OnEnd as Ending};
use pyo3::prelude::*;

use super::outcome;
use super::tls::Admitted;
use crate::memory;

pub enum Callables {}

pub type Callback = Py<PyAny>;
pub type OnEnd = Ending<Callback>;
pub type Reactor = proxyless_drive::reactor::Reactor<Callables>;
/// A link that carries gRPC.
pub type Link = Driver<grpc::Connection, Callables>;
#[cfg(feature = "echo")]
pub type EchoLink = Driver<proxyless_echo::Connection, Callables>;
pub type State = proxyless_drive::state::State<grpc::Connection, Callables>;
pub type Watcher = proxyless_drive::listener::Watcher<Callback>;

pub enum Event {
    Outcome(Callback, Box<Ended>),
    Change(Arc<Callback>),
    End(OnEnd, Box<Ended>),
    Lost(Callback),
    Heard(Callback, Option<String>),
    Refused(Arc<Callback>, String, String),
    Admitted(Arc<Callback>, Arc<dyn ConnectionInfo>),
    #[cfg(feature = "echo")]
    Echo(Callback, Box<proxyless_echo::Ended>),
}

impl Event {
    pub fn tell(self, py: Python<'_>) {
        let told = match self {
            Self::Outcome(callback, ended) => {
                outcome::of(py, *ended).and_then(|outcome| callback.call1(py, (outcome,)))
            }
            Self::Change(callback) => callback.call0(py),
            Self::End(on_end, ended) => {
                let seconds = on_end.seconds();
                outcome::of(py, *ended).and_then(|outcome| on_end.callback.call1(py, (outcome, seconds)))
            }
            Self::Lost(callback) => callback.call0(py),
            Self::Heard(callback, problem) => callback.call1(py, (problem,)),
            Self::Refused(callback, peer, reason) => callback.call1(py, (peer, reason)),
            Self::Admitted(callback, connection) => callback.call1(py, (Admitted(connection),)),
            #[cfg(feature = "echo")]
            Self::Echo(callback, ended) => callback.call1(py, (super::echo_outcome::said(py, *ended),)),
        };
        if let Err(error) = told {
            error.write_unraisable(py, None);
        }
    }
}

/// A call that came in.
pub enum Accepted {
    Grpc(Arc<Link>, Key),
    #[cfg(feature = "echo")]
    Echo(Arc<EchoLink>, proxyless_echo::Key),
}

pub fn tell_all(events: Vec<Event>) {
    if !events.is_empty() {
        // A thread that is still here when the interpreter ends has nobody to tell.
        let _ = Python::try_attach(|py| events.into_iter().for_each(|event| event.tell(py)));
    }
}

impl Listener for Callables {
    type Callback = Callback;
    type Event = Event;
    type Accepted = Accepted;

    fn changed(callback: Arc<Callback>) -> Event {
        Event::Change(callback)
    }

    fn lost(callback: Callback) -> Event {
        Event::Lost(callback)
    }

    fn heard(callback: Callback, problem: Option<String>) -> Event {
        Event::Heard(callback, problem)
    }

    fn refused(callback: Arc<Callback>, peer: String, reason: String) -> Event {
        Event::Refused(callback, peer, reason)
    }

    fn admitted(callback: Arc<Callback>, connection: Arc<dyn ConnectionInfo>) -> Event {
        Event::Admitted(callback, connection)
    }

    fn tell(events: Vec<Event>) {
        tell_all(events);
    }

    fn holds(bytes: usize) {
        memory::passed(bytes);
    }
}

impl Hears<grpc::Connection> for Callables {
    fn outcome(callback: Callback, ended: Ended) -> Event {
        Event::Outcome(callback, Box::new(ended))
    }

    fn end(on_end: OnEnd, ended: Ended) -> Event {
        Event::End(on_end, Box::new(ended))
    }
}

impl Answers<grpc::Connection> for Callables {
    fn accepted(link: &Arc<Link>, key: Key) -> Accepted {
        Accepted::Grpc(link.clone(), key)
    }
}
