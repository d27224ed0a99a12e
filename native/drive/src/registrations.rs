//! What a reactor drives: its links and its listeners, by the names that its epoll knows them by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::driven::Driven;
use crate::fork::Descriptor;
use crate::listener::Listener;
use crate::port::Port;

pub enum Registration<L: Listener> {
    Link(Arc<dyn Driven<L>>),
    Listener { socket: Descriptor, port: Arc<Port<L>> },
}

pub struct Registrations<L: Listener> {
    pub by_token: HashMap<u64, Registration<L>>,
}

impl<L: Listener> Default for Registrations<L> {
    fn default() -> Self {
        Self { by_token: HashMap::new() }
    }
}

impl<L: Listener> Registrations<L> {
    pub fn links(&self) -> Vec<Arc<dyn Driven<L>>> {
        self.by_token
            .values()
            .filter_map(|registration| match registration {
                Registration::Link(link) => Some(link.clone()),
                Registration::Listener { .. } => None,
            })
            .collect()
    }
}
