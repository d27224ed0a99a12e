//! What every command on a link is followed by: its bytes leave, the events that it made are told, somebody waits.

use std::sync::Arc;
use std::time::Instant;

use proxyless_core::grpc::Call;
use proxyless_core::grpc::status::Status;
use proxyless_core::http2::Key;
use proxyless_drive::driven::Driven;
use proxyless_drive::leading::Waited;
use pyo3::prelude::*;

use super::events::{Callables, Event, Link, Reactor, tell_all};

/// Gets a command's bytes out, or asks the loop to.
pub fn commanded(py: Python<'_>, link: &Arc<Link>, on_dirty: Option<&Arc<Py<PyAny>>>) -> PyResult<()> {
    follow_up(py, Link::commanded(link), on_dirty)
}

pub fn follow_up(
    py: Python<'_>,
    (flush, events): (bool, Vec<Event>),
    on_dirty: Option<&Arc<Py<PyAny>>>,
) -> PyResult<()> {
    for event in events {
        event.tell(py);
    }
    if let Some(on_dirty) = on_dirty.filter(|_| flush) {
        on_dirty.call0(py)?;
    }
    Ok(())
}

/// The same where nobody is left to raise to. At the end of the interpreter there is nobody to ask either.
pub fn commanded_unheard(link: &Arc<Link>, on_dirty: Option<&Arc<Py<PyAny>>>) {
    let _ = Python::try_attach(|py| {
        if let Err(error) = commanded(py, link, on_dirty) {
            error.write_unraisable(py, None);
        }
    });
}

pub fn cancel(
    py: Python<'_>,
    link: &Arc<Link>,
    on_dirty: Option<&Arc<Py<PyAny>>>,
    key: Key,
    status: Status,
) -> PyResult<()> {
    link.lock().protocol.cancel(key, status);
    commanded(py, link, on_dirty)?;
    for event in link.events() {
        event.tell(py);
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
                    link.lock().protocol.cancel(key, Status::deadline_exceeded());
                    link.flush();
                    tell_all(link.events());
                });
                return Ok(());
            }
            Waited::Interrupted => {
                if let Err(raised) = py.check_signals() {
                    link.unwatch(key);
                    let mut state = link.lock();
                    state.protocol.cancel(key, Status::new(1, "interrupted"));
                    drop(state);
                    link.flush();
                    link.lock().protocol.forget(key);
                    return Err(raised);
                }
            }
        }
    }
}

pub fn close(py: Python<'_>, reactor: &Reactor, link: &dyn Driven<Callables>, status: &Status) {
    let events = py.detach(|| link.close(status));
    reactor.release(link);
    for event in events {
        event.tell(py);
    }
}
