//! What Python is told of calls that no thread waits for: collected under a link's lock, told outside it.

use std::sync::Arc;
use std::time::Instant;

use pyo3::prelude::*;

use super::link::Link;
use crate::py::outcome::Ended;
use crate::py::tls::Admitted;

/// Who is told of a call's changes when no thread waits for it.
pub enum Watcher {
    /// Once, with the whole outcome of a unary call.
    Outcome(Py<PyAny>),
    /// At each change, without arguments.
    Change(Arc<Py<PyAny>>),
}

/// Who hears how a call ended beside whoever made it: once, also where that one is not there any more.
pub struct OnEnd {
    callback: Py<PyAny>,
    began: Instant,
}

impl OnEnd {
    pub fn new(callback: Py<PyAny>) -> Self {
        Self { callback, began: Instant::now() }
    }

    /// `ended` is without the call's messages.
    pub fn tell(self, py: Python<'_>, ended: Ended) -> PyResult<Py<PyAny>> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.callback.call1(py, (ended.into_outcome(py)?, seconds))
    }
}

/// What to tell a watcher once the lock is released.
pub enum News {
    Outcome(Py<PyAny>, Box<Ended>),
    Change(Arc<Py<PyAny>>),
    End(OnEnd, Box<Ended>),
    Lost(Py<PyAny>),
    /// The peer has said its first words, or will not for this reason.
    Heard(Py<PyAny>, Option<String>),
    /// A connection was not let in: its peer, and why.
    Refused(Arc<Py<PyAny>>, String, String),
    /// A connection was let in by its port's gate.
    Admitted(Arc<Py<PyAny>>, Arc<Link>),
}

impl News {
    pub fn tell(self, py: Python<'_>) {
        let told = match self {
            Self::Outcome(callback, ended) => ended.into_outcome(py).and_then(|outcome| callback.call1(py, (outcome,))),
            Self::Change(callback) => callback.call0(py),
            Self::End(on_end, ended) => on_end.tell(py, *ended),
            Self::Lost(callback) => callback.call0(py),
            Self::Heard(callback, problem) => callback.call1(py, (problem,)),
            Self::Refused(callback, peer, reason) => callback.call1(py, (peer, reason)),
            Self::Admitted(callback, link) => callback.call1(py, (Admitted(link),)),
        };
        if let Err(error) = told {
            error.write_unraisable(py, None);
        }
    }
}

pub fn tell_all(news: Vec<News>) {
    if !news.is_empty() {
        // A thread that is still here when the interpreter ends has nobody to tell.
        let _ = Python::try_attach(|py| news.into_iter().for_each(|item| item.tell(py)));
    }
}
