//! `ClientLink`, `ClientCall`: the client's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::method::Method;
use super::outcome::{Ended, Outcome};
use super::payload::{framed, to_py};
use super::tally::Tally;
use super::tls::TlsInfo;
use super::{deadline_after, metadata};
use crate::drive::hub::Hub as Driven;
use crate::drive::link::{Link, Waited};
use crate::drive::news::{OnEnd, Watcher, tell_all};
use crate::drive::socket;
use proxyless_core::grpc::Call;
use proxyless_core::grpc::encoding::Encoding;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_core::http2::Key;

/// One connection to a server.
#[pyclass(frozen, module = "rpc._native")]
pub struct ClientLink {
    hub: Arc<Driven>,
    link: Arc<Link>,
    on_dirty: Option<Arc<Py<PyAny>>>,
}

impl ClientLink {
    pub fn new(hub: Arc<Driven>, link: Arc<Link>, on_dirty: Option<Arc<Py<PyAny>>>) -> Self {
        Self { hub, link, on_dirty }
    }

    /// Who keeps the link has to hear of its end before it is picked again.
    fn tell_news(&self, py: Python<'_>) {
        self.link.news().into_iter().for_each(|news| news.tell(py));
    }
}

/// Gets a command's bytes out, or asks the loop to.
pub fn commanded(py: Python<'_>, link: &Arc<Link>, on_dirty: Option<&Arc<Py<PyAny>>>) -> PyResult<()> {
    let (flush, news) = link.commanded();
    for item in news {
        item.tell(py);
    }
    if let Some(on_dirty) = on_dirty.filter(|_| flush) {
        on_dirty.call0(py)?;
    }
    Ok(())
}

/// The same where nobody is left to raise to. At the end of the interpreter there is nobody to ask either.
fn commanded_unheard(link: &Arc<Link>, on_dirty: Option<&Arc<Py<PyAny>>>) {
    let _ = Python::try_attach(|py| {
        if let Err(error) = commanded(py, link, on_dirty) {
            error.write_unraisable(py, None);
        }
    });
}

#[pymethods]
impl ClientLink {
    /// False once the connection is lost or told to go away.
    #[getter]
    fn usable(&self) -> bool {
        self.link.lock().grpc.usable()
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.link.peer
    }

    /// None: plaintext.
    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &self.link)
    }

    /// The server has answered a call on it, whatever it answered.
    #[getter]
    fn carried(&self) -> bool {
        self.link.lock().grpc.answered()
    }

    /// This side's address.
    #[getter]
    fn local(&self) -> String {
        socket::local_name(self.link.fd())
    }

    /// Calls started, succeeded and failed; messages sent and received; keepalive pings sent.
    fn tally(&self) -> Tally {
        self.link.lock().grpc.tally().into()
    }

    /// Why the connection is over, once it is.
    #[getter]
    fn ended(&self) -> Option<String> {
        self.link.lock().grpc.ended().map(str::to_owned)
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
        state.grpc.room()
    }

    /// It is one of several and not the one that new calls are put on: after so many seconds without a call it ends.
    /// None: it is that one.
    fn spare(&self, seconds: Option<f64>) -> PyResult<()> {
        let idle = seconds.map(Duration::try_from_secs_f64).transpose();
        let mut state = self.link.lock();
        state.grpc.spare(idle.map_err(|error| PyValueError::new_err(error.to_string()))?);
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
    ) -> PyResult<Option<Py<Outcome>>> {
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
                tell_all(link.news());
                return None;
            }
            let key = state.grpc.start(template, extra, deadline, Some(message));
            link.rouse(&mut state);
            drop(state);
            link.flush_all(deadline);
            Some(key)
        });
        let Some(key) = key else { return Ok(None) };
        let waited = wait(py, link, key, deadline, &|_| false);
        let ended = match &waited {
            Ok(()) => link.lock().ended(key),
            Err(_) => Ended::new(Status::new(code::CANCELLED, "interrupted"), None),
        };
        let outcome = Py::new(py, ended.into_outcome(py)?)?;
        if let Some(on_end) = on_end {
            on_end.tell(py, &outcome);
        }
        waited.map(|()| Some(outcome))
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
        let key = {
            let mut state = self.link.lock();
            self.link.look_before_call(&mut state);
            if state.full() {
                drop(state);
                self.tell_news(py);
                return Ok(None);
            }
            let key = state.grpc.start(template, extra, deadline, Some(message));
            state.grpc.watch_deadline(key);
            state.watch(key, Watcher::Outcome(callback));
            if let Some(on_end) = on_end {
                state.tell_end(key, OnEnd::new(on_end));
            }
            key
        };
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
        let key = {
            let mut state = self.link.lock();
            self.link.look_before_call(&mut state);
            if state.full() {
                drop(state);
                self.tell_news(py);
                return Ok(None);
            }
            let key = state.grpc.start(template, extra, deadline, None);
            if let Some(on_change) = on_change {
                state.grpc.watch_deadline(key);
                state.watch(key, Watcher::Change(Arc::new(on_change)));
            }
            if let Some(on_end) = on_end {
                state.grpc.watch_deadline(key); // nobody may wait for the call
                state.tell_end(key, OnEnd::new(on_end));
            }
            key
        };
        let (encoding, sending) = (method.encoding, AtomicBool::default());
        let call =
            ClientCall { link: self.link.clone(), on_dirty: self.on_dirty.clone(), key, deadline, encoding, sending };
        commanded(py, &self.link, self.on_dirty.as_ref())?;
        Ok(Some(call))
    }

    /// No new calls; those in progress go on and the connection ends after the last.
    fn drain(&self, py: Python<'_>) {
        py.detach(|| {
            self.link.lock().grpc.shut_down();
            tell_all(self.link.flush_now());
        });
    }

    /// Ends the connection now; calls in progress end with CANCELLED and these details.
    fn close(&self, py: Python<'_>, details: &str) {
        super::hub::close(py, &self.hub, &self.link, &Status::new(code::CANCELLED, details).by(Origin::Channel));
    }
}

