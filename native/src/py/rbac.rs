//! `Rbac`: the RBAC filters of a chain, asked for each call without making anything in Python.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proxyless_policy::Undecided;
use proxyless_policy::address::Forwarding;
use proxyless_policy::path::{Answered, EscapedSlashes, Treatment};
use proxyless_policy::request::Request;
use proxyless_policy::rules::{Action, Filter};
use proxyless_tls::chains::{Admits, Arriving};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::connection_facts::{Facts, socket_address};
use super::rbac_request::{Seen, Written};
use super::rbac_rules::rules_of;
use super::server::ServerCall;

/// What a connection manager does to requests before filters look, and how it finds out whom a peer speaks for.
/// `escaped_slashes` is Envoy's word for what is done with them.
#[pyclass(frozen, module = "rpc._native")]
#[derive(Clone, Copy, Default)]
pub struct Managed {
    pub treatment: Treatment,
    pub forwarding: Forwarding,
    forwarded_certificates: ForwardedCertificates,
}

/// Whose word is taken on `x-forwarded-client-cert`: handlers that were moved from behind a sidecar believe it.
#[derive(Clone, Copy, Default)]
enum ForwardedCertificates {
    #[default]
    Nobody,
    /// Of who has shown a certificate.
    Peers,
    Anybody,
}

#[pymethods]
impl Managed {
    #[new]
    #[pyo3(signature = (*, normalize_path=false, merge_slashes=false, escaped_slashes="KEEP_UNCHANGED", strip_any_port=false, strip_matching_port=false, strip_trailing_dot=false, use_remote_address=false, trusted_hops=0, forward_client_cert="SANITIZE"))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        normalize_path: bool,
        merge_slashes: bool,
        escaped_slashes: &str,
        strip_any_port: bool,
        strip_matching_port: bool,
        strip_trailing_dot: bool,
        use_remote_address: bool,
        trusted_hops: u32,
        forward_client_cert: &str,
    ) -> PyResult<Self> {
        let forwarded_certificates = match forward_client_cert {
            "SANITIZE" | "SANITIZE_SET" => ForwardedCertificates::Nobody,
            "FORWARD_ONLY" | "APPEND_FORWARD" => ForwardedCertificates::Peers,
            "ALWAYS_FORWARD_ONLY" => ForwardedCertificates::Anybody,
            other => {
                return Err(PyValueError::new_err(format!("{other:?} is nothing to do with forwarded certificates")));
            }
        };
        let escaped_slashes = match escaped_slashes {
            "IMPLEMENTATION_SPECIFIC_DEFAULT" | "KEEP_UNCHANGED" => EscapedSlashes::Keep,
            "REJECT_REQUEST" => EscapedSlashes::Reject,
            "UNESCAPE_AND_REDIRECT" => EscapedSlashes::Redirect,
            "UNESCAPE_AND_FORWARD" => EscapedSlashes::Forward,
            other => return Err(PyValueError::new_err(format!("{other:?} is nothing to do with escaped slashes"))),
        };
        let treatment = Treatment {
            normalize: normalize_path,
            merge_slashes,
            escaped_slashes,
            strip_any_port,
            strip_matching_port,
            strip_trailing_dot,
        };
        let forwarding = Forwarding { remote: use_remote_address, hops: trusted_hops };
        Ok(Self { treatment, forwarding, forwarded_certificates })
    }

    /// Whom a peer speaks for that is written as grpcio does; None: it has no address. `forwarded` is X-Forwarded-For,
    /// lines joined by commas.
    fn client(&self, peer: &str, forwarded: &[u8]) -> Option<String> {
        let peer = socket_address(peer).map(|(address, _)| address);
        self.forwarding.client(peer, forwarded).map(|address| address.to_string())
    }

    /// Path and authority become what filters see, and what nobody vouches for goes. The answer is why the manager answers the call itself: `bad_request`
    /// or `redirect`; None: it does not.
    fn treat(&self, call: &Bound<'_, ServerCall>) -> Option<&'static str> {
        let call = call.get();
        if !call.has_authority() {
            return Some("bad_request");
        }
        let path = call.path_bytes();
        match self.treatment.path(&path) {
            Err(Answered::BadRequest) => return Some("bad_request"),
            Err(Answered::Redirect) => return Some("redirect"),
            Ok(treated) if *treated != *path => call.replace_one(":path", &treated),
            Ok(_) => {}
        }
        if !call.header_values(FORWARDED_CERTIFICATES).is_empty() {
            let vouched_for = match self.forwarded_certificates {
                ForwardedCertificates::Nobody => false,
                ForwardedCertificates::Peers => call.facts().certificate.is_some(),
                ForwardedCertificates::Anybody => true,
            };
            if !vouched_for {
                call.replace(FORWARDED_CERTIFICATES, Vec::new());
            }
        }
        if !self.treatment.leaves_authority() {
            let authority = call.header_values("host").into_iter().next().unwrap_or_default();
            let treated = self.treatment.authority(&authority, call.facts().local.map(|(_, port)| port));
            if *treated != *authority {
                call.replace_one(":authority", &treated);
            }
        }
        None
    }
}

