//! Where the engine's big buffers are, and that they go back to the system when they are gone.
//!
//! The C library keeps large blocks that were freed, up to 64 MiB in each thread's arena, and no call makes it give the
//! end of an arena back. So the engine's own are apart from it, a few of them kept for the next message: else each would
//! be faulted in page by page, which costs more than all else that is done with it. What Python makes of messages is the
//! C library's; once no more big ones come it is asked to give back what it can (`tidy`), by a thread of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{NonNull, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use proxyless_core::spares::Spares;

use proxyless_drive::fork;

/// Buffers from here on are apart.
const BIG: usize = 256 * 1024;
/// Their sizes are multiples of this, so that a message of about the same size fits the memory of the last.
const STEP: usize = 64 * 1024;
/// At most so much is kept for the next messages.
const KEPT: usize = 16 * 1024 * 1024;
/// No big message for so long: what is kept goes back. Later looks find what handlers held on to for a while.
const LOOKS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(60)];

/// Python's and everybody else's memory is not concerned: this is the allocator of the engine's Rust code alone.
pub struct BigApart;

#[global_allocator]
static ALLOCATOR: BigApart = BigApart;

static SPARES: Mutex<Spares> = Mutex::new(Spares::new(KEPT));

/// How many big messages there were, and the fork's generation whose thread tidies up after them, plus one.
static BIG_MESSAGES: AtomicUsize = AtomicUsize::new(0);
static TIDYING: AtomicU32 = AtomicU32::new(0);

fn rounded(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(STEP)
}

fn apart(layout: &Layout) -> bool {
    layout.size() >= BIG && layout.align() <= 4096
}

/// What is kept is looked at by one thread at a time; who finds it busy, or forked away, goes to the system.
fn acquire(size: usize) -> *mut u8 {
    let Some(size) = rounded(size) else { return null_mut() };
    if let Some(address) = SPARES.try_lock().ok().and_then(|mut spares| spares.take(size)) {
        return address as *mut u8;
    }
    // SAFETY: a new private mapping touches no memory that exists.
    let block = unsafe {
        let (access, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(null_mut(), size, access, how, -1, 0)
    };
    if block == libc::MAP_FAILED { null_mut() } else { block.cast() }
}

/// # Safety
/// The block is one of `acquire`, for this size, and nobody uses it any more.
unsafe fn release(block: *mut u8, size: usize) {
    let size = rounded(size).unwrap_or(size);
    if !SPARES.try_lock().is_ok_and(|mut spares| spares.keep(block as usize, size)) {
        // SAFETY: the mapping was made for this size, and is not used any more.
        unsafe { libc::munmap(block.cast(), size) };
    }
}

// SAFETY: blocks of `acquire` are as large as asked for, aligned to pages, and distinct until they are released; all
// others are the system allocator's. Which of the two a block is follows from its layout alone.
unsafe impl GlobalAlloc for BigApart {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the system allocator's.
        if apart(&layout) { acquire(layout.size()) } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by its layout the block is of the one or the other.
        unsafe { if apart(&layout) { release(block, layout.size()) } else { System.dealloc(block, layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !apart(&layout) {
            // SAFETY: the caller's promises are the system allocator's.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let block = acquire(layout.size());
        if let Some(block) = NonNull::new(block) {
            // SAFETY: it is that large, and ours.
            unsafe { block.as_ptr().write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is valid for the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (apart(&layout), apart(&new)) {
            // SAFETY: the block is the system allocator's and stays so.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            (true, true) if rounded(layout.size()) == rounded(size) => block,
            (true, true) => {
                let (Some(old), Some(new)) = (rounded(layout.size()), rounded(size)) else { return null_mut() };
                // SAFETY: the mapping is ours alone and of the old size; where it moves to, the caller is told.
                let moved = unsafe { libc::mremap(block.cast(), old, new, libc::MREMAP_MAYMOVE) };
                if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() }
            }
            _ => {
                // SAFETY: both blocks are valid for what is copied, and distinct; the old one is let go of once.
                unsafe {
                    let fresh = self.alloc(new);
                    if !fresh.is_null() {
                        fresh.copy_from_nonoverlapping(block, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    fresh
                }
            }
        }
    }
}

/// A message of that size passes between Python and the engine, or so much is held of small blocks that may soon be gone.
pub fn passed(size: usize) {
    if size < BIG {
        return;
    }
    BIG_MESSAGES.fetch_add(1, Ordering::Relaxed);
    let mine = fork::generation() + 1;
    if TIDYING.load(Ordering::Relaxed) != mine && TIDYING.swap(mine, Ordering::Relaxed) != mine {
        let thread = std::thread::Builder::new().name("proxyless-tidy".into()).stack_size(64 * 1024);
        if thread.spawn(tidy_up).is_err() {
            TIDYING.store(0, Ordering::Relaxed); // the next message tries again
        }
    }
}

/// Ends when no big message came for a while.
fn tidy_up() {
    let mut seen = BIG_MESSAGES.load(Ordering::Relaxed);
    let mut quiet = 0;
    while let Some(pause) = LOOKS.get(quiet) {
        std::thread::sleep(*pause);
        let now = BIG_MESSAGES.load(Ordering::Relaxed);
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
        if quiet > 0 {
            give_back();
        }
    }
    TIDYING.store(0, Ordering::Relaxed);
}

fn give_back() {
    while let Some((address, size)) = SPARES.try_lock().ok().and_then(|mut spares| spares.pop()) {
        // SAFETY: the mapping is of this size, and nobody has it since it was taken from the spares.
        unsafe { libc::munmap(address as *mut libc::c_void, size) };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it concerns free memory only, and takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