impl Drop for ClientLink {
    /// No new call can come any more: the connection ends after those that are in progress.
    fn drop(&mut self) {
        if self.link.inherited() {
            return;
        }
        if !self.link.dead() {
            self.link.lock().grpc.shut_down();
            commanded_unheard(&self.link, self.on_dirty.as_ref());
        }
        if self.link.dead() {
            self.hub.release(&self.link); // there may be no loop any more that would
        }
    }
}

fn cancel(
    py: Python<'_>,
    link: &Arc<Link>,
    on_dirty: Option<&Arc<Py<PyAny>>>,
    key: Key,
    status: Status,
) -> PyResult<()> {
    link.lock().grpc.cancel(key, status);
    commanded(py, link, on_dirty)?;
    for news in link.news() {
        news.tell(py);
    }
    Ok(())
}

/// Waits without the GIL, letting Python's signal handlers run. An expired deadline ends the call.
pub fn wait(
    py: Python<'_>,
    link: &Arc<Link>,
    key: Key,
    deadline: Option<Instant>,
    ready: &(dyn Fn(&Call) -> bool + Sync),
) -> PyResult<()> {
    loop {
        match py.detach(|| link.wait(key, deadline, ready)) {
            Waited::Ready => return Ok(()),
            Waited::DeadlinePassed => {
                py.detach(|| {
                    link.lock().grpc.cancel(key, Status::deadline_exceeded());
                    link.flush();
                    tell_all(link.news());
                });
                return Ok(());
            }
            Waited::Interrupted => {
                if let Err(raised) = py.check_signals() {
                    link.unwatch(key);
                    let mut state = link.lock();
                    state.grpc.cancel(key, Status::new(1, "interrupted"));
                    drop(state);
                    link.flush();
                    link.lock().grpc.forget(key);
                    return Err(raised);
                }
            }
        }
    }
}

/// One call in progress. Blocking methods are for callers' threads; the others never wait.
#[pyclass(frozen, module = "rpc._native")]
pub struct ClientCall {
    link: Arc<Link>,
    on_dirty: Option<Arc<Py<PyAny>>>,
    key: Key,
    deadline: Option<Instant>,
    encoding: Encoding,
    /// A message was sent since one was last received.
    sending: AtomicBool,
}

