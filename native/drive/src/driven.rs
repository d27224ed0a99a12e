//! A link as its reactor knows it.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use proxyless_core::grpc::Tally;
use proxyless_core::grpc::status::Status;
use proxyless_core::http2::Counters;

use crate::listener::{ConnectionInfo, Listener};
use crate::port_policy::Admission;
use crate::socket::Epoll;
use crate::turn::Turn;

/// Whatever it carries.
pub trait Driven<L: Listener>: ConnectionInfo {
    fn fd(&self) -> RawFd;
    fn token(&self) -> u64;
    /// This side's address.
    fn local_name(&self) -> String;
    fn admission(&self) -> Option<&Admission<L>>;
    /// For those who hear of it.
    fn info(self: Arc<Self>) -> Arc<dyn ConnectionInfo>;
    /// Sees to it that it is looked at when something is due.
    fn arm(&self);
    /// What arrived before the link was made.
    fn take_in(&self, bytes: &[u8]);
    /// Something may have arrived.
    fn turn(self: Arc<Self>, to_the_end: bool, turn: &mut Turn<L>);
    /// The moment for which it was armed has come.
    fn on_time(self: Arc<Self>, turn: &mut Turn<L>);
    /// What was held leaves.
    fn let_go(&self) -> Vec<L::Event>;
    fn flush_now(&self) -> Vec<L::Event>;
    /// After a command that nobody will wait for: gets its bytes out and the answer looked for. True: the reactor's loop
    /// should be asked to flush, which tells the events then.
    fn after_command(self: Arc<Self>) -> (bool, Vec<L::Event>);
    fn dead(&self) -> bool;
    /// No new calls; it ends after those in progress.
    fn shut_down(&self);
    /// Ends it: every call ends with `status`, what waits is written if there is room, the socket is shut.
    fn close(&self, status: &Status) -> Vec<L::Event>;
    /// Its reactor lets go of it; returns when it was armed for.
    fn leave_reactor(&self, epoll: &Epoll) -> Option<Instant>;
    fn tally(&self) -> Tally;
    fn counters(&self) -> Counters;
}
