//! Who moves the bytes: whoever waits. A `Link` is one socket with its protocol. A `Hub` is a set of links that one
//! event loop or one thread drives: an asyncio loop's, a server's, or the blocking links that nobody waits on.
//! No thread is made here.
//!
//! One rule keeps this free of deadlocks: the GIL is never asked for while a link's lock is held, and no Python
//! object is called or dropped under it.

mod accept;
mod busy;
pub mod fork;
pub mod gate;
mod greetings;
pub mod hub;
pub mod link;
mod members;
pub mod news;
pub mod socket;
pub mod state;
mod timing;
