//! `Method`: what calls of one method send alike.

use std::sync::Arc;
use std::time::Instant;

use http::Uri;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::metadata;
use proxyless_core::grpc::encoding::{self, Encoding};
use proxyless_core::grpc::{self, timeout};
use proxyless_core::http2::{Headers, Template};

/// What every request of one method has in common, made once.
#[pyclass(frozen, module = "rpc._native")]
pub struct Method {
    pub(super) template: Arc<Template>,
    pub(super) encoding: Encoding,
}

#[pymethods]
impl Method {
    /// What a call would be refused for, before there is a connection to refuse it: ValueError names the pair that cannot
    /// be sent, TypeError what is no pair of texts.
    #[staticmethod]
    fn check_metadata(pairs: &Bound<'_, PyAny>) -> PyResult<()> {
        metadata::from_py(pairs, &mut Headers::default())
    }

    #[new]
    /// `encoding`: what requests are compressed with, by gRPC's number for it.
    #[pyo3(signature = (path, authority, user_agent, encoding=0, scheme="http"))]
    fn new(path: &str, authority: &str, user_agent: &str, encoding: u8, scheme: &str) -> PyResult<Self> {
        // Only looked at: what is no authority or no path must not reach the wire. As in grpcio a method's name need not
        // begin with a slash; it goes as it is.
        let rooted = if path.starts_with('/') || path.is_empty() { path.to_owned() } else { format!("/{path}") };
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(rooted)
            .build()
            .map_err(|error| PyValueError::new_err(format!("{authority:?}, {path:?}: {error}")))?;
        let encoding = Encoding::from_number(encoding)
            .ok_or_else(|| PyValueError::new_err(format!("no compression has the number {encoding}")))?;
        if !user_agent.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
            return Err(PyValueError::new_err(format!("user agent {user_agent:?}: a value is printable ASCII")));
        }
        let fixed = [
            (":method", "POST"),
            (":scheme", scheme),
            (":path", path),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", grpc::CONTENT_TYPE),
            ("user-agent", user_agent.trim()),
            ("grpc-accept-encoding", encoding::ACCEPTED),
        ];
        let mut headers: Headers = fixed.into_iter().collect();
        if encoding != Encoding::Identity {
            headers.push("grpc-encoding", encoding.name());
        }
        Ok(Self { template: Arc::new(Template::new(headers)), encoding })
    }
}

impl Method {
    /// What a request has besides the template.
    pub(super) fn extra(&self, metadata: Option<&Bound<'_, PyAny>>, deadline: Option<Instant>) -> PyResult<Headers> {
        let mut extra = Headers::new();
        if let Some(deadline) = deadline {
            extra.push("grpc-timeout", timeout::encode(deadline.saturating_duration_since(Instant::now())));
        }
        if let Some(metadata) = metadata {
            metadata::from_py(metadata, &mut extra)?;
        }
        if extra.contains("user-agent") {
            // The template says it, once: as in grpcio, a program's own goes by grpc.primary_user_agent.
            extra = extra.fields().filter(|(name, _)| *name != "user-agent").collect();
        }
        Ok(extra)
    }
}
