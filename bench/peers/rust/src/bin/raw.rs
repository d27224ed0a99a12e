//! The floor: as many bytes as a call has, to and fro over one TCP connection, without any protocol to speak of.
//!
//!     raw server --mode sync                       prints its port, serves until stdin ends; --mode aio: by epoll
//!     raw client --mode sync --port PORT --load unary --concurrency 16 --payload 100
//!
//! Callers that wait together are that many requests under way on the connection; those whose answers one read brought
//! are written again together. A request says how long it is, how many answers it wants and how long each is.

use std::io::{BufRead, Error, ErrorKind, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use proxyless_bench_peers::{Asked, STREAM_MESSAGES, answer};

/// What gRPC adds to the payload of our messages on a warm connection of ours: frame heads, header blocks, trailers,
/// the prefix of a message and protobuf's own. Counted with strace.
const REQUEST_OVERHEAD: usize = 36;
const REPLY_OVERHEAD: usize = 37;
const STREAM_OVERHEAD: usize = 16;

const HEAD: usize = 12;
const CHUNK: usize = 256 << 10;

/// A connection, read and written by blocking calls or, as an event loop does, when the system says that it can be.
struct Wire {
    socket: TcpStream,
    epoll: Option<i32>,
}

impl Wire {
    fn new(socket: TcpStream, mode: &str) -> Result<Self> {
        socket.set_nodelay(true)?;
        let epoll = if mode == "aio" { Some(watch(&socket)?) } else { None };
        Ok(Self { socket, epoll })
    }

    /// At least one byte, unless the peer closed.
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Some(epoll) = self.epoll {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: there is room for the one event that is asked for.
            checked(|| unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) })?;
        }
        self.socket.read(into)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut wanted = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
                    // SAFETY: one descriptor is passed and counted.
                    checked(|| unsafe { libc::poll(&raw mut wanted, 1, -1) })?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn watch(socket: &TcpStream) -> Result<i32> {
    socket.set_nonblocking(true)?;
    // SAFETY: no pointers.
    let epoll = checked(|| unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: the event outlives the call, which copies it.
    checked(|| unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) })?;
    Ok(epoll)
}

fn checked(mut call: impl FnMut() -> i32) -> Result<i32> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result);
        }
        let error = Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize
}

/// Answers until the client closes. A request's bytes are dropped as they come: only its head is looked at.
fn serve_one(mut wire: Wire) -> Result<()> {
    let (mut input, mut length) = (vec![0; CHUNK], 0);
    let (mut body, mut output, mut owed) = (0, Vec::new(), 0);
    loop {
        let read = wire.read(&mut input[length..])?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let mut position = 0;
        loop {
            let dropped = body.min(length - position);
            body -= dropped;
            position += dropped;
            if body > 0 {
                break;
            }
            output.resize(output.len() + std::mem::take(&mut owed), 0);
            let Some(head) = input[position..length].get(..HEAD) else { break };
            (body, owed) = (number(&head[..4]), number(&head[4..8]) * number(&head[8..]));
        }
        input.copy_within(position..length, 0);
        length -= position;
        wire.write(&output)?;
        output.clear();
    }
}

fn serve(asked: &Asked) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let mode = asked.word("--mode").to_owned();
    std::thread::spawn(move || -> Result<()> {
        loop {
            serve_one(Wire::new(listener.accept()?.0, &mode)?)?;
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

struct Client {
    wire: Wire,
    request: Vec<u8>,
    /// Bytes that end a call, and how many messages they are.
    reply: usize,
    messages: usize,
    concurrency: usize,
    input: Vec<u8>,
}

impl Client {
    fn new(asked: &Asked) -> Result<Self> {
        let port = u16::try_from(asked.number("--port")).expect("a port");
        let payload = asked.number("--payload");
        let (messages, each) = match asked.word("--load") {
            "stream" => (STREAM_MESSAGES, payload + STREAM_OVERHEAD),
            _ => (1, payload + REPLY_OVERHEAD),
        };
        let size = payload + REQUEST_OVERHEAD;
        let mut request = vec![0; size];
        for (at, value) in [size, messages, each].into_iter().enumerate() {
            request[4 * at..][..4].copy_from_slice(&u32::try_from(value).expect("below 4 GiB").to_le_bytes());
        }
        Ok(Self {
            wire: Wire::new(TcpStream::connect(("127.0.0.1", port))?, asked.word("--mode"))?,
            request,
            reply: messages * each,
            messages,
            concurrency: asked.number("--concurrency"),
            input: vec![0; CHUNK],
        })
    }

    fn round(&mut self, seconds: f64) -> Result<()> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        let (mut calls, mut times, mut received) = (0, Vec::new(), 0);
        let (mut under_way, mut before) = (self.concurrency, start);
        self.wire.write(&self.request.repeat(under_way))?;
        while under_way > 0 {
            received += match self.wire.read(&mut self.input)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            let done = received / self.reply;
            received %= self.reply;
            if done == 0 {
                continue;
            }
            calls += done;
            let after = Instant::now();
            times.push((after - before).as_secs_f64());
            before = after;
            under_way -= done;
            if after < end {
                self.wire.write(&self.request.repeat(done))?;
                under_way += done;
            }
        }
        answer(calls * self.messages, start, if self.concurrency == 1 { &mut times } else { &mut [] });
        Ok(())
    }
}

fn main() -> Result<()> {
    let asked = Asked::from_command_line();
    if asked.role == "server" {
        return serve(&asked);
    }
    let mut client = Client::new(&asked)?;
    for line in std::io::stdin().lock().lines() {
        client.round(line?.trim().parse().expect("seconds"))?;
    }
    Ok(())
}
