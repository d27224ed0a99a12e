//! `Reactor`: what one event loop, or one thread, drives.

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use proxyless_tls::detect::HTTP2;
use proxyless_tls::session::Session;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrival::{Arrival, arrive};
use super::client::ClientTransport;
use super::commands::{close, follow_up};
use super::deadline::deadline_after;
use super::events::{Callables, Reactor as Driven, tell_all};
use super::port_policy::PortPolicy;
use super::tally::Tally;
use super::tls::ClientTls;
use super::transport_config::{TransportConfig, span};
use proxyless_core::grpc;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_drive::driven::Driven as AnyLink;
use proxyless_drive::fork::Descriptor;
use proxyless_drive::port::Port;
use proxyless_drive::port_policy::LinkSecurity;
use proxyless_drive::socket;
use proxyless_drive::turn::Turn;

/// A set of connections and listeners driven together.
///
/// With `on_dirty` it belongs to an event loop: the loop watches `fileno()` and calls `poll(0)` when it is readable,
/// and `flush()` once per turn after `on_dirty` was called. Without, a thread calls `poll(None)` again and again.
#[pyclass(frozen, weakref, module = "rpc._native")]
pub struct Reactor {
    reactor: Arc<Driven>,
    on_dirty: Option<Arc<Py<PyAny>>>,
}

#[pymethods]
impl Reactor {
    #[new]
    #[pyo3(signature = (on_dirty=None))]
    fn new(on_dirty: Option<Py<PyAny>>) -> PyResult<Self> {
        Ok(Self { reactor: Driven::new(on_dirty.is_some())?, on_dirty: on_dirty.map(Arc::new) })
    }

    fn fileno(&self) -> RawFd {
        self.reactor.number()
    }

    /// Waits up to `timeout` seconds (None: without limit, 0: not at all), moves everything that can move, runs the
    /// callbacks of what finished, and returns the calls that came in.
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<Arrival>> {
        let until = deadline_after(timeout)?;
        let turn = if timeout == Some(0.0) {
            self.reactor.poll(until) // never blocks: not worth giving the GIL away
        } else {
            py.detach(|| self.reactor.poll(until))
        };
        Ok(self.brought(py, turn))
    }

    /// For another thread than the one that calls `poll`: waits up to `timeout` seconds for what arrives on the open
    /// connections, and returns the calls that came in. Ends early when there is something else to do (a `wake`).
    /// `alone`: no call is in progress.
    fn linger(&self, py: Python<'_>, timeout: f64, alone: bool) -> PyResult<Vec<Arrival>> {
        let until = deadline_after(Some(timeout))?.unwrap_or_else(Instant::now);
        let turn = py.detach(|| self.reactor.linger(alone, until));
        Ok(self.brought(py, turn))
    }

    /// Writes what the commands since the last time left to send.
    fn flush(&self, py: Python<'_>) {
        for event in self.reactor.flush() {
            event.tell(py);
        }
    }

    /// From now on a thread in `poll` or `linger` looks for so many seconds before it sleeps, one at a time.
    fn busy_poll(&self, seconds: f64) -> PyResult<()> {
        self.reactor.busy_poll.ask(span(seconds)?);
        Ok(())
    }

    /// Makes a `poll` in another thread return.
    fn wake(&self) {
        self.reactor.wake();
    }

    /// Takes over a listening socket's descriptor. The configuration holds per connection. Without a `port_policy` the
    /// port speaks plaintext.
    #[pyo3(signature = (fd, config, port_policy=None))]
    fn listen(&self, fd: RawFd, config: &TransportConfig, port_policy: Option<Bound<'_, PortPolicy>>) -> PyResult<()> {
        let port =
            Port::new(port_policy.map(|port_policy| port_policy.get().0.clone())).speaking(HTTP2, server_of(config));
        self.reactor.listen(own(fd), port)?;
        Ok(())
    }

    /// To be called when a port policy was changed. True: there are connections that it would not let in any more, for which
    /// `drain_misfits` will have something to do.
    fn mark_misfits(&self, py: Python<'_>, port_policy: &Bound<'_, PortPolicy>) -> bool {
        let port_policy = port_policy.get().0.clone();
        py.detach(|| self.reactor.mark_misfits(&port_policy)) > 0
    }

