//! `Pattern`: a regular expression that came from outside.

use proxyless_patterns as patterns;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// From this length on other threads run while a text is matched; below it, letting them would cost more.
const LONG: usize = 512;

/// RE2's syntax; raises ValueError saying what cannot be matched. Bounded in size, linear in the text.
#[pyclass(frozen, weakref, module = "proxyless_native")]
pub struct Pattern(patterns::Pattern);

#[pymethods]
impl Pattern {
    /// Bytes of text times bytes of program, of one match.
    #[classattr]
    const MOST_WORK: usize = patterns::MOST_WORK;

    #[new]
    fn new(source: &str) -> PyResult<Self> {
        patterns::Pattern::new(source).map(Self).map_err(PyValueError::new_err)
    }

    /// Whether the whole text matches. Raises ValueError for a text that is too long to say.
    fn fullmatch(&self, py: Python<'_>, text: &Bound<'_, PyString>) -> PyResult<bool> {
        // What is no UTF-8 (a lone surrogate) matches nothing, as invalid bytes match nothing in RE2.
        let Ok(text) = text.to_str() else { return Ok(false) };
        let matched = if text.len() < LONG { self.0.matches(text) } else { py.detach(|| self.0.matches(text)) };
        matched.map_err(|patterns::TooLong(limit)| {
            PyValueError::new_err(format!(
                "{} bytes are more than the {limit} that a pattern is matched with",
                text.len()
            ))
        })
    }

    /// How many groups it captures.
    #[getter]
    fn groups(&self) -> usize {
        self.0.groups()
    }

    /// Bytes that it keeps in memory.
    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }
}
