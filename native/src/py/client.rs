//! `ClientTransport`: a client's connection, and the calls that are begun on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::client_call::ClientCall;
use super::commands::{cancel, close, commanded, commanded_unheard, wait};
use super::deadline::deadline_after;
use super::events::{Event, Link, OnEnd, Reactor as Driven, State, Watcher, tell_all};
use super::method::Method;
use super::outcome::{self, Outcome};
use super::payload::framed;
use super::tally::Tally;
use super::tls::TlsInfo;
use proxyless_core::grpc::ended::Ended;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_core::http2::Key;
use proxyless_drive::socket;

/// One connection to a server.
#[pyclass(frozen, module = "rpc._native")]
pub struct ClientTransport {
    reactor: Arc<Driven>,
    link: Arc<Link>,
    on_dirty: Option<Arc<Py<PyAny>>>,
}

impl ClientTransport {
    pub fn new(reactor: Arc<Driven>, link: Arc<Link>, on_dirty: Option<Arc<Py<PyAny>>>) -> Self {
        Self { reactor, link, on_dirty }
    }

    /// What `start` says, unless there is no room for a call.
    fn begun(&self, py: Python<'_>, start: impl FnOnce(&mut State) -> Key) -> Option<Key> {
        let mut state = self.link.lock();
        self.link.look_before_call(&mut state);
        if state.full() {
            drop(state);
            self.tell_events(py);
            return None;
        }
        Some(start(&mut state))
    }

    /// The subchannel has to hear of the link's end before it is picked again.
    fn tell_events(&self, py: Python<'_>) {
        self.link.events().into_iter().for_each(|event| event.tell(py));
    }
}

#[pymethods]
impl ClientTransport {
    /// False once the connection is lost or told to go away.
    #[getter]
    fn usable(&self) -> bool {
        self.link.lock().protocol.usable()
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.link.peer
    }

