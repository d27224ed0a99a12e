//! gRPC over HTTP/2 without I/O: bytes in, news out; commands in, bytes out. It knows no socket, no clock but the
//! deadlines it is given, no Python and no mesh.

#![forbid(unsafe_code)]

pub mod grpc;
pub mod http2;
pub mod spares;
pub mod timers;
