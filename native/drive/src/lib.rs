//! The drivers: the threads and loops that wait for bytes move them. A `Link` is one socket with its protocol. A
//! `Reactor` is a set of links that one event loop or one thread drives: an asyncio loop's, a server's, or the blocking
//! links that nobody waits on. No thread is made here. What is carried is a `Protocol`, who is told of it a `Listener`:
//! neither is known here.
//!
//! One rule keeps this free of deadlocks: no listener's lock (Python's GIL) is asked for while a link's is held, and
//! nothing of a listener's is called or dropped under it.

mod accept;
mod busy;
pub mod driven;
pub mod fork;
mod grpc;
pub mod leading;
pub mod link;
pub mod listener;
mod misfits;
mod pending_handshakes;
pub mod port;
pub mod port_policy;
pub mod protocol;
pub mod reactor;
mod registrations;
mod scheduler;
pub mod socket;
pub mod state;
mod timing;
pub mod turn;
