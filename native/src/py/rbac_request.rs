//! What rules see: a call of the engine's, or a request that is written down.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proxyless_core::http2::Headers;
use proxyless_patterns::MOST_WORK;
use proxyless_policy::Undecided;
use proxyless_policy::address::Forwarding;
use proxyless_policy::path::is_authority;
use proxyless_policy::request::{PeerNames, Request, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString, PyTuple};

use super::connection_facts::{self, Facts, names_of};
use super::server::ServerCall;

/// What so much work takes with the worst pattern known to us, of processor time; see `rpc/pattern.py`.
const MOST_TIME: Duration = Duration::from_millis(50);
/// What it costs to look at a field that is another one, in bytes of a text.
const FIELD: usize = 16;
/// Headers that Envoy keeps in one piece, however many lines they come in (envoy/http/header_map.h, O(1) headers).
const JOINED: &[&str] = &[
    "content-type",
    "expect",
    "grpc-timeout",
    "te",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

impl ServerCall {
    pub fn replace_one(&self, name: &str, value: &[u8]) {
        self.replace(name, vec![value.to_vec()]);
    }

    pub fn path_bytes(&self) -> Vec<u8> {
        self.with_head(|head| head.get(":path").unwrap_or_default().to_vec())
    }

    /// It says to whom it is, in a way that can be.
    pub fn has_authority(&self) -> bool {
        self.with_head(|head| {
            let mut said = [":authority", "host"].into_iter().filter_map(|name| head.get(name)).peekable();
            said.peek().is_some() && said.all(is_authority)
        })
    }

    fn head_copied(&self) -> Headers {
        self.with_head(Headers::clone)
    }

    /// None: nobody has found out anything.
    fn findings_so_far(&self, py: Python<'_>) -> Option<Py<PyDict>> {
        self.found.get().map(|found| found.clone_ref(py))
    }

    /// Of its connection.
    pub fn facts(&self) -> Arc<Facts> {
        connection_facts::of_link(&self.link)
    }
}

pub struct Seen<'c, 'py> {
    py: Python<'py>,
    call: &'c ServerCall,
    forwarding: Forwarding,
    subject: &'c Py<PyAny>,
    head: OnceCell<Headers>,
    facts: OnceCell<Arc<Facts>>,
    client: OnceCell<Option<IpAddr>>,
    work: Cell<usize>,
    since: Cell<Duration>,
}

impl<'c, 'py> Seen<'c, 'py> {
    pub fn new(py: Python<'py>, call: &'c ServerCall, forwarding: Forwarding, subject: &'c Py<PyAny>) -> Self {
        Self {
            py,
            call,
            forwarding,
            subject,
            head: OnceCell::new(),
            facts: OnceCell::new(),
            client: OnceCell::new(),
            work: Cell::default(),
            since: Cell::default(),
        }
    }

    fn head(&self) -> &Headers {
        self.head.get_or_init(|| self.call.head_copied())
    }

    fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| self.call.facts())
    }
}

impl Request for Seen<'_, '_> {
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>> {
        values_in(name, |name| self.head().values(name).map(Cow::Borrowed).collect())
    }

