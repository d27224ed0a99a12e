//! What a server's port lets in, replaceable while it serves, and how a connection came through it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use proxyless_tls::chains::{Chains, Hello, Policy};
use proxyless_tls::protocol_detection::Taken;
use proxyless_tls::server::ServerTls;
use proxyless_tls::session::Session;

use crate::fork::ProcessMutex;
use crate::listener::Listener;

/// How long a client may take to hear of a change from the control plane, as we did, before we tell it to go away: one
/// that has to connect anew before it has heard does so in the way that is no longer let in. (Envoy takes up to its
/// drain time of 45 s.)
const HEARING: Duration = Duration::from_secs(2);
/// How long a client that was told to go away may take to hear it. A client that still makes new calls then does not
/// want to hear.
const OVERSTAY: Duration = Duration::from_secs(10);

pub struct PortPolicy<L: Listener> {
    chains: ProcessMutex<Arc<Chains>>,
    /// How many times they were replaced.
    version: AtomicU64,
    pub on_refused: Arc<L::Callback>,
    pub on_admitted: Arc<L::Callback>,
    /// Called for each new connection before its first bytes are looked at: it may change the chains.
    before_handshakes: ProcessMutex<Option<Arc<L::Callback>>>,
}

/// How a link's bytes are protected, and by what port policy it came in (servers).
pub struct LinkSecurity<L: Listener> {
    pub session: Option<Box<Session>>,
    pub admission: Option<Admission<L>>,
}

impl<L: Listener> Default for LinkSecurity<L> {
    fn default() -> Self {
        Self { session: None, admission: None }
    }
}

pub struct Admission<L: Listener> {
    pub port_policy: Arc<PortPolicy<L>>,
    pub(super) hello: Hello,
    /// That it came in by.
    pub chain: Taken,
    /// The port policy's version when the connection was made: what it chose among then may be replaced by the time it
    /// is let in.
    version: u64,
    /// When a change first closed the door on it. Nothing that comes later moves that, nor what follows from it.
    pub(super) misfit_since: OnceLock<Instant>,
    told: AtomicBool,
    /// What last took the client's certificate: whoever fits the same again is not verified again.
    pub(super) taken_by: ProcessMutex<Weak<ServerTls>>,
    /// Whatever its owner wants to know of the connection once for all its calls.
    pub facts: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// The policy for its new calls, of the version of the port policy that stands beside it.
    policy: ProcessMutex<(u64, Policy)>,
}

impl<L: Listener> Admission<L> {
    pub fn new(port_policy: Arc<PortPolicy<L>>, hello: Hello, chain: Taken, version: u64) -> Self {
        let policy = ProcessMutex::new((version, chain.policy.clone()));
        Self {
            policy,
            facts: OnceLock::new(),
            port_policy,
            hello,
            chain,
            version,
            misfit_since: OnceLock::new(),
            told: AtomicBool::new(false),
            taken_by: ProcessMutex::default(),
        }
    }

    /// The chains were replaced while it was on its way in.
    pub fn is_late(&self) -> bool {
        self.version != self.port_policy.version()
    }

    /// What holds for a call that begins now: the policy of the chain that would take the connection now. Where none
    /// would, what held before: the connection is told to go away, and may finish.
    pub fn policy(&self) -> Policy {
        let mut known = self.policy.lock();
        let version = self.port_policy.version();
        if known.0 != version {
            if let Some(chain) = self.port_policy.chains().select(&self.hello) {
                known.1 = chain.policy.clone();
            }
            known.0 = version;
        }
        known.1.clone()
    }

    pub fn overstays(&self) -> bool {
        self.misfit_since.get().is_some_and(|since| since.elapsed() > HEARING + OVERSTAY)
    }

    /// When the client is to be told to go away; None: it is not, or was told.
    pub fn to_be_told(&self) -> Option<Instant> {
        let since = self.misfit_since.get().filter(|_| !self.told.load(Ordering::Acquire));
        since.map(|since| *since + HEARING)
    }

    pub fn tell(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// What the client asked for.
    pub fn server_name(&self) -> Option<&str> {
        self.hello.server_name.as_deref()
    }
}

impl<L: Listener> PortPolicy<L> {
    pub fn new(on_refused: L::Callback, on_admitted: L::Callback) -> Self {
        Self {
            chains: ProcessMutex::default(),
            version: AtomicU64::new(0),
            on_refused: Arc::new(on_refused),
            on_admitted: Arc::new(on_admitted),
            before_handshakes: ProcessMutex::default(),
        }
    }

    pub fn before_handshakes(&self) -> Option<Arc<L::Callback>> {
        self.before_handshakes.lock().clone()
    }

    pub fn call_before_handshakes(&self, callback: L::Callback) {
        *self.before_handshakes.lock() = Some(Arc::new(callback));
    }

    pub fn chains(&self) -> Arc<Chains> {
        self.chains.lock().clone()
    }

    pub fn set(&self, chains: Chains) {
        *self.chains.lock() = Arc::new(chains);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}
