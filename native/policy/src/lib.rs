//! Who may do what, as Envoy's RBAC filters decide it, and how a connection manager treats a path before they look.
//!
//! No I/O, no clock, no Python: a request is a trait, so that every protocol is asked alike. What a rule means is said in
//! envoy/config/rbac/v3/rbac.proto; where that leaves a question open, what Envoy 1.39 does is done.

pub mod address;
pub mod path;
pub mod request;
pub mod rule;
pub mod rules;
pub mod template;
pub mod text;

/// A pattern would have to look at more than may be looked at for one request: what it says is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecided;
