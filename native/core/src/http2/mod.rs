//! HTTP/2, sans I/O: bytes in, per-stream news out; commands in, bytes out.
//!
//! This is the interface that the gRPC layer sees. Today the `h2` crate, polled by hand, fills it
//! (`by_h2`); a frame layer of our own may fill it later. Nothing here waits, reads a clock or
//! knows a socket.

mod by_h2;
mod pipe;

pub use by_h2::Connection;

use bytes::Bytes;
use http::HeaderMap;

/// Names a stream within its connection. Ours, not the wire's: a queued request has no wire id yet.
pub type Key = u32;

/// HTTP/2 error codes that this project sends or tells apart (RFC 9113, section 7).
pub mod code {
    pub const NO_ERROR: u32 = 0x0;
    pub const REFUSED_STREAM: u32 = 0x7;
    pub const CANCEL: u32 = 0x8;
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
    pub const INADEQUATE_SECURITY: u32 = 0xc;
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How many bytes a peer may send ahead on one stream that nobody reads.
    pub stream_window: u32,
    /// Covers all the stalled streams allowed, so that one stalled reader does not slow its neighbours.
    pub connection_window: u32,
    pub max_frame_size: u32,
    pub max_header_list_size: u32,
    /// How many streams a client may have open at once; more wait at the client.
    pub max_concurrent_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_window: 256 * 1024,
            connection_window: 256 * 1024 * 1024,
            max_frame_size: 128 * 1024,
            max_header_list_size: 64 * 1024,
            max_concurrent_streams: 1000,
        }
    }
}

pub struct RequestHead {
    pub path: http::Uri,
    pub headers: HeaderMap,
}

pub struct ResponseHead {
    pub status: u16,
    pub headers: HeaderMap,
}

/// Why a stream ended before its regular end.
#[derive(Clone, Debug)]
pub struct Broken {
    /// RST_STREAM's code; None: the connection itself was lost.
    pub code: Option<u32>,
    /// The peer says (or it is certain) that no application code saw the request: safe to send again.
    pub unprocessed: bool,
    pub reason: String,
}

pub enum Incoming {
    Data(Bytes),
    /// The peer's regular end, with its trailers if it sent some.
    End(Option<HeaderMap>),
    Broken(Broken),
    /// Nothing now; the key turns up in `ready` when there is.
    Pending,
}
