//! `Outcome`: how an attempt of a call ended.

use std::collections::VecDeque;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use proxyless_core::grpc::status::{self, Status, code};
use proxyless_core::http2::Headers;

use super::{metadata, payload};

/// Who ended a call. No wording says it: a peer may say anything.
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
    /// Of a call in the child of a fork that its parent had made.
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

/// An outcome that Python has not seen: made without the GIL, under a link's lock.
pub struct Ended {
    status: Status,
    head: Option<Headers>,
    payload: Option<Bytes>,
}

impl Ended {
    /// Of a call whose messages are received one by one, or that is not there any more.
    pub fn new(status: Status, head: Option<Headers>) -> Self {
        Self { status, head, payload: None }
    }

    /// A unary call's end: OK needs exactly one message.
    pub fn unary(mut status: Status, head: Option<Headers>, inbox: &mut VecDeque<Bytes>) -> Self {
        let payload = inbox.pop_front();
        if status.code == code::OK && (payload.is_none() || !inbox.is_empty()) {
            let trailers = std::mem::take(&mut status.trailers);
            status = Status::new(code::UNIMPLEMENTED, "a unary call was not answered by exactly one message");
            status.trailers = trailers;
        }
        Self { status, head, payload }
    }

    pub fn without_message(&self) -> Self {
        Self::new(self.status.clone(), self.head.clone())
    }

    pub fn code(&self) -> i32 {
        self.status.code
    }

    pub fn into_outcome(self, py: Python<'_>) -> PyResult<Outcome> {
        // A Trailers-Only answer has no head of its own: the call may be retried (gRFC A6, "when retries are valid").
        let response_started = self.head.as_ref().is_some_and(|head| !head.is_empty());
        let payload = self.payload.map(|bytes| payload::to_py(py, &bytes).unbind());
        let initial = self.head.map(|map| metadata::to_py(py, &map)).transpose()?.flatten().map(Bound::unbind);
        let trailing = metadata::to_py(py, &self.status.trailers)?.map(Bound::unbind);
        let Status { code, message: details, unprocessed, origin, .. } = self.status;
        Ok(Outcome { code, details, payload, initial, trailing, response_started, unprocessed, origin: origin.into() })
    }
}
