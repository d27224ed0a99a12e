//! What the child of a `fork` inherits: descriptors that it shares with its parent, and locks whose holders, other
//! threads, it does not have.
//!
//! The child closes the descriptors without a word to anybody: shutting a socket down, or taking it out of an epoll,
//! would act on what the parent goes on using. In place of each inherited state it sees a blank one. The inherited one
//! is neither locked (its holder may be gone) nor dropped (it may be half changed). All of it is done by the C library's
//! own hooks, so that forks that Python does not know of are covered, too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock};

/// How many forks led to this process, since the engine was loaded.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The engine's descriptors. Locked for moments only, and nothing else is asked for meanwhile: a fork waits for it.
static DESCRIPTORS: Mutex<BTreeMap<RawFd, InChild>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, PartialEq)]
enum InChild {
    Closed,
    /// An event loop of the child may know the number: it stays open, on an epoll that nothing is in.
    Replaced,
}

fn descriptors() -> MutexGuard<'static, BTreeMap<RawFd, InChild>> {
    recovered(DESCRIPTORS.lock())
}

fn recovered<'a, T>(result: std::sync::LockResult<MutexGuard<'a, T>>) -> MutexGuard<'a, T> {
    result.unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

thread_local! {
    /// The thread that forks keeps the descriptors as they are until both processes go on.
    static FORKING: RefCell<Option<MutexGuard<'static, BTreeMap<RawFd, InChild>>>> = const { RefCell::new(None) };
}

/// Called when the module is loaded.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handlers are functions of this module, which is never unloaded.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

extern "C" fn before() {
    FORKING.set(Some(descriptors()));
}

extern "C" fn in_parent() {
    FORKING.set(None);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if let Some(mut inherited) = FORKING.take() {
        for (fd, what) in &*inherited {
            match what {
                InChild::Closed => close(*fd),
                InChild::Replaced => replace_by_empty_epoll(*fd),
            }
        }
        inherited.retain(|_, what| *what == InChild::Replaced);
    }
}

fn close(fd: RawFd) {
    // SAFETY: the caller owns the descriptor and does not use it again.
    unsafe { libc::close(fd) };
}

/// What the number stood for goes on elsewhere; here nothing will ever be ready on it.
fn replace_by_empty_epoll(fd: RawFd) {
    // SAFETY: integers only; the new descriptor is ours alone.
    unsafe {
        let empty = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if empty < 0 || libc::dup3(empty, fd, libc::O_CLOEXEC) < 0 {
            libc::close(fd);
        }
        libc::close(empty);
    }
}

/// A descriptor of this process. In a child it is -1, which every system call refuses.
pub struct Descriptor {
    /// -1 once it is closed.
    number: AtomicI32,
    generation: u32,
    in_child: InChild,
}

impl Descriptor {
    pub fn new(fd: OwnedFd) -> Self {
        Self::registered(fd, InChild::Closed)
    }

    /// The descriptor of an epoll that an event loop may watch by its number.
    pub fn watched(fd: OwnedFd) -> Self {
        Self::registered(fd, InChild::Replaced)
    }

    fn registered(fd: OwnedFd, in_child: InChild) -> Self {
        let mut descriptors = descriptors();
        let number = fd.into_raw_fd();
        descriptors.insert(number, in_child);
        Self { number: AtomicI32::new(number), generation: generation(), in_child }
    }

    pub fn fd(&self) -> RawFd {
        if self.generation == generation() { self.number() } else { -1 }
    }

    /// As a loop knows it, in a child too.
    pub fn number(&self) -> RawFd {
        self.number.load(Ordering::Relaxed)
    }

    /// Before its owner is through with all else: -1 from here on. Nobody may be about to use the number that it was.
    pub fn close(&self) {
        if self.generation == generation() || self.in_child == InChild::Replaced {
            // Closed under the lock: a fork in between would leave the child with a descriptor nobody knows of.
            let mut descriptors = descriptors();
            let number = self.number.swap(-1, Ordering::Relaxed);
            if number >= 0 {
                descriptors.remove(&number);
                close(number);
            }
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.close();
    }
}

/// What takes the place of something inherited: it holds nothing and is over.
pub trait Blank {
    fn blank() -> Self;
}

impl<T: Default> Blank for T {
    fn blank() -> Self {
        T::default()
    }
}

/// A mutex whose content is this process's. A child finds a blank one in its place.
pub struct ProcessMutex<T: Blank> {
    generation: u32,
    own: ManuallyDrop<Mutex<T>>,
    blank: OnceLock<Box<Mutex<T>>>,
}

impl<T: Blank> ProcessMutex<T> {
    pub fn new(content: T) -> Self {
        Self { generation: generation(), own: ManuallyDrop::new(Mutex::new(content)), blank: OnceLock::new() }
    }

    /// A panic elsewhere leaves at worst a half-told call, which the peer's answer or its absence ends.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if self.inherited() {
            return recovered(self.blank.get_or_init(|| Box::new(Mutex::new(T::blank()))).lock());
        }
        recovered(self.own.lock())
    }

    pub fn inherited(&self) -> bool {
        self.generation != generation()
    }
}

impl<T: Blank> Drop for ProcessMutex<T> {
    fn drop(&mut self) {
        if !self.inherited() {
            // SAFETY: it is not used again, and was dropped by nobody else.
            unsafe { ManuallyDrop::drop(&mut self.own) };
        }
    }
}

impl<T: Blank> Default for ProcessMutex<T> {
    fn default() -> Self {
        Self::new(T::blank())
    }
}
