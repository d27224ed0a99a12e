//! The test protocol of `native/echo` for Python: beside gRPC on the same hubs and ports. Built with the feature `echo`
//! only, which no wheel has.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proxyless_core::grpc::status::{Origin, Status, code};
use proxyless_drive::gate::Security;
use proxyless_drive::hub::Hub as Driver;
use proxyless_drive::link::{Link as DrivenLink, Waited};
use proxyless_drive::listener::Hears;
use proxyless_drive::port::Port;
use proxyless_echo::{Connection, ECHO, Ended, Key};
use proxyless_tls::detect::HTTP2;
use proxyless_tls::session::Session;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::client::follow_up;
use super::hub::{Hub, close, own};
use super::news::{Accepted, Callables, Callback, News, OnEnd, Watcher, tell_all};
use super::terms::Terms;
use super::tls::{ClientTls, Gate, TlsInfo};
use super::{deadline_after, hub};

pub type Link = DrivenLink<Connection, Callables>;

/// `(code, details, payload)`
type Said = (i32, String, Option<Py<PyBytes>>);

pub fn said(py: Python<'_>, ended: Ended) -> Said {
    let payload = ended.payload.map(|payload| PyBytes::new(py, &payload).unbind());
    (ended.status.code, ended.status.message, payload)
}

impl Hears<Connection> for Callables {
    fn outcome(callback: Callback, ended: Ended) -> News {
        News::Echo(callback, Box::new(ended))
    }

    fn end(on_end: OnEnd, ended: Ended) -> News {
        News::Echo(on_end.callback, Box::new(ended))
    }

    fn accepted(link: &Arc<Link>, key: Key) -> Accepted {
        Accepted::Echo(link.clone(), key)
    }
}

/// A port that speaks echo, and gRPC too where `terms` are given: which of them a connection shows.
#[pyfunction]
#[pyo3(signature = (hub, fd, terms=None, gate=None))]
pub fn echo_listen(
    hub: &Bound<'_, Hub>,
    fd: RawFd,
    terms: Option<Bound<'_, Terms>>,
    gate: Option<Bound<'_, Gate>>,
) -> PyResult<()> {
    let mut port = Port::new(gate.map(|gate| gate.get().0.clone()));
    if let Some(terms) = terms {
        port = port.speaking(HTTP2, hub::server_of(terms.get()));
    }
    hub.get().driver().listen(own(fd), port.speaking(ECHO, || Connection::new(false)))?;
    Ok(())
}

/// As `Hub.connect`.
#[pyfunction]
#[pyo3(signature = (hub, fd, on_lost, on_heard, tls=None))]
pub fn echo_connect(
    py: Python<'_>,
    hub: &Bound<'_, Hub>,
    fd: RawFd,
    on_lost: Py<PyAny>,
    on_heard: Py<PyAny>,
    tls: Option<Bound<'_, ClientTls>>,
) -> PyResult<EchoLink> {
    let (driver, on_dirty) = (hub.get().driver().clone(), hub.get().on_dirty());
    let session = tls.map(|tls| Session::client(&tls.get().0)).transpose().map_err(PyValueError::new_err)?;
    let security = Security { session: session.map(Box::new), admission: None };
    let link = driver.adopt(own(fd), Connection::new(true), security, on_dirty.is_none(), &[])?;
    link.on_lost(on_lost);
    link.on_heard(on_heard);
    py.detach(|| tell_all(link.begin()));
    Ok(EchoLink { hub: driver, link, on_dirty })
}

/// A client's connection.
#[pyclass(frozen, module = "rpc._native")]
pub struct EchoLink {
    hub: Arc<Driver<Callables>>,
    link: Arc<Link>,
    on_dirty: Option<Arc<Callback>>,
}

impl EchoLink {
    fn commanded(&self, py: Python<'_>) -> PyResult<()> {
        follow_up(py, Link::commanded(&self.link), self.on_dirty.as_ref())
    }

    fn wait(&self, py: Python<'_>, key: Key, deadline: Option<Instant>) -> PyResult<()> {
        let link = &self.link;
        let give_up = |status| {
            py.detach(|| {
                link.lock().protocol.cancel(key, status);
                link.flush();
                tell_all(link.news());
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
                tell_all(link.news());
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
                self.link.news().into_iter().for_each(|news| news.tell(py));
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
        self.link.news().into_iter().for_each(|news| news.tell(py));
        Ok(())
    }

    fn close(&self, py: Python<'_>, details: &str) {
        close(py, &self.hub, &*self.link, &Status::new(code::CANCELLED, details).by(Origin::Channel));
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

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<EchoLink>()?;
    module.add_class::<EchoCall>()?;
    module.add_function(wrap_pyfunction!(echo_listen, module)?)?;
    module.add_function(wrap_pyfunction!(echo_connect, module)?)
}