    /// Tells the clients of marked connections whose time has come to go away; calls in progress go on. Returns how
    /// many connections that are, and the seconds until the next are due.
    fn drain_misfits(&self, py: Python<'_>) -> PyResult<(usize, Option<f64>)> {
        let (misfits, next) = py.detach(|| self.reactor.due_misfits());
        for link in &misfits {
            py.detach(|| link.shut_down());
            // The caller is whoever brought the change: what a loop's calls are told, they are told in the loop.
            follow_up(py, link.clone().after_command(), self.on_dirty.as_ref())?;
        }
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()).as_secs_f64());
        Ok((misfits.len(), wait))
    }

    /// Takes over a connected socket's descriptor and speaks first. `on_lost` is called once, when no new call can be
    /// put on the connection any more (lost, or told to go away). `on_heard(problem | None)` is called once, when the
    /// server has said its first words of HTTP/2, inside `tls` if given, or with why it will not. With `on_room` calls
    /// beyond the server's limit of streams are not taken; see `ClientTransport.room`.
    #[pyo3(signature = (fd, config, on_lost, on_heard, tls=None, on_room=None))]
    #[allow(clippy::too_many_arguments)]
    fn connect(
        &self,
        py: Python<'_>,
        fd: RawFd,
        config: &TransportConfig,
        on_lost: Py<PyAny>,
        on_heard: Py<PyAny>,
        tls: Option<Bound<'_, ClientTls>>,
        on_room: Option<Py<PyAny>>,
    ) -> PyResult<ClientTransport> {
        let socket = own(fd);
        let peer = socket::peer_name(socket.fd());
        let connection = grpc::Connection::client(&config.http2, config.max_message, peer, Instant::now())
            .with_policy(&config.policy);
        let callers_lead = self.on_dirty.is_none();
        let session = tls.map(|tls| Session::client(&tls.get().0)).transpose().map_err(PyValueError::new_err)?;
        let security = LinkSecurity { session: session.map(Box::new), admission: None };
        let link = self.reactor.adopt(socket, connection, security, callers_lead, &[])?;
        if let Some(busy_poll) = config.busy_poll {
            link.busy_poll.ask(busy_poll);
        }
        link.on_lost(on_lost);
        link.on_heard(on_heard);
        if let Some(on_room) = on_room {
            link.on_room(on_room);
        }
        // Nobody leads a link before it is handed out: the reactor sees the beginning through.
        py.detach(|| tell_all(link.begin()));
        Ok(ClientTransport::new(self.reactor.clone(), link, self.on_dirty.clone()))
    }

    /// The connections it drives: a number of each, the peer's and the own address, and its tally (see `ClientTransport`).
    fn sockets(&self) -> Vec<(u64, String, String, Tally)> {
        let links = self.reactor.links().into_iter();
        links
            .map(|link| {
                let (peer, local) = (link.peer().to_owned(), link.local_name());
                (link.token(), peer, local, link.tally().into())
            })
            .collect()
    }

    /// What all connections together have carried, those that are over too.
    fn tally(&self) -> Tally {
        self.reactor.tally().into()
    }

    /// How often it has looked at a connection because it was time (deadlines, keepalive), not because something arrived.
    #[getter]
    fn looks(&self) -> u64 {
        self.reactor.looks()
    }

    /// Closes the listeners and tells every client to go away; calls in progress go on.
    fn drain(&self, py: Python<'_>) {
        let links = self.reactor.stop_listening();
        py.detach(|| drain_all(links));
    }

    /// What peers did on all connections so far, by name: `http2::Counters`.
    fn counters(&self, py: Python<'_>) -> HashMap<&'static str, u64> {
        py.detach(|| self.reactor.counters()).named().into_iter().collect()
    }

    /// Ends every connection at once; their calls end with CANCELLED and these details.
    fn close(&self, py: Python<'_>, details: &str) {
        for link in self.reactor.stop_listening() {
            close(py, &self.reactor, &*link, &Status::new(code::UNAVAILABLE, details).by(Origin::Channel));
        }
    }
}

impl Reactor {
    #[cfg(feature = "echo")]
    pub fn driver(&self) -> &Arc<Driven> {
        &self.reactor
    }

    #[cfg(feature = "echo")]
    pub fn on_dirty(&self) -> Option<Arc<Py<PyAny>>> {
        self.on_dirty.clone()
    }

    fn brought(&self, py: Python<'_>, turn: Turn<Callables>) -> Vec<Arrival> {
        for event in turn.events {
            event.tell(py);
        }
        turn.accepted.into_iter().map(|call| arrive(call, self.on_dirty.clone())).collect()
    }
}

fn drain_all(links: Vec<Arc<dyn AnyLink<Callables>>>) -> usize {
    for link in &links {
        link.shut_down();
        tell_all(link.flush_now());
    }
    links.len()
}

/// What makes a server's end of gRPC.
pub fn server_of(config: &TransportConfig) -> impl Fn() -> grpc::Connection + Send + Sync + use<> {
    let (http2, max_message, policy) = (config.http2.clone(), config.max_message, config.policy.clone());
    move || grpc::Connection::server(&http2, max_message, Instant::now()).with_policy(&policy)
}

pub fn own(fd: RawFd) -> Descriptor {
    // SAFETY: the caller hands over a descriptor that it has detached from its Python socket.
    Descriptor::new(unsafe { OwnedFd::from_raw_fd(fd) })
}
