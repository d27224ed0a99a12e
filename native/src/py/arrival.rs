//! Calls that came in, as Python has them.

use std::sync::Arc;

use pyo3::prelude::*;

#[cfg(feature = "echo")]
use super::echo_call::EchoCall;
use super::events::{Accepted, Callback};
use super::server::ServerCall;

#[derive(IntoPyObject)]
pub enum Arrival {
    Grpc(ServerCall),
    #[cfg(feature = "echo")]
    Echo(EchoCall),
}

pub fn arrive(call: Accepted, on_dirty: Option<Arc<Callback>>) -> Arrival {
    match call {
        Accepted::Grpc(link, key) => Arrival::Grpc(ServerCall::new(link, key, on_dirty)),
        #[cfg(feature = "echo")]
        Accepted::Echo(link, key) => Arrival::Echo(EchoCall::new(link, key, on_dirty)),
    }
}
