//! What a hub drives: its links and its listeners, by the names that its epoll knows them by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::driven::Driven;
use crate::fork::Descriptor;
use crate::listener::Listener;
use crate::port::Port;

pub enum Member<L: Listener> {
    Link(Arc<dyn Driven<L>>),
    Listener { socket: Descriptor, port: Arc<Port<L>> },
}

pub struct Members<L: Listener> {
    pub by_token: HashMap<u64, Member<L>>,
}

impl<L: Listener> Default for Members<L> {
    fn default() -> Self {
        Self { by_token: HashMap::new() }
    }
}

impl<L: Listener> Members<L> {
    pub fn links(&self) -> Vec<Arc<dyn Driven<L>>> {
        self.by_token
            .values()
            .filter_map(|member| match member {
                Member::Link(link) => Some(link.clone()),
                Member::Listener { .. } => None,
            })
            .collect()
    }
}
