//! The engine of proxyless: gRPC over HTTP/2 without I/O of its own (`http2`, `grpc`), the drivers that read and
//! write sockets for whoever waits (`drive`), and what Python sees of it (`py`). It knows nothing of a mesh.

mod drive;
mod grpc;
mod http2;
mod py;

pub use py::_native;