    /// None: plaintext.
    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &*self.link)
    }

    /// The server has answered a call on it, whatever it answered, or will, though it takes no more.
    #[getter]
    fn carried(&self) -> bool {
        self.link.lock().protocol.served()
    }

    /// This side's address.
    #[getter]
    fn local(&self) -> String {
        socket::local_name(self.link.fd())
    }

    /// Calls started, succeeded and failed; messages sent and received; keepalive pings sent.
    fn tally(&self) -> Tally {
        self.link.lock().protocol.tally().into()
    }

    /// Why the connection is over, once it is.
    #[getter]
    fn ended(&self) -> Option<String> {
        self.link.lock().protocol.ended().map(str::to_owned)
    }

    /// How many calls it takes without making them wait for the server's limit of streams; none once it is lost or
    /// draining. With `tell` its `on_room` is called, once, when a stream has ended or the limit moved from now on, and
    /// there is room then.
    #[pyo3(signature = (tell=false))]
    fn room(&self, tell: bool) -> u32 {
        let mut state = self.link.lock();
        if tell {
            state.tell_of_room();
        }
        state.protocol.room()
    }

    /// It is one of several and not the one that new calls are put on: after so many seconds without a call it ends.
    /// None: it is that one.
    fn spare(&self, seconds: Option<f64>) -> PyResult<()> {
        let idle = seconds.map(Duration::try_from_secs_f64).transpose();
        let mut state = self.link.lock();
        let idle = idle.map_err(|error| PyValueError::new_err(error.to_string()))?;
        state.protocol.spare(idle, Instant::now());
        self.link.rouse(&mut state);
        Ok(())
    }

    /// Makes a whole unary call while the calling thread waits. `timeout` in seconds. Returns its outcome, or
    /// None: the connection has no room, and nothing was sent. Raises what a Python signal
    /// handler raises; the call is cancelled then. `on_end(outcome, seconds)` is called once if the call was sent,
    /// however it ended; so with the other ways to start one.
    #[pyo3(signature = (method, metadata, payload, timeout, on_end=None))]
    fn call_unary(
        &self,
        py: Python<'_>,
        method: &Method,
        metadata: Option<&Bound<'_, PyAny>>,
        payload: &Bound<'_, PyBytes>,
        timeout: Option<f64>,
        on_end: Option<Py<PyAny>>,
    ) -> PyResult<Option<Outcome>> {
        let deadline = deadline_after(timeout)?;
        let (template, extra) = (method.template.clone(), method.extra(metadata, deadline)?);
        let message = framed(py, method.encoding, payload);
        let on_end = on_end.map(OnEnd::new);
        let link = &self.link;
        let key = py.detach(|| {
            let mut state = link.lock();
            link.look_before_call(&mut state);
            if state.full() {
                drop(state);
                tell_all(link.events());
                return None;
            }
            let key = state.protocol.start(template, extra, deadline, Some(message));
            link.rouse(&mut state);
            drop(state);
            link.flush_all(deadline);
            Some(key)
        });
        let Some(key) = key else { return Ok(None) };
        let waited = wait(py, link, key, deadline, &|_| false);
        let ended = match &waited {
            Ok(()) => link.lock().protocol.take_outcome(key),
            Err(_) => Ended::new(Status::new(code::CANCELLED, "interrupted"), None),
        };
        if let Some(on_end) = on_end {
            Event::End(on_end, Box::new(ended.without_message())).tell(py);
        }
        waited?;
        outcome::of(py, ended).map(Some)
    }

    /// Starts a unary call; `callback(outcome)` is called when it ended. Returns a key for `cancel`, or None: the
    /// connection has no room, and nothing was sent.
    #[pyo3(signature = (method, metadata, payload, timeout, callback, on_end=None))]
    #[allow(clippy::too_many_arguments)]
    fn start_unary(
        &self,
        py: Python<'_>,
        method: &Method,
        metadata: Option<&Bound<'_, PyAny>>,
        payload: &Bound<'_, PyBytes>,
        timeout: Option<f64>,
        callback: Py<PyAny>,
        on_end: Option<Py<PyAny>>,
    ) -> PyResult<Option<Key>> {
        let deadline = deadline_after(timeout)?;
        let (template, extra) = (method.template.clone(), method.extra(metadata, deadline)?);
        let message = framed(py, method.encoding, payload);
        let begun = self.begun(py, |state| {
            let key = state.protocol.start(template, extra, deadline, Some(message));
            state.protocol.watch_deadline(key);
            state.watch(key, Watcher::Outcome(callback));
            if let Some(on_end) = on_end {
                state.tell_end(key, OnEnd::new(on_end));
            }
            key
        });
        let Some(key) = begun else { return Ok(None) };
        commanded(py, &self.link, self.on_dirty.as_ref())?;
        Ok(Some(key))
    }

    /// Ends a call of `start_unary` early: its callback gets this code and these details.
    fn cancel(&self, py: Python<'_>, key: Key, code: i32, details: &str) -> PyResult<()> {
        cancel(py, &self.link, self.on_dirty.as_ref(), key, Status::new(code, details))
    }

    /// Starts a call whose messages are sent and received one by one; None: the connection is lost, draining or has no
    /// room, and nothing was sent. `on_change`, where given, is called without
    /// arguments whenever something about the call changed, and the deadline is enforced without anybody waiting.
    #[pyo3(signature = (method, metadata, timeout, on_change=None, on_end=None))]
    fn start(
        &self,
        py: Python<'_>,
        method: &Method,
        metadata: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        on_change: Option<Py<PyAny>>,
        on_end: Option<Py<PyAny>>,
    ) -> PyResult<Option<ClientCall>> {
        let deadline = deadline_after(timeout)?;
        let (template, extra) = (method.template.clone(), method.extra(metadata, deadline)?);
        let begun = self.begun(py, |state| {
            let key = state.protocol.start(template, extra, deadline, None);
            if let Some(on_change) = on_change {
                state.protocol.watch_deadline(key);
                state.watch(key, Watcher::Change(Arc::new(on_change)));
            }
            if let Some(on_end) = on_end {
                state.protocol.watch_deadline(key); // nobody may wait for the call
                state.tell_end(key, OnEnd::new(on_end));
            }
            key
        });
        let Some(key) = begun else { return Ok(None) };
        let call = ClientCall::new(self.link.clone(), self.on_dirty.clone(), key, deadline, method.encoding);
        commanded(py, &self.link, self.on_dirty.as_ref())?;
        Ok(Some(call))
    }

    /// No new calls; those in progress go on and the connection ends after the last.
    fn drain(&self, py: Python<'_>) {
        py.detach(|| {
            self.link.lock().protocol.shut_down();
            tell_all(self.link.flush_now());
        });
    }

    /// Ends the connection now; calls in progress end with CANCELLED and these details.
    fn close(&self, py: Python<'_>, details: &str) {
        close(py, &self.reactor, &*self.link, &Status::new(code::CANCELLED, details).by(Origin::Channel));
    }
}

impl Drop for ClientTransport {
    /// No new call can come any more: the connection ends after those that are in progress.
    fn drop(&mut self) {
        if self.link.inherited() {
            return;
        }
        if !self.link.dead() {
            self.link.lock().protocol.shut_down();
            commanded_unheard(&self.link, self.on_dirty.as_ref());
        }
        if self.link.dead() {
            self.reactor.release(&*self.link); // there may be no loop any more that would
        }
    }
}
