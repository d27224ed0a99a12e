//! What Python sees: `proxyless_native._native`, which `rpc` knows as `rpc._native`. Conversions and lifetimes only; the work is done below.

mod answer_changes;
pub mod arrival;
pub mod client;
pub mod client_call;
pub mod commands;
mod connection_facts;
pub mod deadline;
#[cfg(feature = "echo")]
mod echo;
#[cfg(feature = "echo")]
mod echo_call;
#[cfg(feature = "echo")]
mod echo_outcome;
pub mod events;
pub mod metadata;
pub mod method;
pub mod outcome;
pub mod patterns;
pub mod payload;
pub mod port_policy;
pub mod rbac;
mod rbac_request;
mod rbac_rules;
pub mod reactor;
pub mod server;
pub mod tally;
pub mod tls;
pub mod transport_config;

use pyo3::prelude::*;

#[pymodule]
pub fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    proxyless_drive::fork::install();
    module.add_class::<reactor::Reactor>()?;
    module.add_class::<transport_config::TransportConfig>()?;
    module.add_class::<method::Method>()?;
    module.add_class::<outcome::Origin>()?;
    module.add_class::<outcome::Outcome>()?;
    module.add("FORKED", outcome::Outcome::forked())?;
    module.add_class::<tally::Tally>()?;
    module.add_class::<patterns::Pattern>()?;
    module.add_class::<client::ClientTransport>()?;
    module.add_class::<client_call::ClientCall>()?;
    module.add_class::<server::ServerCall>()?;
    module.add_class::<rbac::Managed>()?;
    module.add_class::<rbac::Rbac>()?;
    module.add_class::<tls::ClientTls>()?;
    module.add_class::<tls::ServerTls>()?;
    module.add_class::<port_policy::PortPolicy>()?;
    module.add_class::<tls::Admitted>()?;
    module.add_class::<tls::TlsInfo>()?;
    #[cfg(feature = "echo")]
    echo::add_to(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