#[pymethods]
impl ClientCall {
    /// Queues a message; `sent` tells when the server's window has taken it.
    #[pyo3(signature = (payload, end=false))]
    fn send(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, end: bool) -> PyResult<()> {
        let message = framed(py, self.encoding, payload);
        self.link.lock().grpc.send(self.key, message, end);
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// Sends a message and waits for room in the server's window. False: the server takes nothing more.
    #[pyo3(signature = (payload, end=false))]
    fn send_blocking(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, end: bool) -> PyResult<bool> {
        let message = framed(py, self.encoding, payload);
        if self.link.send(self.key, message, end, self.sending.swap(true, Ordering::Relaxed)) {
            return Ok(true);
        }
        py.detach(|| self.link.flush_all(self.deadline));
        if !self.sent() {
            wait(py, &self.link, self.key, self.deadline, &Call::sent)?;
        }
        Ok(self.heard())
    }

    /// `callback()` is called at each change from now on, without anybody waiting. Asks for a message: the end of the
    /// call shows behind it.
    fn watch(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        {
            let mut state = self.link.lock();
            state.grpc.watch_deadline(self.key);
            state.watch(self.key, Watcher::Change(Arc::new(callback)));
            state.grpc.want(self.key, 1);
        }
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// No more messages from this side.
    fn half_close(&self, py: Python<'_>) -> PyResult<()> {
        self.link.lock().grpc.half_close(self.key);
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// All that was sent fits the server's window.
    #[getter]
    fn sent(&self) -> bool {
        self.link.lock().grpc.call(self.key).is_none_or(|call| call.sent() || call.finished.is_some())
    }

    /// The server still takes what is sent. False comes before the end of the call where there is more to receive.
    #[getter]
    fn heard(&self) -> bool {
        self.link.lock().grpc.call(self.key).is_some_and(|call| call.finished.is_none() && !call.cut)
    }

    #[getter]
    fn finished(&self) -> bool {
        self.link.lock().grpc.call(self.key).is_none_or(|call| call.finished.is_some())
    }

    /// The next message if it is there, else None, and asks for it. At the end None: look at `finished`.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.sending.store(false, Ordering::Relaxed);
        let (message, says_room) = receive(&self.link, self.key);
        if message.is_none() || says_room {
            commanded(py, &self.link, self.on_dirty.as_ref())?;
        }
        Ok(message.map(|message| to_py(py, &message)))
    }

    /// Waits for the next message; None after the last.
    fn receive_blocking<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.sending.store(false, Ordering::Relaxed);
        loop {
            // First whether more can come: what has come is there then.
            let over = self.link.lock().grpc.call(self.key).is_none_or(Call::over);
            let (message, says_room) = receive(&self.link, self.key);
            if let Some(message) = message {
                if says_room {
                    py.detach(|| self.link.flush());
                }
                return Ok(Some(to_py(py, &message)));
            }
            if over {
                self.link.news().into_iter().for_each(|news| news.tell(py)); // others may wait for this end
                return Ok(None);
            }
            py.detach(|| self.link.flush());
            // Where several threads read, another one may take the message.
            wait(py, &self.link, self.key, self.deadline, &Call::message_ready)?;
        }
    }

    /// The server has answered with its head (or the call is over).
    #[getter]
    fn headed(&self) -> bool {
        self.link.lock().grpc.call(self.key).is_none_or(|call| call.head.is_some() || call.finished.is_some())
    }

    fn wait_head_blocking(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, &self.link, self.key, self.deadline, &|call| call.head.is_some())
    }

    /// Waits for the end of the call, which comes behind as many messages that nobody takes as the window has room for.
    fn wait_end_blocking(&self, py: Python<'_>) -> PyResult<()> {
        self.link.lock().grpc.want(self.key, 1);
        py.detach(|| self.link.flush());
        wait(py, &self.link, self.key, self.deadline, &|_| false)
    }

    /// The response's initial metadata, None where there is none (yet).
    fn initial_metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let head = self.link.lock().grpc.call(self.key).and_then(|call| call.head.clone());
        head.map(|head| metadata::to_py(py, &head)).transpose().map(Option::flatten)
    }

    /// How the call ended, without its messages; None: it goes on.
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        if self.link.inherited() {
            return Ok(Some(Outcome::forked()));
        }
        let ended = {
            let state = self.link.lock();
            let call = state.grpc.call(self.key);
            call.and_then(|call| Some(Ended::new(call.finished.clone()?, call.head.clone())))
        };
        ended.map(|ended| ended.into_outcome(py)).transpose()
    }

    /// Ends the call early with this code and these details, if it is not over.
    fn cancel(&self, py: Python<'_>, code: i32, details: &str) -> PyResult<()> {
        cancel(py, &self.link, self.on_dirty.as_ref(), self.key, Status::new(code, details))
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.link.peer
    }
}

/// A message, and whether the server has to be told that there is room for more.
fn receive(link: &Link, key: Key) -> (Option<Bytes>, bool) {
    let mut state = link.lock();
    let mut message = state.grpc.take_message(key);
    if message.is_none() {
        state.grpc.want(key, 1);
        message = state.grpc.take_message(key);
    }
    (message, state.grpc.waiting_output() > 0)
}

impl Drop for ClientCall {
    /// An unfinished call that nobody holds any more is cancelled on the wire.
    fn drop(&mut self) {
        self.link.unwatch(self.key);
        let mut state = self.link.lock();
        state.grpc.cancel(self.key, Status::new(1, "the call was dropped"));
        let end = state.heard_end(self.key);
        state.grpc.forget(self.key);
        drop(state);
        tell_all(end.into_iter().collect());
        commanded_unheard(&self.link, self.on_dirty.as_ref());
    }
}
