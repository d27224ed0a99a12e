//! Messages on their way between Python's memory and the engine's.

use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use proxyless_core::grpc::encoding::Encoding;
use proxyless_core::grpc::message::Framed;

use crate::memory;

/// Holding Python's own object costs more than copying less than this.
const WORTH_HOLDING: usize = 16 * 1024;
/// Giving the GIL away for a shorter copy costs others more than it spares them.
const WORTH_DETACHING: usize = 4 * 1024 * 1024;
/// Blocks from here on are ones that malloc gets from the system, and gives back to it when they are freed.
const LARGE: usize = 128 * 1024;
/// How many blocks of a message's size live at once: both ends' of it, and what protobuf makes of it.
const BLOCKS: usize = 4;
/// It keeps twice as much in each thread's arena, and never gives that back: larger messages are rare enough to be faulted
/// in (gRPC's own limit is 4 MiB).
const LARGEST_SIGN: usize = 4 * 1024 * 1024;

/// A message ready to be sent; a large one stays where Python has it. Compressing is worth giving the GIL away for.
pub fn framed(py: Python<'_>, encoding: Encoding, payload: &Bound<'_, PyBytes>) -> Framed {
    let bytes = payload.as_bytes();
    let payload = if bytes.len() < WORTH_HOLDING {
        Bytes::copy_from_slice(bytes)
    } else {
        expect(bytes.len());
        memory::passed(bytes.len());
        Bytes::from_owner(PyBackedBytes::from(payload.clone()))
    };
    match encoding {
        Encoding::Identity => Framed::plain(payload),
        _ => py.detach(|| Framed::compressed(encoding, payload)),
    }
}

pub fn to_py<'py>(py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
    expect(message.len());
    memory::passed(message.len());
    if message.len() < WORTH_DETACHING { PyBytes::new(py, message) } else { copied_beside(py, message) }
}

/// Other threads run meanwhile: 50 MB take tens of milliseconds.
fn copied_beside<'py>(py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
    // SAFETY: without a source the object is new, of that length, and not initialised; a failure is a null pointer,
    // which from_owned_ptr panics on, as PyBytes::new does.
    let object = unsafe {
        let object = ffi::PyBytes_FromStringAndSize(ptr::null(), message.len() as ffi::Py_ssize_t);
        Bound::from_owned_ptr(py, object).cast_into_unchecked::<PyBytes>()
    };
    // SAFETY: it is a bytes object.
    let room = unsafe { ffi::PyBytes_AsString(object.as_ptr()) } as usize;
    // SAFETY: nobody else knows the object yet, so its memory is ours to fill, once, also without the GIL.
    py.detach(|| unsafe { ptr::copy_nonoverlapping(message.as_ptr(), room as *mut u8, message.len()) });
    object
}

/// Messages of that size pass through. glibc returns large freed blocks to the system at once, so that each message's
/// memory is faulted in page by page, which costs more than all else that is done with it. That glibc learns from: when
/// a large block is freed it keeps blocks up to this size, and twice as much in all. So one is, untouched, ahead of time;
/// where MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ are set, it changes nothing.
fn expect(size: usize) {
    static LARGEST: AtomicUsize = AtomicUsize::new(LARGE);
    if size > LARGEST.load(Ordering::Relaxed) {
        LARGEST.store(size.next_power_of_two(), Ordering::Relaxed);
        let mut sign = Vec::<u8>::new();
        let _ = sign.try_reserve_exact(size.next_power_of_two().saturating_mul(BLOCKS).min(LARGEST_SIGN));
        drop(black_box(sign));
    }
}
