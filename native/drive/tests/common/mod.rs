//! A listener that remembers, a server that answers, and a client that calls: over sockets, by the drivers.
#![allow(dead_code)] // each test file uses its share

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proxyless_core::grpc::status::Status;
use proxyless_drive::fork::Descriptor;
use proxyless_drive::leading::Waited;
use proxyless_drive::link::{Answers, Link};
use proxyless_drive::listener::{ConnectionInfo, Hears, Listener, OnEnd};
use proxyless_drive::port::Port;
use proxyless_drive::port_policy::LinkSecurity;
use proxyless_drive::protocol::Protocol;
use proxyless_drive::reactor::Reactor;
use proxyless_echo::{Connection, ECHO, Ended, Key};

pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Changed,
    Lost,
    Heard(Option<String>),
    Refused(String),
    Admitted(String),
    Outcome(i32, Option<Vec<u8>>),
    End(i32),
}

pub enum Told {}

pub type EchoLink = Link<Connection, Told>;
pub type EchoReactor = Reactor<Told>;

impl Listener for Told {
    type Callback = Sender<Said>;
    type Event = (Sender<Said>, Said);
    type Accepted = (Arc<EchoLink>, Key);

    fn changed(callback: Arc<Sender<Said>>) -> Self::Event {
        ((*callback).clone(), Said::Changed)
    }

    fn lost(callback: Sender<Said>) -> Self::Event {
        (callback, Said::Lost)
    }

    fn heard(callback: Sender<Said>, problem: Option<String>) -> Self::Event {
        (callback, Said::Heard(problem))
    }

    fn refused(callback: Arc<Sender<Said>>, _peer: String, reason: String) -> Self::Event {
        ((*callback).clone(), Said::Refused(reason))
    }

    fn admitted(callback: Arc<Sender<Said>>, connection: Arc<dyn ConnectionInfo>) -> Self::Event {
        let chain = connection.chain().map(|chain| chain.name.to_string());
        ((*callback).clone(), Said::Admitted(chain.unwrap_or_default()))
    }

    fn tell(events: Vec<Self::Event>) {
        for (callback, said) in events {
            let _ = callback.send(said); // nobody may listen any more
        }
    }
}

impl Hears<Connection> for Told {
    fn outcome(callback: Sender<Said>, ended: Ended) -> Self::Event {
        (callback, Said::Outcome(ended.status.code, ended.payload.map(|payload| payload.to_vec())))
    }

    fn end(on_end: OnEnd<Sender<Said>>, ended: Ended) -> Self::Event {
        (on_end.callback, Said::End(ended.status.code))
    }
}

impl Answers<Connection> for Told {
    fn accepted(link: &Arc<EchoLink>, key: Key) -> Self::Accepted {
        (link.clone(), key)
    }
}

pub fn own(socket: impl Into<OwnedFd>) -> Descriptor {
    Descriptor::new(socket.into())
}

pub fn listen(reactor: &EchoReactor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    reactor.listen(own(listener), Port::new(None).speaking(ECHO, || Connection::new(false))).unwrap();
    address
}

/// Answers whatever comes, in a thread of its own, until it is dropped.
pub struct Answering {
    pub reactor: Arc<EchoReactor>,
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    pub fn new() -> Self {
        let (reactor, over) = (Reactor::new(false).unwrap(), Arc::new(AtomicBool::new(false)));
        let address = listen(&reactor);
        let thread = std::thread::spawn({
            let (reactor, over) = (reactor.clone(), over.clone());
            move || {
                while !over.load(Ordering::Relaxed) {
                    for (link, key) in reactor.poll(None).accepted {
                        answer(&link, key);
                    }
                }
            }
        });
        Self { reactor, address, over, thread: Some(thread) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.reactor.wake();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// With what it asks, but for what asks to wait.
pub fn answer(link: &Arc<EchoLink>, key: Key) {
    let asked = link.lock().protocol.call(key).and_then(|call| call.payload.clone()).unwrap_or_default();
    if asked != b"wait"[..] {
        link.lock().protocol.reply(key, &asked);
        link.lock().protocol.forget(key);
        link.flush_now();
    }
}

pub fn connect(reactor: &Arc<EchoReactor>, address: SocketAddr, callers_lead: bool) -> Arc<EchoLink> {
    let socket = own(TcpStream::connect(address).unwrap());
    let link = reactor.adopt(socket, Connection::new(true), LinkSecurity::default(), callers_lead, &[]).unwrap();
    link.begin();
    link
}

pub fn told() -> (Sender<Said>, Receiver<Said>) {
    channel()
}

/// Calls and waits, as a blocking caller does.
pub fn call(link: &EchoLink, asked: &[u8], timeout: Option<Duration>) -> Result<Vec<u8>, Status> {
    let now = Instant::now();
    let deadline = timeout.map(|timeout| now + timeout);
    let key = {
        let mut state = link.lock();
        link.look_before_call(&mut state);
        state.protocol.start(asked, deadline, now)
    };
    link.flush_all(deadline);
    loop {
        match link.wait(key, deadline, &|_| false) {
            Waited::Ready => break,
            Waited::Interrupted => {}
            Waited::DeadlinePassed => {
                link.lock().protocol.cancel(key, Status::deadline_exceeded());
                link.flush();
                break;
            }
        }
    }
    let ended = link.lock().protocol.take_outcome(key);
    if ended.status.code == 0 { Ok(ended.payload.unwrap_or_default().to_vec()) } else { Err(ended.status) }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < late, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
