//! The test protocol of `native/echo` for Python: beside gRPC on the same reactors and ports. Built with the feature `echo`
//! only, which no wheel has.

use std::os::fd::RawFd;

use proxyless_drive::port::Port;
use proxyless_drive::port_policy::LinkSecurity;
use proxyless_echo::{Connection, ECHO};
use proxyless_tls::detect::HTTP2;
use proxyless_tls::session::Session;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::echo_call::{EchoCall, EchoLink};
use super::events::tell_all;
use super::port_policy::PortPolicy;
use super::reactor::{self, Reactor, own};
use super::tls::ClientTls;
use super::transport_config::TransportConfig;

/// A port that speaks echo, and gRPC too where a `config` is given: which of them a connection shows.
#[pyfunction]
#[pyo3(signature = (reactor, fd, config=None, port_policy=None))]
pub fn echo_listen(
    reactor: &Bound<'_, Reactor>,
    fd: RawFd,
    config: Option<Bound<'_, TransportConfig>>,
    port_policy: Option<Bound<'_, PortPolicy>>,
) -> PyResult<()> {
    let mut port = Port::new(port_policy.map(|port_policy| port_policy.get().0.clone()));
    if let Some(config) = config {
        port = port.speaking(HTTP2, reactor::server_of(config.get()));
    }
    reactor.get().driver().listen(own(fd), port.speaking(ECHO, || Connection::new(false)))?;
    Ok(())
}

/// As `Reactor.connect`.
#[pyfunction]
#[pyo3(signature = (reactor, fd, on_lost, on_heard, tls=None))]
pub fn echo_connect(
    py: Python<'_>,
    reactor: &Bound<'_, Reactor>,
    fd: RawFd,
    on_lost: Py<PyAny>,
    on_heard: Py<PyAny>,
    tls: Option<Bound<'_, ClientTls>>,
) -> PyResult<EchoLink> {
    let (driver, on_dirty) = (reactor.get().driver().clone(), reactor.get().on_dirty());
    let session = tls.map(|tls| Session::client(&tls.get().0)).transpose().map_err(PyValueError::new_err)?;
    let security = LinkSecurity { session: session.map(Box::new), admission: None };
    let link = driver.adopt(own(fd), Connection::new(true), security, on_dirty.is_none(), &[])?;
    link.on_lost(on_lost);
    link.on_heard(on_heard);
    py.detach(|| tell_all(link.begin()));
    Ok(EchoLink::new(driver, link, on_dirty))
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<EchoLink>()?;
    module.add_class::<EchoCall>()?;
    module.add_function(wrap_pyfunction!(echo_listen, module)?)?;
    module.add_function(wrap_pyfunction!(echo_connect, module)?)
}
