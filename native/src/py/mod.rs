//! What Python sees: `proxyless_native._native`, which `rpc` knows as `rpc._native`. Conversions and lifetimes only; the work is done below.

pub mod client;
pub mod client_call;
#[cfg(feature = "echo")]
mod echo;
pub mod hub;
pub mod metadata;
pub mod method;
pub mod news;
pub mod outcome;
pub mod patterns;
pub mod payload;
pub mod server;
pub mod tally;
pub mod terms;
pub mod tls;

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

#[pymodule]
pub fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    proxyless_drive::fork::install();
    module.add_class::<hub::Hub>()?;
    module.add_class::<terms::Terms>()?;
    module.add_class::<method::Method>()?;
    module.add_class::<outcome::Origin>()?;
    module.add_class::<outcome::Outcome>()?;
    module.add("FORKED", outcome::Outcome::forked())?;
    module.add_class::<tally::Tally>()?;
    module.add_class::<patterns::Pattern>()?;
    module.add_class::<client::ClientLink>()?;
    module.add_class::<client_call::ClientCall>()?;
    module.add_class::<server::ServerCall>()?;
    module.add_class::<tls::ClientTls>()?;
    module.add_class::<tls::ServerTls>()?;
    module.add_class::<tls::Gate>()?;
    module.add_class::<tls::Admitted>()?;
    module.add_class::<tls::TlsInfo>()?;
    #[cfg(feature = "echo")]
    echo::add_to(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
