//! `ClientCall`: one call of a client, its messages sent and received one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::commands::{cancel, commanded, commanded_unheard, wait};
use super::events::{Link, Watcher, tell_all};
use super::metadata;
use super::outcome::{self, Outcome};
use super::payload::{framed, to_py};
use proxyless_core::grpc::Call;
use proxyless_core::grpc::encoding::Encoding;
use proxyless_core::grpc::ended::Ended;
use proxyless_core::grpc::status::Status;
use proxyless_core::http2::Key;

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

impl ClientCall {
    pub fn new(
        link: Arc<Link>,
        on_dirty: Option<Arc<Py<PyAny>>>,
        key: Key,
        deadline: Option<Instant>,
        encoding: Encoding,
    ) -> Self {
        Self { link, on_dirty, key, deadline, encoding, sending: AtomicBool::default() }
    }
}

#[pymethods]
impl ClientCall {
    /// Queues a message; `sent` tells when the server's window has taken it.
    #[pyo3(signature = (payload, end=false))]
    fn send(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, end: bool) -> PyResult<()> {
        let message = framed(py, self.encoding, payload);
        self.link.lock().protocol.send(self.key, message, end);
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// Sends a message and waits for room in the server's window. False: the server takes nothing more.
    #[pyo3(signature = (payload, end=false))]
    fn send_blocking(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, end: bool) -> PyResult<bool> {
        let message = framed(py, self.encoding, payload);
        let follows = self.sending.swap(true, Ordering::Relaxed);
        if self.link.send(follows, |grpc| grpc.send_on(self.key, message, end)) {
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
            state.protocol.watch_deadline(self.key);
            state.watch(self.key, Watcher::Change(Arc::new(callback)));
            state.protocol.want(self.key, 1);
        }
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// No more messages from this side.
    fn half_close(&self, py: Python<'_>) -> PyResult<()> {
        self.link.lock().protocol.half_close(self.key);
        commanded(py, &self.link, self.on_dirty.as_ref())
    }

    /// All that was sent fits the server's window.
    #[getter]
    fn sent(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_none_or(|call| call.sent() || call.finished.is_some())
    }

    /// The server still takes what is sent. False comes before the end of the call where there is more to receive.
    #[getter]
    fn heard(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_some_and(|call| call.finished.is_none() && !call.cut)
    }

    #[getter]
    fn finished(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_none_or(|call| call.finished.is_some())
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
            let over = self.link.lock().protocol.call(self.key).is_none_or(Call::over);
            let (message, says_room) = receive(&self.link, self.key);
            if let Some(message) = message {
                if says_room {
                    py.detach(|| self.link.flush());
                }
                return Ok(Some(to_py(py, &message)));
            }
            if over {
                self.link.events().into_iter().for_each(|event| event.tell(py)); // others may wait for this end
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
        self.link.lock().protocol.call(self.key).is_none_or(|call| call.head.is_some() || call.finished.is_some())
    }

    fn wait_head_blocking(&self, py: Python<'_>) -> PyResult<()> {
        wait(py, &self.link, self.key, self.deadline, &|call| call.head.is_some())
    }

    /// Waits for the end of the call, which comes behind as many messages that nobody takes as the window has room for.
    fn wait_end_blocking(&self, py: Python<'_>) -> PyResult<()> {
        self.link.lock().protocol.want(self.key, 1);
        py.detach(|| self.link.flush());
        wait(py, &self.link, self.key, self.deadline, &|_| false)
    }

    /// The response's initial metadata, None where there is none (yet).
    fn initial_metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let head = self.link.lock().protocol.call(self.key).and_then(|call| call.head.clone());
        head.map(|head| metadata::to_py(py, &head)).transpose().map(Option::flatten)
    }

    /// How the call ended, without its messages; None: it goes on.
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<Outcome>> {
        if self.link.inherited() {
            return Ok(Some(Outcome::forked()));
        }
        let ended = {
            let state = self.link.lock();
            let call = state.protocol.call(self.key);
            call.and_then(|call| Some(Ended::new(call.finished.clone()?, call.head.clone())))
        };
        ended.map(|ended| outcome::of(py, ended)).transpose()
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
    let mut message = state.protocol.take_message(key);
    if message.is_none() {
        state.protocol.want(key, 1);
        message = state.protocol.take_message(key);
    }
    (message, state.protocol.waiting_output() > 0)
}

impl Drop for ClientCall {
    /// An unfinished call that nobody holds any more is cancelled on the wire.
    fn drop(&mut self) {
        self.link.unwatch(self.key);
        let mut state = self.link.lock();
        state.protocol.cancel(self.key, Status::new(1, "the call was dropped"));
        let end = state.heard_end(self.key);
        state.protocol.forget(self.key);
        drop(state);
        tell_all(end.into_iter().collect());
        commanded_unheard(&self.link, self.on_dirty.as_ref());
    }
}
