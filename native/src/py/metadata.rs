//! Metadata between Python's pairs and HTTP headers (grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata").

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use proxyless_core::http2::Headers;

/// Sent without padding, taken with or without.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the protocol says for itself and applications do not see, as in grpcio.
pub(super) fn hidden(name: &str) -> bool {
    matches!(
        name,
        "content-type"
            | "te"
            | "grpc-status"
            | "grpc-message"
            | "grpc-timeout"
            | "grpc-encoding"
            | "grpc-accept-encoding"
    )
}

/// A list of `(name, str | bytes)`; None where there is nothing to see. A binary value that is no base64 is left out.
pub fn to_py<'py>(py: Python<'py>, headers: &Headers) -> PyResult<Option<Bound<'py, PyList>>> {
    let mut pairs: Vec<Bound<'py, PyTuple>> = Vec::new();
    for (name, value) in headers.fields() {
        if hidden(name) {
            continue;
        }
        if name.ends_with("-bin") {
            // Several values may come joined by commas.
            for piece in value.split(|byte| *byte == b',') {
                if let Ok(bytes) = BINARY.decode(piece.trim_ascii()) {
                    pairs.push((name, PyBytes::new(py, &bytes)).into_pyobject(py)?);
                }
            }
        } else {
            pairs.push((name, text(py, value)).into_pyobject(py)?);
        }
    }
    if pairs.is_empty() { Ok(None) } else { Ok(Some(PyList::new(py, pairs)?)) }
}

/// Peers send UTF-8 (dubbo-go) or Latin-1 (Dubbo Java) where ASCII is asked for.
fn text<'py>(py: Python<'py>, raw: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(raw) {
        Ok(text) => PyString::new(py, text),
        Err(_) => PyString::new(py, &raw.iter().map(|&byte| byte as char).collect::<String>()),
    }
}

fn wrong_type(what: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let kind = given.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("Invalid metadata: {what} is a {kind}; it has to be text, or bytes for -bin names"))
}

/// Adds Python's pairs to `headers`. ValueError names the pair that cannot be sent, TypeError what is no pair of texts.
/// What the protocol says for itself is left out, as in grpcio.
pub fn from_py(metadata: &Bound<'_, PyAny>, headers: &mut Headers) -> PyResult<()> {
    for pair in metadata.try_iter()? {
        let pair = pair?;
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair
            .extract()
            .map_err(|_| PyValueError::new_err("Invalid metadata: it has to be pairs of a name and a value"))?;
        let name = match name.extract::<String>() {
            Ok(name) => name,
            Err(_) => String::from_utf8_lossy(name.extract::<&[u8]>().map_err(|_| wrong_type("a name", &name))?).into(),
        };
        let invalid = |why: &str| PyValueError::new_err(format!("Invalid metadata: {name:?}: {why}"));
        // HTTP/2 allows lower case only, and grpcio refuses the others.
        if name.is_empty() || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')) {
            return Err(invalid("a name is made of a-z, 0-9, '-', '_' and '.'"));
        }
        if hidden(&name) {
            continue;
        }
        if name.ends_with("-bin") {
            let bytes: &[u8] = value.extract().map_err(|_| wrong_type(&format!("the value of {name:?}"), &value))?;
            headers.push(&name, BINARY.encode(bytes));
            continue;
        }
        let text = match value.extract::<&str>() {
            Ok(text) => text.as_bytes(),
            Err(_) if value.is_none() => b"", // as in grpcio
            Err(_) => value.extract::<&[u8]>().map_err(|_| wrong_type(&format!("the value of {name:?}"), &value))?,
        };
        if !text.iter().all(|byte| matches!(byte, 0x20..=0x7e)) {
            return Err(invalid("a value is printable ASCII"));
        }
        headers.push(&name, text);
    }
    Ok(())
}
