//! `ServerCall`: one call that a client made, for the handler that answers it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::answer_changes::AnswerChanges;
use super::commands::{commanded, wait};
use super::connection_facts::{local_name, names_of, requested_name};
use super::events::{Link, Watcher, tell_all};
use super::metadata;
use super::payload::{framed, to_py};
use super::tls::TlsInfo;
use proxyless_core::grpc::encoding::Encoding;
use proxyless_core::grpc::message::Framed;
use proxyless_core::grpc::{self, Call, status};
use proxyless_core::http2::{Headers, Key};

#[pyclass(frozen, module = "rpc._native")]
pub struct ServerCall {
    pub(super) link: Arc<Link>,
    key: Key,
    on_dirty: Option<Arc<Py<PyAny>>>,
    /// What the answer is compressed with, by number.
    encoding: AtomicU8,
    /// A message was sent since one was last received.
    sending: AtomicBool,
    /// What filters found out about the request.
    pub(super) found: OnceLock<Py<PyDict>>,
    /// What filters change in the head of the answer.
    changes: AnswerChanges,
}

impl ServerCall {
    pub fn new(link: Arc<Link>, key: Key, on_dirty: Option<Arc<Py<PyAny>>>) -> Self {
        Self {
            link,
            key,
            on_dirty,
            encoding: AtomicU8::default(),
            sending: AtomicBool::default(),
            found: OnceLock::new(),
            changes: AnswerChanges::default(),
        }
    }

    /// After a command: an event loop flushes later; a handler's thread does it now, without the GIL.
    fn commanded(&self, py: Python<'_>) -> PyResult<()> {
        if self.on_dirty.is_some() {
            return commanded(py, &self.link, self.on_dirty.as_ref());
        }
        py.detach(|| tell_all(self.link.flush_now()));
        Ok(())
    }

    fn encoding(&self) -> Encoding {
        Encoding::from_number(self.encoding.load(Ordering::Relaxed)).unwrap_or_default()
    }

    fn message(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, plain: bool) -> Framed {
        framed(py, if plain { Encoding::Identity } else { self.encoding() }, payload)
    }

    pub fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.with_head(|head| {
            let (name, other) = names_of(name);
            let values = |name| head.values(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
            Some(values(name)).filter(|found| !found.is_empty()).or_else(|| other.map(values)).unwrap_or_default()
        })
    }

    pub fn findings(&self, py: Python<'_>) -> Py<PyDict> {
        self.found.get_or_init(|| PyDict::new(py).unbind()).clone_ref(py)
    }

    /// What `look` finds in the head of the request. Nothing may wait meanwhile.
    pub(super) fn with_head<T: Default>(&self, look: impl FnOnce(&Headers) -> T) -> T {
        let state = self.link.lock();
        state.protocol.call(self.key).and_then(|call| call.head.as_ref()).map(look).unwrap_or_default()
    }

    fn head(&self, initial: Option<&Bound<'_, PyAny>>) -> PyResult<Headers> {
        let mut headers = Headers::with_capacity(4, 128);
        headers.push("content-type", grpc::CONTENT_TYPE);
        let encoding = self.encoding();
        if encoding != Encoding::Identity {
            headers.push("grpc-encoding", encoding.name());
        }
        if let Some(initial) = initial {
            metadata::from_py(initial, &mut headers)?;
        }
        self.changes.apply(&mut headers);
        Ok(headers)
    }

    fn trailers(code: i32, details: &str, trailing: Option<&Bound<'_, PyAny>>) -> PyResult<Headers> {
        let mut trailers = Headers::with_capacity(4, 128);
        status::write(code, details, &mut trailers);
        if let Some(trailing) = trailing {
            metadata::from_py(trailing, &mut trailers)?;
        }
        Ok(trailers)
    }
}

#[pymethods]
impl ServerCall {
    /// `/package.Service/Method`
    #[getter]
    fn path(&self) -> String {
        self.link.lock().protocol.call(self.key).map(|call| call.path.clone()).unwrap_or_default()
    }

    #[getter]
    fn peer(&self) -> &str {
        &self.link.peer
    }

    /// The address that it came to.
    #[getter]
    fn local(&self) -> String {
        local_name(&self.link)
    }

    /// What TLS asked for; empty: nothing.
    #[getter]
    fn server_name(&self) -> String {
        requested_name(&self.link)
    }

