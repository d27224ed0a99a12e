//! What filters of the mesh change in the head of an answer, whoever gives it.

use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::metadata::hidden;
use proxyless_core::http2::Headers;

/// Envoy's actions (config.core.v3.HeaderValueOption), and that a header goes.
#[derive(Clone, Copy)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfExists,
    Remove,
}

struct Change {
    action: Action,
    name: String,
    value: Vec<u8>,
}

/// Of one call. Most have none, which costs a look at one word.
#[derive(Default)]
pub struct AnswerChanges(OnceLock<Mutex<Vec<Change>>>);

impl AnswerChanges {
    /// False: nobody may change this header, or give it this value. ValueError: there is no such action.
    pub fn add(&self, action: &str, name: &str, value: Vec<u8>) -> PyResult<bool> {
        let action = match action {
            "APPEND_IF_EXISTS_OR_ADD" => Action::Append,
            "ADD_IF_ABSENT" => Action::AddIfAbsent,
            "OVERWRITE_IF_EXISTS_OR_ADD" => Action::Overwrite,
            "OVERWRITE_IF_EXISTS" => Action::OverwriteIfExists,
            "REMOVE" => Action::Remove,
            other => return Err(PyValueError::new_err(format!("no header is changed by {other:?}"))),
        };
        let name = name.to_ascii_lowercase();
        if !may_change(&name) || !is_field_value(&value) {
            return Ok(false);
        }
        let changes = self.0.get_or_init(Mutex::default);
        changes.lock().unwrap_or_else(PoisonError::into_inner).push(Change { action, name, value });
        Ok(true)
    }

    pub fn apply(&self, headers: &mut Headers) {
        let Some(changes) = self.0.get() else { return };
        for Change { action, name, value } in &*changes.lock().unwrap_or_else(PoisonError::into_inner) {
            match (action, headers.contains(name)) {
                (Action::Append, _) | (Action::AddIfAbsent, false) => headers.push(name, value),
                (Action::Overwrite, _) | (Action::OverwriteIfExists, true) => headers.replace(name, &[value]),
                (Action::Remove, _) => headers.replace(name, &[b""; 0]),
                (Action::AddIfAbsent, true) | (Action::OverwriteIfExists, false) => {}
            }
        }
    }
}

/// What HTTP/2 and gRPC say for themselves is theirs.
fn may_change(name: &str) -> bool {
    const OF_CONNECTIONS: [&str; 5] =
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length"];
    let token = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9') || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && !hidden(name) && !OF_CONNECTIONS.contains(&name) && name != "upgrade"
}

fn is_field_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}
