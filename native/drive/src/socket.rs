//! The system calls: non-blocking sockets, poll and epoll, each with its error as `io::Error`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::fork::Descriptor;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with integer arguments touches no memory of ours.
    unsafe {
        let flags = checked(libc::fcntl(fd, libc::F_GETFL))?;
        checked(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Small messages go out at once. Fails on Unix sockets, which have no such delay.
pub fn set_nodelay(fd: RawFd) {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// None: nothing there now. Some(0): the peer closed.
pub fn receive(fd: RawFd, into: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: the pointer and the length describe `into`.
        let n = unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), 0) };
        if n >= 0 {
            return Ok(Some(n as usize));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// Appends up to `room` bytes to what `body` holds, without making it larger, and puts what comes behind them in `beside`.
/// Returns how many went where; None: nothing there now. `(0, 0)`: the peer closed.
pub fn receive_beside(
    fd: RawFd,
    body: &mut BytesMut,
    room: usize,
    beside: &mut [u8],
) -> io::Result<Option<(usize, usize)>> {
    let spare = body.spare_capacity_mut();
    let room = room.min(spare.len());
    let pieces = [
        libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: room },
        libc::iovec { iov_base: beside.as_mut_ptr().cast(), iov_len: beside.len() },
    ];
    loop {
        // SAFETY: both pieces are memory that is borrowed for writing here, as long as said.
        let n = unsafe { libc::readv(fd, pieces.as_ptr(), 2) };
        if n >= 0 {
            let landed = room.min(n as usize);
            // SAFETY: the system has written so many bytes behind those that `body` holds, within its capacity.
            unsafe { body.set_len(body.len() + landed) };
            return Ok(Some((landed, n as usize - landed)));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// The pieces in one go. None: the socket's buffer is full.
pub fn send(fd: RawFd, pieces: &[io::IoSlice<'_>]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: all-zero is a valid msghdr; an IoSlice has the layout of an iovec, which sendmsg only reads; one piece
        // alone is a pointer and its length.
        let n = unsafe {
            if let [piece] = pieces {
                libc::send(fd, piece.as_ptr().cast(), piece.len(), libc::MSG_NOSIGNAL)
            } else {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = pieces.as_ptr().cast_mut().cast();
                message.msg_iovlen = pieces.len() as _;
                libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL)
            }
        };
        if n >= 0 {
            return Ok(Some(n as usize));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// The socket, as TLS writes to it.
pub struct Outlet(pub RawFd);

impl io::Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        send(self.0, pieces)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn accept(fd: RawFd) -> io::Result<Option<Descriptor>> {
    loop {
        // SAFETY: null for the address is allowed; a non-negative result is a descriptor that only we own.
        let accepted = unsafe {
            libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
        };
        if accepted >= 0 {
            // SAFETY: see above.
            return Ok(Some(Descriptor::new(unsafe { OwnedFd::from_raw_fd(accepted) })));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // A connection that died in the queue is no error of the listener.
            error if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ECONNABORTED)) => {}
            error => return Err(error),
        }
    }
}

/// No more bytes either way; the peer sees the end.
pub fn shut(fd: RawFd) {
    // SAFETY: no memory is involved. It fails only on a socket that is closed already.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// How the peer is called in gRPC, which writes it as a URI: `ipv4:127.0.0.1:50051` (so, too, where it came by a socket of
/// IPv6), `ipv6:%5B::1%5D:50051`, `unix:`.
pub fn peer_name(fd: RawFd) -> String {
    name(fd, libc::getpeername)
}

pub fn local_name(fd: RawFd) -> String {
    name(fd, libc::getsockname)
}

type Getter = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn name(fd: RawFd, get: Getter) -> String {
    let mut storage = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the storage is as large as `length` says; all-zero is a valid value of it.
    let storage = unsafe {
        if get(fd, storage.as_mut_ptr().cast(), &raw mut length) != 0 {
            return String::from("unknown");
        }
        storage.assume_init()
    };
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which of the address types the storage holds.
            let v4 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            format!("ipv4:{ip}:{}", u16::from_be(v4.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
            match (ip.to_ipv4_mapped(), v6.sin6_scope_id) {
                (Some(ip), _) => format!("ipv4:{ip}:{port}"),
                (None, 0) => format!("ipv6:%5B{ip}%5D:{port}"),
                (None, scope) => format!("ipv6:%5B{ip}%25{scope}%5D:{port}"),
            }
        }
        _ => String::from("unix:"),
    }
}

/// Milliseconds for poll and epoll_wait, rounded up so that a deadline has passed when they return.
pub fn timeout_ms(until: Option<Instant>) -> libc::c_int {
    match until {
        None => -1,
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            libc::c_int::try_from(left.as_millis()).unwrap_or(libc::c_int::MAX)
        }
    }
}

pub enum Polled {
    Ready,
    TimedOut,
    /// A signal arrived: Python may want to run its handler.
    Interrupted,
}

/// Waits for the events on `fd`, or for the bell (a negative descriptor: there is none).
pub fn poll(fd: RawFd, events: libc::c_short, bell: RawFd, until: Option<Instant>) -> Polled {
    let mut entries =
        [libc::pollfd { fd, events, revents: 0 }, libc::pollfd { fd: bell, events: libc::POLLIN, revents: 0 }];
    // SAFETY: two entries, as said; a negative descriptor is passed over.
    match unsafe { libc::poll(entries.as_mut_ptr(), 2, timeout_ms(until)) } {
        0 => Polled::TimedOut,
        n if n > 0 => Polled::Ready,
        _ => Polled::Interrupted,
    }
}

const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// Each arrival is told once, to one of the threads that wait, which reads all there is.
pub const ARRIVALS_ONCE: libc::c_int = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;

pub struct Epoll(Descriptor);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Descriptor::watched(Self::create()?)))
    }

    /// For inside another: no event loop knows its number.
    pub fn inner() -> io::Result<Self> {
        Ok(Self(Descriptor::new(Self::create()?)))
    }

    fn create() -> io::Result<OwnedFd> {
        // SAFETY: a non-negative result is a descriptor that only we own.
        Ok(unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) })
    }

    pub fn fd(&self) -> RawFd {
        self.0.fd()
    }

    pub fn number(&self) -> RawFd {
        self.0.number()
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` outlives the call.
        checked(unsafe { libc::epoll_ctl(self.fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    pub fn add(&self, fd: RawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    pub fn modify(&self, fd: RawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    pub fn remove(&self, fd: RawFd) {
        // A descriptor that is closed has left the set by itself.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// The tokens that are ready, each with whether its peer has hung up.
    pub fn wait(&self, until: Option<Instant>) -> Vec<(u64, bool)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        // SAFETY: the pointer and the count describe `events`.
        let n = unsafe { libc::epoll_wait(self.fd(), events.as_mut_ptr(), 256, timeout_ms(until)) };
        events[..usize::try_from(n).unwrap_or(0)].iter().map(|event| (event.u64, event.events & HUNG_UP != 0)).collect()
    }
}

/// Wakes an epoll from another thread.
pub struct Bell(Descriptor);

impl Bell {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a non-negative result is a descriptor that only we own.
        let bell = unsafe { OwnedFd::from_raw_fd(checked(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?) };
        Ok(Self(Descriptor::new(bell)))
    }

    pub fn fd(&self) -> RawFd {
        self.0.fd()
    }

    pub fn ring(&self) {
        let one: u64 = 1;
        // SAFETY: eight bytes, as eventfd wants. It fails only when it rings already.
        unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
    }

    pub fn silence(&self) {
        let mut count: u64 = 0;
        // SAFETY: eight bytes, as eventfd gives.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }
}

/// Wakes an epoll at a given time.
pub struct Alarm(Descriptor);

impl Alarm {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a non-negative result is a descriptor that only we own.
        unsafe {
            let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
            let alarm = OwnedFd::from_raw_fd(checked(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?);
            Ok(Self(Descriptor::new(alarm)))
        }
    }

    pub fn fd(&self) -> RawFd {
        self.0.fd()
    }

    pub fn set(&self, at: Instant) {
        // Zero would switch it off.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos() as i32),
        };
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: `spec` outlives the call; the old value is not asked for.
        unsafe { libc::timerfd_settime(self.fd(), 0, &raw const spec, std::ptr::null_mut()) };
    }

    pub fn silence(&self) {
        let mut count: u64 = 0;
        // SAFETY: eight bytes, as timerfd gives.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
    }
}

/// Python runs signal handlers on the main thread only, so only its waits must end for them.
pub fn on_main_thread() -> bool {
    // SAFETY: both calls have no arguments and cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}
