//! What a hub drives: its links and its listeners, by the names that its epoll knows them by.

use std::collections::HashMap;
use std::sync::Arc;

use super::fork::Descriptor;
use super::hub::ServerSettings;
use super::link::Link;

pub enum Member {
    Link(Arc<Link>),
    Listener { socket: Descriptor, settings: ServerSettings },
}

#[derive(Default)]
pub struct Members {
    pub by_token: HashMap<u64, Member>,
}

impl Members {
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.by_token
            .values()
            .filter_map(|member| match member {
                Member::Link(link) => Some(link.clone()),
                Member::Listener { .. } => None,
            })
            .collect()
    }
}
