//! gRPC over HTTP/2 without I/O: bytes in, events out; commands in, bytes out. It knows no socket, no Python and no mesh,
//! and never waits. What time it is it is told, with all that happens.

#![forbid(unsafe_code)]

pub mod grpc;
pub mod http2;
pub mod spares;
pub mod timers;
