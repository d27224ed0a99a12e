//! `Tally`: what connections have carried.

use proxyless_core::grpc;
use pyo3::prelude::*;

/// Calls started, succeeded and failed; messages sent and received; keepalive pings sent.
#[pyclass(frozen, get_all, eq, module = "rpc._native")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    started: u64,
    succeeded: u64,
    failed: u64,
    messages_sent: u64,
    messages_received: u64,
    keepalives: u64,
}

impl From<grpc::Tally> for Tally {
    fn from(tally: grpc::Tally) -> Self {
        let grpc::Tally { started, succeeded, failed, messages_sent, messages_received, keepalives } = tally;
        Self { started, succeeded, failed, messages_sent, messages_received, keepalives }
    }
}

#[pymethods]
impl Tally {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn __add__(&self, other: &Bound<'_, Self>) -> Self {
        let other = other.get();
        Self {
            started: self.started + other.started,
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            messages_sent: self.messages_sent + other.messages_sent,
            messages_received: self.messages_received + other.messages_received,
            keepalives: self.keepalives + other.keepalives,
        }
    }

    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}
