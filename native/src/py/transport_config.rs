//! `TransportConfig`: what a connection is made with and kept under, said once for a channel or a port.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use proxyless_core::grpc::{ConnectionPolicy, Keepalive};
use proxyless_core::http2::{Pings, Settings};

/// Sizes in bytes, times in seconds. None: as the engine has it, or not at all.
#[pyclass(frozen, module = "rpc._native")]
pub struct TransportConfig {
    pub http2: Settings,
    pub max_message: usize,
    pub policy: ConnectionPolicy,
    /// How long a caller looks for its answer before it sleeps. None: for a moment, while it pays.
    pub busy_poll: Option<Duration>,
}

#[pymethods]
impl TransportConfig {
    /// `keepalive`: a ping after so long a silence, how long its answer may take, and whether without calls, too.
    /// `pings`, of a server: the least time between a client's, whether without calls, and how many may come earlier
    /// (None: any number). `grace`: what calls in progress get after `max_age`.
    #[new]
    #[pyo3(signature = (max_message, *, max_concurrent_streams=None, max_header_list=None, stream_window=None,
                        bdp_probe=true, keepalive=None, pings=None, max_idle=None, max_age=None, grace=None, busy_poll=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        max_message: usize,
        max_concurrent_streams: Option<u32>,
        max_header_list: Option<u32>,
        stream_window: Option<u32>,
        bdp_probe: bool,
        keepalive: Option<(f64, f64, bool)>,
        pings: Option<(f64, bool, Option<u32>)>,
        max_idle: Option<f64>,
        max_age: Option<f64>,
        grace: Option<f64>,
        busy_poll: Option<f64>,
    ) -> PyResult<Self> {
        let defaults = Settings::default();
        let http2 = Settings {
            max_concurrent_streams: max_concurrent_streams.unwrap_or(defaults.max_concurrent_streams),
            stream_window: stream_window.unwrap_or(defaults.stream_window),
            widest_stream: if bdp_probe { defaults.widest_stream } else { 0 },
            max_header_list_size: max_header_list.unwrap_or(defaults.max_header_list_size),
            pings: match pings {
                None => defaults.pings,
                Some((min_interval, without_calls, strikes)) => {
                    Pings { min_interval: span(min_interval)?, without_calls, strikes: strikes.unwrap_or(u32::MAX) }
                }
            },
            ..defaults
        };
        let keepalive = keepalive
            .map(|(time, timeout, without_calls)| {
                Ok::<_, PyErr>(Keepalive { time: span(time)?, timeout: span(timeout)?, without_calls })
            })
            .transpose()?;
        let policy = ConnectionPolicy {
            keepalive,
            max_idle: max_idle.map(span).transpose()?,
            max_age: max_age.map(span).transpose()?,
            grace: grace.map(span).transpose()?,
        };
        Ok(Self { http2, max_message, policy, busy_poll: busy_poll.map(span).transpose()? })
    }

    /// In seconds.
    #[getter]
    fn busy_poll(&self) -> Option<f64> {
        self.busy_poll.map(|span| span.as_secs_f64())
    }
}

pub fn span(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(format!("{seconds} s: {error}")))
}
