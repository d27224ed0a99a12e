//! The engine of proxyless as a Python module: what Python sees (`py`) of the drivers that
//! read and write sockets for whoever waits (`proxyless_drive`), around the sans-I/O core (`proxyless_core`).

mod memory;
mod py;

pub use py::_native;
