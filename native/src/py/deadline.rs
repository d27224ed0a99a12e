//! Time-outs, as Python says them.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

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
