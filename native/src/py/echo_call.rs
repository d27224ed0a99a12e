//! Connections and calls of the test protocol.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_drive::leading::Waited;
use proxyless_drive::link::Answers;
use proxyless_drive::listener::Hears;
use proxyless_echo::{Connection, Ended, Key};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::commands::{close, follow_up};
use super::deadline::deadline_after;
use super::echo_outcome::{Said, said};
use super::events::{Accepted, Callables, Callback, EchoLink as Link, Event, OnEnd, Reactor, Watcher, tell_all};
use super::tls::TlsInfo;

impl Hears<Connection> for Callables {
    fn outcome(callback: Callback, ended: Ended) -> Event {
        Event::Echo(callback, Box::new(ended))
    }

    fn end(on_end: OnEnd, ended: Ended) -> Event {
        Event::Echo(on_end.callback, Box::new(ended))
    }
}

impl Answers<Connection> for Callables {
    fn accepted(link: &Arc<Link>, key: Key) -> Accepted {
        Accepted::Echo(link.clone(), key)
    }
}

/// A client's connection.
#[pyclass(frozen, module = "rpc._native")]
pub struct EchoLink {
    reactor: Arc<Reactor>,
    link: Arc<Link>,
    on_dirty: Option<Arc<Callback>>,
}

impl EchoLink {
    pub fn new(reactor: Arc<Reactor>, link: Arc<Link>, on_dirty: Option<Arc<Callback>>) -> Self {
        Self { reactor, link, on_dirty }
    }

    fn commanded(&self, py: Python<'_>) -> PyResult<()> {
        follow_up(py, Link::commanded(&self.link), self.on_dirty.as_ref())
    }

    fn wait(&self, py: Python<'_>, key: Key, deadline: Option<Instant>) -> PyResult<()> {
        let link = &self.link;
        let give_up = |status| {
            py.detach(|| {
                link.lock().protocol.cancel(key, status);
                link.flush();
                tell_all(link.events());
            });
        };
        loop {
            match py.detach(|| link.wait(key, deadline, &|_| false)) {
                Waited::Ready => return Ok(()),
                Waited::DeadlinePassed => give_up(Status::deadline_exceeded()),
                Waited::Interrupted => py.check_signals().inspect_err(|_| {
                    give_up(Status::new(code::CANCELLED, "interrupted"));
                    link.lock().protocol.forget(key);
                })?,
            }
        }
    }
}

#[pymethods]
impl EchoLink {
    #[getter]
    fn usable(&self) -> bool {
        !self.link.lock().full()
    }

    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &*self.link)
    }

    /// Calls and waits; None: the connection takes no more calls.
    fn call(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, timeout: Option<f64>) -> PyResult<Option<Said>> {
        let deadline = deadline_after(timeout)?;
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let link = &self.link;
        let key = py.detach(|| {
            let mut state = link.lock();
            link.look_before_call(&mut state);
            if state.full() {
                drop(state);
                tell_all(link.events());
                return None;
            }
            let key = state.protocol.start(&payload, deadline, Instant::now());
            link.rouse(&mut state);
            drop(state);
            link.flush_all(deadline);
            Some(key)
        });
        let Some(key) = key else { return Ok(None) };
        self.wait(py, key, deadline)?;
        let ended = proxyless_drive::protocol::Protocol::take_outcome(&mut link.lock().protocol, key);
        Ok(Some(said(py, ended)))
    }

    /// Begins a call; `callback((code, details, payload))` hears its end. None: the connection takes no more calls.
    fn start(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyBytes>,
        timeout: Option<f64>,
        callback: Py<PyAny>,
    ) -> PyResult<Option<Key>> {
        let deadline = deadline_after(timeout)?;
        let key = {
            let mut state = self.link.lock();
            self.link.look_before_call(&mut state);
            if state.full() {
                drop(state);
                self.link.events().into_iter().for_each(|event| event.tell(py));
                return Ok(None);
            }
            let key = state.protocol.start(payload.as_bytes(), deadline, Instant::now());
            state.watch(key, Watcher::Outcome(callback));
            key
        };
        self.commanded(py)?;
        Ok(Some(key))
    }

    /// Ends a call of `start`.
    fn cancel(&self, py: Python<'_>, key: Key, code: i32, details: &str) -> PyResult<()> {
        self.link.lock().protocol.cancel(key, Status::new(code, details));
        self.commanded(py)?;
        self.link.events().into_iter().for_each(|event| event.tell(py));
        Ok(())
    }

    fn close(&self, py: Python<'_>, details: &str) {
        close(py, &self.reactor, &*self.link, &Status::new(code::CANCELLED, details).by(Origin::Channel));
    }
}

/// A call that came in.
#[pyclass(frozen, module = "rpc._native")]
pub struct EchoCall {
    link: Arc<Link>,
    key: Key,
    on_dirty: Option<Arc<Callback>>,
}

impl EchoCall {
    pub fn new(link: Arc<Link>, key: Key, on_dirty: Option<Arc<Callback>>) -> Self {
        Self { link, key, on_dirty }
    }

    fn commanded(&self, py: Python<'_>) -> PyResult<()> {
        if self.on_dirty.is_some() {
            return follow_up(py, Link::commanded(&self.link), self.on_dirty.as_ref());
        }
        py.detach(|| tell_all(self.link.flush_now()));
        Ok(())
    }
}

#[pymethods]
impl EchoCall {
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        use proxyless_drive::protocol::Protocol;
        let payload = self.link.lock().protocol.call(self.key).and_then(|call| call.payload.clone());
        payload.map(|payload| PyBytes::new(py, &payload))
    }

    /// False once the client has given it up, its deadline has passed or the connection was lost.
    #[getter]
    fn active(&self) -> bool {
        use proxyless_drive::protocol::Protocol;
        self.link.lock().protocol.call(self.key).is_some_and(|call| call.finished.is_none())
    }

    fn tls_info(&self, py: Python<'_>) -> Option<TlsInfo> {
        TlsInfo::of(py, &*self.link)
    }

    /// `callback()` is called when it is over. False: it is.
    fn watch(&self, callback: Py<PyAny>) -> bool {
        self.link.watch(self.key, Watcher::Change(Arc::new(callback)))
    }

    fn reply(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.link.lock().protocol.reply(self.key, payload.as_bytes());
        self.commanded(py)
    }

    fn fail(&self, py: Python<'_>, code: i32, details: &str) -> PyResult<()> {
        self.link.lock().protocol.fail(self.key, &Status::new(code, details));
        self.commanded(py)
    }
}

impl Drop for EchoCall {
    fn drop(&mut self) {
        self.link.unwatch(self.key);
        let mut state = self.link.lock();
        state.protocol.fail(self.key, &Status::new(code::CANCELLED, "nobody answers it"));
        state.protocol.forget(self.key);
        drop(state);
        let _ = Python::try_attach(|py| {
            if let Err(error) = self.commanded(py) {
                error.write_unraisable(py, None);
            }
        });
    }
}