/// What became of requests, since the filters were made.
#[derive(Default)]
struct Counted {
    allowed: AtomicU64,
    denied: AtomicU64,
    shadow_allowed: AtomicU64,
    shadow_denied: AtomicU64,
    logged: AtomicU64,
}

struct One {
    filter: Filter,
    /// What its dry run's findings are called begins so.
    shadow_prefix: String,
}

/// `filters`: for each its rules, its shadow rules and the prefix of their findings; rules are None or
/// `(action, [(name, permissions, principals)])` in tuples, as `rpc/authorization/rbac.py` writes them. Called with a
/// call: None, or what `denied(call, policy | None)` makes of it; with a policy that cannot be decided, what `undecided(call)`
/// does. With `answered` the manager treats the request first, and `answered(call, what)` is asked where it
/// answers the call itself. `of_connections`: rules see the connection, and nothing of the request. `told(call, what, policy)` hears of dry runs that would deny (`dry-run`) and of what a policy has audited
/// (`audited`). `subject(certificate)` reads a subject.
#[pyclass(frozen, module = "rpc._native")]
pub struct Rbac {
    filters: Vec<One>,
    managed: Managed,
    denied: Py<PyAny>,
    undecided: Py<PyAny>,
    told: Py<PyAny>,
    subject: Py<PyAny>,
    answered: Option<Py<PyAny>>,
    of_connections: bool,
    counted: Counted,
}

#[pymethods]
impl Rbac {
    #[new]
    #[pyo3(signature = (filters, managed, denied, undecided, told, subject, answered=None, of_connections=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        filters: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>, String)>,
        managed: &Managed,
        denied: Py<PyAny>,
        undecided: Py<PyAny>,
        told: Py<PyAny>,
        subject: Py<PyAny>,
        answered: Option<Py<PyAny>>,
        of_connections: bool,
    ) -> PyResult<Self> {
        let filters: PyResult<Vec<_>> = filters
            .into_iter()
            .map(|(rules, shadow, shadow_prefix)| {
                let filter = Filter { rules: rules_of(&rules)?, shadow: rules_of(&shadow)? };
                Ok(One { filter, shadow_prefix })
            })
            .collect();
        Ok(Self {
            filters: filters?,
            managed: *managed,
            denied,
            undecided,
            told,
            subject,
            answered,
            of_connections,
            counted: Counted::default(),
        })
    }

    fn __call__<'py>(&self, py: Python<'py>, call: &Bound<'py, ServerCall>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(answered) = &self.answered {
            if let Some(what) = self.managed.treat(call) {
                return answered.bind(py).call1((call, what)).map(Some);
            }
        }
        let facts = self.of_connections.then(|| call.get().facts());
        let seen = Seen::new(py, call.get(), self.managed.forwarding, &self.subject);
        for one in &self.filters {
            let refusal = match &facts {
                Some(facts) => self.ask(py, call, one, &**facts)?,
                None => self.ask(py, call, one, &seen)?,
            };
            if let Some(refusal) = refusal {
                return Ok(Some(refusal));
            }
        }
        Ok(None)
    }

    /// For requests that are written down: what the filters say of each, whether it is allowed and by which policy (the
    /// last filter's, where all allow it). Nobody is told, nothing is counted. None: undecided.
    fn decide_all(&self, requests: Vec<Written>) -> Vec<Option<(bool, Option<&str>)>> {
        requests.iter().map(|request| self.decide(request).ok()).collect()
    }

    /// What became of the calls so far: `allowed`, `denied`, `shadow_allowed`, `shadow_denied`, `logged`.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = PyDict::new(py);
        let Counted { allowed, denied, shadow_allowed, shadow_denied, logged } = &self.counted;
        for (name, counter) in [
            ("allowed", allowed),
            ("denied", denied),
            ("shadow_allowed", shadow_allowed),
            ("shadow_denied", shadow_denied),
            ("logged", logged),
        ] {
            counters.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        Ok(counters)
    }
}