    /// What was set with the filter chain that takes the connection, as the port's chains are now; None on a port
    /// without a port policy.
    #[getter]
    fn policy(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let policy = self.link.admission.as_ref()?.policy()?;
        policy.downcast_ref::<Py<PyAny>>().map(|policy| policy.clone_ref(py))
    }

    /// Each value of a header, pseudo-header fields too; `host` is `:authority`.
    fn values<'py>(&self, py: Python<'py>, name: &str) -> Vec<Bound<'py, PyBytes>> {
        self.header_values(name).iter().map(|value| PyBytes::new(py, value)).collect()
    }

    /// From now on a header holds these, as if the client had sent them; none: it is not there.
    pub(super) fn replace(&self, name: &str, values: Vec<Vec<u8>>) {
        if let Some(call) = self.link.lock().protocol.call_mut(self.key) {
            let (name, other) = names_of(name);
            call.replace(name, &values);
            other.into_iter().for_each(|other| call.replace(other, &[b""; 0]));
        }
    }

    /// What filters found out about the request, by the name of the filter; made when first asked for.
    #[getter]
    fn dynamic_metadata(&self, py: Python<'_>) -> Py<PyDict> {
        self.findings(py)
    }

    /// None: plaintext.
    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &*self.link)
    }

    /// The request's metadata, None where there is none.
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let head = self.link.lock().protocol.call(self.key).and_then(|call| call.head.clone());
        head.map(|head| metadata::to_py(py, &head)).transpose().map(Option::flatten)
    }

    /// Each field of the request's head as it came, pseudo-header fields first.
    fn fields<'py>(&self, py: Python<'py>) -> Vec<(String, Bound<'py, PyBytes>)> {
        let found: Vec<_> =
            self.with_head(|head| head.all().map(|(name, value)| (name.into(), value.to_vec())).collect());
        found.into_iter().map(|(name, value): (_, Vec<u8>)| (name, PyBytes::new(py, &value))).collect()
    }

    /// Changes the head of the answer, whoever gives it, by an action of Envoy's or `REMOVE`; before it is sent. False: this
    /// header is nobody's to change, or the value no header's.
    fn change_answer(&self, action: &str, name: &str, value: Vec<u8>) -> PyResult<bool> {
        self.changes.add(action, name, value)
    }

    /// Seconds until the client's deadline, None without one.
    fn time_remaining(&self) -> Option<f64> {
        let deadline = self.link.lock().protocol.call(self.key).and_then(|call| call.deadline);
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// A unary request, once it is whole: its only message.
    fn request<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let mut state = self.link.lock();
        let whole = state.protocol.call(self.key).is_some_and(|call| call.half_closed && call.inbox.len() == 1);
        let message = if whole { state.protocol.take_message(self.key) } else { None };
        drop(state);
        message.map(|message| to_py(py, &message))
    }

    /// Nothing more will arrive: the request ended, or the call did.
    #[getter]
    fn ended(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_none_or(|call| call.half_closed || call.finished.is_some())
    }

    /// How many messages wait to be received.
    #[getter]
    fn waiting(&self) -> usize {
        self.link.lock().protocol.call(self.key).map_or(0, |call| call.inbox.len())
    }

    /// False once the client cancelled, its deadline passed or the connection was lost.
    #[getter]
    fn active(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_some_and(|call| call.finished.is_none())
    }

    /// `callback()` is called at each change until `unwatch`, or until it was told that the call is over. A callback
    /// that holds this call keeps both alive until then. False: the call is over, the callback is not called.
    fn watch(&self, callback: Py<PyAny>) -> bool {
        self.link.watch(self.key, Watcher::Change(Arc::new(callback)))
    }

    fn unwatch(&self) {
        self.link.unwatch(self.key);
    }

    /// The next message if it is there, else None, and asks for more. At the end None: look at `ended`.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (message, _) = self.take();
        self.commanded(py)?;
        Ok(message.map(|message| to_py(py, &message)))
    }

    /// Waits for the next message; None after the last, or when the call is over.
    fn receive_blocking<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        loop {
            // First whether more can come: what has come is there then.
            let over = self.link.lock().protocol.call(self.key).is_none_or(Call::over);
            let (message, says_room) = self.take();
            if let Some(message) = message {
                if says_room {
                    py.detach(|| tell_all(self.link.flush_now()));
                }
                return Ok(Some(to_py(py, &message)));
            }
            if over {
                self.link.events().into_iter().for_each(|event| event.tell(py)); // others may wait for this end
                return Ok(None);
            }
            py.detach(|| tell_all(self.link.flush_now()));
            // Where several threads read, another one may take the message.
            wait(py, &self.link, self.key, None, &Call::message_ready)?;
        }
    }

    /// Compress the answer, by gRPC's number for the encoding, if the client takes it; before `send_head`.
    fn compress(&self, encoding: u8) -> PyResult<()> {
        let wanted = Encoding::from_number(encoding)
            .ok_or_else(|| PyValueError::new_err(format!("no compression has the number {encoding}")))?;
        let taken = self.link.lock().protocol.call(self.key).is_some_and(|call| call.takes(wanted));
        self.encoding.store(if taken { encoding } else { 0 }, Ordering::Relaxed);
        Ok(())
    }

    /// Sends the initial metadata. Only the first time counts.
    fn send_head(&self, py: Python<'_>, initial: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let headers = self.head(initial)?;
        self.link.lock().protocol.respond(self.key, headers);
        self.commanded(py)
    }

    /// Queues a message (`send_head` first), not compressed if it is to be `plain`; `sent` tells when the client's window has taken it.
    #[pyo3(signature = (payload, plain=false))]
    fn send(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, plain: bool) -> PyResult<()> {
        let message = self.message(py, payload, plain);
        self.link.lock().protocol.send(self.key, message, false);
        self.commanded(py)
    }

    /// Sends a message and waits for room in the client's window. False: the call is over.
    #[pyo3(signature = (payload, plain=false))]
    fn send_blocking(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, plain: bool) -> PyResult<bool> {
        let message = self.message(py, payload, plain);
        let follows = self.sending.swap(true, Ordering::Relaxed);
        if self.link.send(follows, |grpc| grpc.send_on(self.key, message, false)) {
            return Ok(true);
        }
        self.commanded(py)?;
        if !self.sent() {
            wait(py, &self.link, self.key, None, &Call::sent)?;
        }
        Ok(self.active())
    }

    #[getter]
    fn sent(&self) -> bool {
        self.link.lock().protocol.call(self.key).is_none_or(|call| call.sent() || call.finished.is_some())
    }

    /// The whole answer to a unary call in one go.
    #[pyo3(signature = (payload, initial, trailing, details, plain=false))]
    fn reply(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyBytes>,
        initial: Option<&Bound<'_, PyAny>>,
        trailing: Option<&Bound<'_, PyAny>>,
        details: &str,
        plain: bool,
    ) -> PyResult<()> {
        let headers = self.head(initial)?;
        let trailers = Self::trailers(0, details, trailing)?;
        let message = self.message(py, payload, plain);
        {
            let mut state = self.link.lock();
            state.protocol.respond(self.key, headers);
            state.protocol.send(self.key, message, false);
            state.protocol.finish(self.key, trailers);
        }
        self.commanded(py)
    }

    /// Ends the call with a status. Initial metadata that was not sent is lost: the answer is Trailers-Only then.
    #[pyo3(signature = (code, details, trailing))]
    fn finish(&self, py: Python<'_>, code: i32, details: &str, trailing: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut trailers = Self::trailers(code, details, trailing)?;
        {
            let mut state = self.link.lock();
            if state.protocol.call(self.key).is_some_and(|call| !call.head_sent) {
                self.changes.apply(&mut trailers); // Trailers-Only: they are the head, too
            }
            state.protocol.finish(self.key, trailers);
        }
        self.commanded(py)
    }
}

impl ServerCall {
    /// A message, and whether the client has to be told that there is room for more.
    fn take(&self) -> (Option<Bytes>, bool) {
        self.sending.store(false, Ordering::Relaxed);
        let mut state = self.link.lock();
        let message = state.protocol.take_message(self.key);
        // One ahead, so that the client's next message is on its way while this one is worked on.
        state.protocol.want(self.key, 1);
        let message = message.or_else(|| state.protocol.take_message(self.key));
        (message, state.protocol.waiting_output() > 0)
    }
}

impl Drop for ServerCall {
    fn drop(&mut self) {
        self.link.unwatch(self.key);
        self.link.lock().protocol.forget(self.key);
        let _ = Python::try_attach(|py| {
            if let Err(error) = self.commanded(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}
