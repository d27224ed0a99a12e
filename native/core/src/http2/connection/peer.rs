//! What the peer's SETTINGS say (RFC 9113, section 6.5).

use super::fault::Fault;
use crate::http2::frame::{self, code, setting};

/// Until the peer has said, a client opens no more streams than this: what servers allow at least.
const STREAMS_ON_TRUST: u32 = 100;

#[derive(Debug)]
pub struct Peer {
    pub header_table_size: u32,
    pub max_concurrent_streams: u32,
    pub initial_window: u32,
    pub max_frame_size: u32,
    pub max_header_list_size: u32,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            max_concurrent_streams: STREAMS_ON_TRUST,
            initial_window: frame::DEFAULT_WINDOW,
            max_frame_size: frame::SMALLEST_MAX_SIZE,
            max_header_list_size: u32::MAX,
        }
    }
}

impl Peer {
    /// `first`: the peer has said nothing yet, so what it leaves out is unlimited from here on.
    pub fn apply(&mut self, payload: &[u8], first: bool, from_server: bool) -> Result<(), Fault> {
        if first {
            self.max_concurrent_streams = u32::MAX;
        }
        if payload.len() % 6 != 0 {
            return Err(Fault::connection(code::FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of six"));
        }
        for entry in payload.chunks_exact(6) {
            let value = frame::number(&entry[2..]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::HEADER_TABLE_SIZE => self.header_table_size = value,
                setting::ENABLE_PUSH if value > 1 || (from_server && value == 1) => {
                    return Err(Fault::connection(code::PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH has no such value"));
                }
                setting::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > frame::LARGEST_WINDOW => {
                    return Err(Fault::connection(
                        code::FLOW_CONTROL_ERROR,
                        "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1",
                    ));
                }
                setting::INITIAL_WINDOW_SIZE => self.initial_window = value,
                setting::MAX_FRAME_SIZE if !(frame::SMALLEST_MAX_SIZE..=frame::LARGEST_MAX_SIZE).contains(&value) => {
                    return Err(Fault::connection(code::PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of its range"));
                }
                setting::MAX_FRAME_SIZE => self.max_frame_size = value,
                setting::MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
                _ => {} // unknown ones are ignored
            }
        }
        Ok(())
    }
}
