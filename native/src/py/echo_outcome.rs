//! How a call of the test protocol ended, as Python has it.

use proxyless_echo::Ended;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `(code, details, payload)`
pub type Said = (i32, String, Option<Py<PyBytes>>);

pub fn said(py: Python<'_>, ended: Ended) -> Said {
    let payload = ended.payload.map(|payload| PyBytes::new(py, &payload).unbind());
    (ended.status.code, ended.status.message, payload)
}
