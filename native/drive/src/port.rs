//! What a listening socket's connections speak, and who may come in.

use std::sync::Arc;

use crate::driven::Driven;
use crate::fork::Descriptor;
use crate::link::{Answers, Link};
use crate::listener::Listener;
use crate::port_policy::{LinkSecurity, PortPolicy};
use crate::protocol::Protocol;
use crate::scheduler::Scheduler;
use proxyless_tls::chains::Chains;
use proxyless_tls::detect::Spoken;

pub struct Port<L: Listener> {
    /// In the order in which they are looked for.
    pub(super) spoken: Vec<Spoken>,
    speaks: Vec<Box<dyn Speaks<L>>>,
    /// None: plaintext.
    pub(super) port_policy: Option<Arc<PortPolicy<L>>>,
}

impl<L: Listener> Port<L> {
    pub fn new(port_policy: Option<Arc<PortPolicy<L>>>) -> Self {
        Self { spoken: Vec::new(), speaks: Vec::new(), port_policy }
    }

    /// This protocol too, of which `make` makes the state of a new connection.
    pub fn speaking<P: Protocol>(mut self, spoken: Spoken, make: impl Fn() -> P + Send + Sync + 'static) -> Self
    where
        L: Answers<P>,
    {
        self.spoken.push(spoken);
        self.speaks.push(Box::new(Server(make)));
        self
    }

    /// The first bytes of a connection are looked at before it is one.
    pub(super) fn looks(&self) -> bool {
        self.port_policy.is_some() || self.speaks.len() > 1
    }

    /// Makes our end of a connection that speaks this one of the protocols.
    pub(super) fn link(
        &self,
        speaks: usize,
        scheduler: &Arc<Scheduler<L>>,
        token: u64,
        socket: Descriptor,
        security: LinkSecurity<L>,
    ) -> Option<Arc<dyn Driven<L>>> {
        Some(self.speaks.get(speaks)?.link(scheduler, token, socket, security))
    }

    /// What may come in.
    pub(super) fn chains(&self) -> Arc<Chains> {
        self.port_policy.as_ref().map_or_else(|| Arc::new(Chains::of_plaintext()), |port_policy| port_policy.chains())
    }
}

/// Makes a protocol's end of a connection that was accepted.
trait Speaks<L: Listener>: Send + Sync + 'static {
    fn link(
        &self,
        scheduler: &Arc<Scheduler<L>>,
        token: u64,
        socket: Descriptor,
        security: LinkSecurity<L>,
    ) -> Arc<dyn Driven<L>>;
}

/// By a function that makes the protocol's state.
impl<L, P, F> Speaks<L> for Server<F>
where
    P: Protocol,
    L: Answers<P>,
    F: Fn() -> P + Send + Sync + 'static,
{
    fn link(
        &self,
        scheduler: &Arc<Scheduler<L>>,
        token: u64,
        socket: Descriptor,
        security: LinkSecurity<L>,
    ) -> Arc<dyn Driven<L>> {
        Arc::new(Link::new(socket, (self.0)(), security, false, scheduler, token))
    }
}

struct Server<F>(F);