    fn header_bytes(&self) -> usize {
        FIELD * self.head().len() + self.head().text_len()
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.head().get(":path").unwrap_or_default()))
    }

    fn peer(&self) -> Option<IpAddr> {
        self.facts().peer
    }

    fn client(&self) -> Option<IpAddr> {
        *self.client.get_or_init(|| {
            let forwarded = self.values("x-forwarded-for");
            self.forwarding.client(self.peer(), forwarded.first().map_or(&b""[..], |list| list))
        })
    }

    fn local(&self) -> Option<(IpAddr, u16)> {
        self.facts().local
    }

    fn server_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.facts().server_name)
    }

    fn names(&self) -> Option<Cow<'_, PeerNames>> {
        self.facts().names.as_ref().map(Cow::Borrowed)
    }

    fn subject(&self) -> Result<Vec<u8>, Undecided> {
        let Some(certificate) = &self.facts().certificate else { return Ok(Vec::new()) };
        let asked = self.subject.bind(self.py).call1((PyBytes::new(self.py, certificate),));
        asked.and_then(|subject| subject.extract()).map_err(|_| Undecided)
    }

    fn metadata(&self, filter: &str, path: &[String]) -> Option<Value> {
        let found = self.call.findings_so_far(self.py)?;
        value_at(&found.into_bound(self.py), filter, path)
    }

    fn affords(&self, work: usize) -> bool {
        let before = self.work.get();
        let after = before.saturating_add(work);
        self.work.set(after);
        if before == 0 {
            self.since.set(processor_time());
            return true;
        }
        let share = MOST_TIME.mul_f64((work as f64 / MOST_WORK as f64).min(2.0));
        after <= MOST_WORK || processor_time().saturating_sub(self.since.get()) + share <= MOST_TIME
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What is one value to Envoy is one.
fn values_in<'h>(name: &str, of: impl Fn(&str) -> Vec<Cow<'h, [u8]>>) -> Vec<Cow<'h, [u8]>> {
    let (name, other) = names_of(name);
    let mut values = of(name);
    if let (true, Some(other)) = (values.is_empty(), other) {
        values = of(other);
    }
    if values.len() < 2 {
        return values;
    }
    let between: &[u8] = match name {
        "cookie" => b"; ",
        _ if JOINED.contains(&name) => b",",
        _ => return values,
    };
    vec![Cow::Owned(values.join(between))]
}

fn value_at(found: &Bound<'_, PyDict>, filter: &str, path: &[String]) -> Option<Value> {
    let mut value = found.get_item(filter).ok()??;
    for key in path {
        value = value.cast_into::<PyDict>().ok()?.get_item(key).ok()??;
    }
    json(&value)
}

/// None: it is none of JSON's.
fn json(value: &Bound<'_, PyAny>) -> Option<Value> {
    if value.is_none() {
        return Some(Value::Null);
    }
    if let Ok(value) = value.cast::<PyBool>() {
        return Some(Value::Bool(value.is_true()));
    }
    if let Ok(value) = value.cast::<PyString>() {
        return value.extract().ok().map(Value::Text);
    }
    if value.is_instance_of::<PyDict>() {
        return Some(Value::Struct);
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items: Vec<Bound<'_, PyAny>> = value.extract().ok()?;
        return Some(Value::List(items.iter().filter_map(json).collect()));
    }
    value.extract().ok().map(Value::Number)
}

/// URI names, DNS names and subject.
type NamesOf = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<u8>);

/// A request that is written down, for tests and for whoever asks what would be: `rpc/_native.pyi`.
#[derive(FromPyObject)]
pub struct Written {
    path: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    local: Option<(IpAddr, u16)>,
    server_name: String,
    /// None: plaintext.
    names: Option<NamesOf>,
    metadata: Py<PyDict>,
}

impl Request for Written {
    fn values(&self, name: &str) -> Vec<Cow<'_, [u8]>> {
        values_in(name, |name| {
            let fitting = self.headers.iter().filter(|(own, _)| own == name);
            fitting.map(|(_, value)| Cow::Borrowed(value.as_slice())).collect()
        })
    }

    fn header_bytes(&self) -> usize {
        0
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.path.as_deref().map(Cow::Borrowed)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn client(&self) -> Option<IpAddr> {
        self.client
    }

    fn local(&self) -> Option<(IpAddr, u16)> {
        self.local
    }

    fn server_name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.server_name)
    }

    fn names(&self) -> Option<Cow<'_, PeerNames>> {
        self.names.as_ref().map(|(uris, dns, _)| Cow::Owned(PeerNames { uris: uris.clone(), dns: dns.clone() }))
    }

    fn subject(&self) -> Result<Vec<u8>, Undecided> {
        Ok(self.names.as_ref().map(|(_, _, subject)| subject.clone()).unwrap_or_default())
    }

    fn metadata(&self, filter: &str, path: &[String]) -> Option<Value> {
        Python::attach(|py| value_at(self.metadata.bind(py), filter, path))
    }

    fn affords(&self, _: usize) -> bool {
        true
    }
}
