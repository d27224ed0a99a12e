//! `Outcome`: how an attempt of a call ended.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use proxyless_core::grpc::ended::Ended;
use proxyless_core::grpc::status::{self, Status, code};

use super::{metadata, payload};

/// The side that ended a call. No wording says it: a peer may say anything.
#[pyclass(frozen, eq, hash, from_py_object, module = "rpc._native")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::upper_case_acronyms)]
pub enum Origin {
    /// This side of the call: whoever made it, its deadline, what cannot be sent or read.
    LOCAL,
    /// The other side of the call.
    PEER,
    /// What all calls of a channel or connection have in common: it was closed or lost.
    CHANNEL,
}

impl From<status::Origin> for Origin {
    fn from(origin: status::Origin) -> Self {
        match origin {
            status::Origin::Local => Self::LOCAL,
            status::Origin::Peer => Self::PEER,
            status::Origin::Channel => Self::CHANNEL,
        }
    }
}

/// See `rpc/_native.pyi`.
#[pyclass(frozen, get_all, module = "rpc._native")]
pub struct Outcome {
    code: i32,
    details: String,
    payload: Option<Py<PyBytes>>,
    initial: Option<Py<PyList>>,
    trailing: Option<Py<PyList>>,
    response_started: bool,
    unprocessed: bool,
    origin: Origin,
}

#[pymethods]
impl Outcome {
    #[new]
    #[pyo3(signature = (code, details="", *, initial=None, response_started=false, unprocessed=false, origin=Origin::LOCAL))]
    fn new(
        code: i32,
        details: &str,
        initial: Option<Py<PyList>>,
        response_started: bool,
        unprocessed: bool,
        origin: Origin,
    ) -> Self {
        Self {
            code,
            details: details.to_owned(),
            payload: None,
            initial,
            trailing: None,
            response_started,
            unprocessed,
            origin,
        }
    }

    #[getter]
    fn ok(&self) -> bool {
        self.code == code::OK
    }

    /// The same end but for these: its metadata, its origin and what was processed stay.
    #[pyo3(signature = (code, details, payload=None))]
    fn replaced(&self, py: Python<'_>, code: i32, details: &str, payload: Option<Py<PyBytes>>) -> Self {
        Self {
            code,
            details: details.to_owned(),
            payload,
            initial: self.initial.as_ref().map(|initial| initial.clone_ref(py)),
            trailing: self.trailing.as_ref().map(|trailing| trailing.clone_ref(py)),
            ..*self
        }
    }

    fn __repr__(&self) -> String {
        format!("Outcome({}, {:?}, origin={:?})", self.code, self.details, self.origin)
    }
}

impl Outcome {
    /// The outcome, in the child of a fork, of a call that its parent had made.
    pub fn forked() -> Self {
        Self::new(
            code::CANCELLED,
            "the process was forked: this call is its parent's",
            None,
            false,
            false,
            Origin::CHANNEL,
        )
    }
}

pub fn of(py: Python<'_>, ended: Ended) -> PyResult<Outcome> {
    // A Trailers-Only answer has no head of its own: the call may be retried (gRFC A6, "when retries are valid").
    let response_started = ended.head.as_ref().is_some_and(|head| !head.is_empty());
    let payload = ended.payload.map(|bytes| payload::to_py(py, &bytes).unbind());
    let initial = ended.head.map(|map| metadata::to_py(py, &map)).transpose()?.flatten().map(Bound::unbind);
    let trailing = metadata::to_py(py, &ended.status.trailers)?.map(Bound::unbind);
    let Status { code, message: details, unprocessed, origin, .. } = ended.status;
    Ok(Outcome { code, details, payload, initial, trailing, response_started, unprocessed, origin: origin.into() })
}
