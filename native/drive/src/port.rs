//! What a listening socket's connections speak, and who may come in.

use std::io;
use std::sync::Arc;

use crate::fork::Descriptor;
use crate::gate::{Gate, Security};
use crate::hub::Hub;
use crate::link::{Driven, Link};
use crate::listener::{Hears, Listener};
use crate::protocol::Protocol;

pub struct Port<L: Listener> {
    pub speaks: Box<dyn Speaks<L>>,
    /// None: plaintext, without looking.
    pub gate: Option<Arc<Gate<L>>>,
}

/// Makes a protocol's end of a connection that was accepted.
pub trait Speaks<L: Listener>: Send + Sync + 'static {
    /// `first`: what was read of it already.
    fn adopt(
        &self,
        hub: &Arc<Hub<L>>,
        socket: Descriptor,
        security: Security<L>,
        first: &[u8],
    ) -> io::Result<Arc<dyn Driven<L>>>;
}

/// By a function that makes the protocol's state.
impl<L, P, F> Speaks<L> for Server<F>
where
    P: Protocol,
    L: Hears<P>,
    F: Fn() -> P + Send + Sync + 'static,
{
    fn adopt(
        &self,
        hub: &Arc<Hub<L>>,
        socket: Descriptor,
        security: Security<L>,
        first: &[u8],
    ) -> io::Result<Arc<dyn Driven<L>>> {
        let link: Arc<Link<P, L>> = hub.adopt(socket, (self.0)(), security, false, first)?;
        Ok(link)
    }
}

pub struct Server<F>(pub F);
