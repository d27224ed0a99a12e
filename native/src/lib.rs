//! The engine of proxyless as a Python module: the drivers that read and write sockets for whoever waits (`drive`)
//! around the sans-I/O core (`proxyless_core`), and what Python sees of them (`py`).

mod drive;
mod memory;
mod py;

pub use py::_native;
