//! What Python sees: `proxyless_native._native`, which `rpc` knows as `rpc._native`. Conversions and lifetimes only; the work is done below.

pub mod client;
pub mod hub;
pub mod metadata;
pub mod method;
pub mod patterns;
pub mod payload;
pub mod server;
pub mod terms;
pub mod tls;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use proxyless_core::grpc::status::{Status, code};
use proxyless_core::http2::Headers;

/// How a call ended, ready to become a Python tuple.
pub struct Outcome {
    status: Status,
    head: Option<Headers>,
    payload: Option<Bytes>,
}

impl Outcome {
    pub fn failed(status: Status) -> Self {
        Self { status, head: None, payload: None }
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

    pub fn code(&self) -> i32 {
        self.status.code
    }

    /// `(code, details, payload | None, initial | None, trailing | None, answered, unprocessed, origin)`; metadata that
    /// is empty is None; `answered`: the response has begun, with a head; `origin`: who ended the call, as a number.
    pub fn into_py(self, py: Python<'_>) -> PyResult<Py<PyTuple>> {
        // A Trailers-Only answer has no head of its own: the call may be retried (gRFC A6, "when retries are valid").
        let answered = self.head.as_ref().is_some_and(|head| !head.is_empty());
        let payload = self.payload.map(|bytes| payload::to_py(py, &bytes));
        let initial = self.head.map(|map| metadata::to_py(py, &map)).transpose()?.flatten();
        let trailing = metadata::to_py(py, &self.status.trailers)?;
        let Status { code, message, unprocessed, origin, .. } = self.status;
        let outcome = (code, message, payload, initial, trailing, answered, unprocessed, origin as u8);
        Ok(outcome.into_pyobject(py)?.unbind())
    }
}

/// A relative time in seconds, as Python says it, as a point in time. None, infinite or absurdly far: no deadline.
pub fn deadline_after(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    match timeout {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err("a timeout must be a number of seconds")),
        Some(seconds) => {
            let left = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
            Ok(Instant::now().checked_add(left))
        }
    }
}

#[pymodule]
pub fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    crate::drive::fork::install();
    module.add_class::<hub::Hub>()?;
    module.add_class::<terms::Terms>()?;
    module.add_class::<method::Method>()?;
    module.add_class::<patterns::Pattern>()?;
    module.add_class::<client::ClientLink>()?;
    module.add_class::<client::ClientCall>()?;
    module.add_class::<server::ServerCall>()?;
    module.add_class::<tls::ClientTls>()?;
    module.add_class::<tls::ServerTls>()?;
    module.add_class::<tls::Gate>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