impl Rbac {
    fn decide(&self, request: &impl Request) -> Result<(bool, Option<&str>), Undecided> {
        let mut last = (true, None);
        for rules in self.filters.iter().filter_map(|one| one.filter.rules.as_ref()) {
            let verdict = rules.decide(request)?;
            last = (verdict.allowed, verdict.policy);
            if !verdict.allowed {
                break;
            }
        }
        Ok(last)
    }

    /// As Envoy does: the dry run first, told and counted, then what counts.
    fn ask<'py>(
        &self,
        py: Python<'py>,
        call: &Bound<'py, ServerCall>,
        one: &One,
        seen: &impl Request,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(shadow) = &one.filter.shadow {
            if let Ok(verdict) = shadow.decide(seen) {
                self.note_shadow(py, call, one, verdict.allowed, verdict.policy)?;
            }
        }
        let Some(rules) = &one.filter.rules else { return Ok(None) };
        let Ok(verdict) = rules.decide(seen) else {
            if rules.action == Action::Log {
                return Ok(None); // which nobody is denied by
            }
            count(&self.counted.denied);
            return self.undecided.bind(py).call1((call,)).map(Some);
        };
        if !verdict.allowed {
            count(&self.counted.denied);
            return self.denied.bind(py).call1((call, verdict.policy)).map(Some);
        }
        if rules.action == Action::Log {
            if verdict.policy.is_some() {
                count(&self.counted.logged);
                self.told.bind(py).call1((call, "audited", verdict.policy))?;
            }
        } else {
            count(&self.counted.allowed);
        }
        Ok(None)
    }

    /// Later filters may ask what it said (envoy: DynamicMetadataKeys in source/extensions/filters/http/rbac).
    fn note_shadow(
        &self,
        py: Python<'_>,
        call: &Bound<'_, ServerCall>,
        one: &One,
        allowed: bool,
        policy: Option<&str>,
    ) -> PyResult<()> {
        count(if allowed { &self.counted.shadow_allowed } else { &self.counted.shadow_denied });
        let found = call.get().findings(py).bind(py).clone();
        let own = match found.get_item(FILTER)? {
            Some(own) => own.cast_into::<PyDict>()?,
            None => {
                let own = PyDict::new(py);
                found.set_item(FILTER, &own)?;
                own
            }
        };
        if let Some(policy) = policy {
            own.set_item(format!("{}shadow_effective_policy_id", one.shadow_prefix), policy)?;
        }
        let result = if allowed { "allowed" } else { "denied" };
        own.set_item(format!("{}shadow_engine_result", one.shadow_prefix), result)?;
        if !allowed {
            self.told.bind(py).call1((call, "dry-run", policy))?;
        }
        Ok(())
    }
}

const FORWARDED_CERTIFICATES: &str = "x-forwarded-client-cert";
const FILTER: &str = "envoy.filters.http.rbac";

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A chain's rules of connections, asked without Python.
pub fn admits(rbac: Py<Rbac>) -> Admits {
    Some(Arc::new(move |arriving: &Arriving<'_>| {
        let rbac = rbac.get();
        match rbac.decide(&Facts::of(arriving)) {
            Ok((true, _)) => Ok(()),
            denied => {
                count(&rbac.counted.denied);
                let policy = denied.map_or("undecided", |(_, policy)| policy.unwrap_or("none"));
                Err(format!("rbac_access_denied_matched_policy[{policy}]"))
            }
        }
    }))
}
