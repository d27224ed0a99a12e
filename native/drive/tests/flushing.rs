//! What is to be sent leaves: at once, when the socket has room again, or once a turn of a loop.

mod common;

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{Answering, PATIENCE, Said, connect, listen, own, told, until};
use proxyless_drive::driven::Driven;
use proxyless_drive::listener::{Watcher, tell_all};
use proxyless_drive::port_policy::LinkSecurity;
use proxyless_drive::reactor::Reactor;
use proxyless_echo::Connection;

const MUCH: usize = 8 * 1024 * 1024; // more than both ends' sockets hold

/// A link whose peer reads only what it is told to.
fn unread() -> (std::sync::Arc<Reactor<common::Told>>, std::sync::Arc<common::EchoLink>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let reactor = Reactor::new(false).unwrap();
    let link = reactor.adopt(own(socket), Connection::new(true), LinkSecurity::default(), true, &[]).unwrap();
    (reactor, link, listener.accept().unwrap().0)
}

#[test]
fn who_waits_for_room_goes_on_when_the_peer_reads() {
    let (_reactor, link, mut peer) = unread();
    link.lock().protocol.start(&vec![7; MUCH], None, Instant::now());
    assert!(!link.flush(), "the socket took all of it");
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| link.flush_all(Some(Instant::now() + PATIENCE)));
        let mut read = vec![0; MUCH];
        peer.read_exact(&mut read).unwrap();
        flushing.join().unwrap();
    });
    assert!(link.flush());
}

#[test]
fn who_waits_for_room_waits_no_longer_than_its_deadline() {
    let (_reactor, link, _peer) = unread();
    link.lock().protocol.start(&vec![7; MUCH], None, Instant::now());
    link.flush_all(Some(Instant::now() + Duration::from_millis(20)));
    assert!(!link.flush(), "the socket took all of it");
}

#[test]
fn what_nobody_waits_for_is_written_by_the_reactor_when_there_is_room() {
    let (reactor, link, mut peer) = unread();
    link.lock().protocol.start(&vec![7; MUCH], None, Instant::now());
    link.commanded();
    std::thread::scope(|scope| {
        let polling = scope.spawn(|| {
            until("it is not written", || {
                reactor.poll(Some(Instant::now() + Duration::from_millis(50)));
                !link.lock().unsent()
            });
        });
        let mut read = vec![0; MUCH];
        peer.read_exact(&mut read).unwrap();
        polling.join().unwrap();
    });
}

#[test]
fn a_loop_is_asked_for_one_flush_however_many_commands_there_are() {
    let server = Answering::new();
    let reactor = Reactor::new(true).unwrap();
    let links = [connect(&reactor, server.address, false), connect(&reactor, server.address, false)];
    let (callback, events) = told();
    let mut asked = 0;
    for number in 0..100u8 {
        let link = &links[usize::from(number % 2)];
        let key = link.lock().protocol.start(&[number], None, Instant::now());
        link.watch(key, Watcher::Outcome(callback.clone()));
        asked += u32::from(link.commanded().0);
    }
    assert_eq!(asked, 1, "the loop flushes once");
    tell_all::<common::Told>(reactor.flush());
    let mut answered = 0;
    while answered < 100 {
        tell_all::<common::Told>(reactor.poll(Some(Instant::now() + PATIENCE)).events);
        answered += events.try_iter().filter(|said| matches!(said, Said::Outcome(0, Some(_)))).count();
    }
    let link = &links[0];
    link.lock().protocol.start(b"more", None, Instant::now());
    assert!(link.commanded().0, "after a flush the loop is asked anew");
}

#[test]
fn a_link_that_is_over_is_let_go_of_and_what_it_carried_still_counts() {
    let reactor = Reactor::new(false).unwrap();
    let address = listen(&reactor);
    let client = Reactor::new(true).unwrap();
    let link = connect(&client, address, false);
    until("nobody came", || {
        reactor.poll(Some(Instant::now() + Duration::from_millis(10)));
        !reactor.links().is_empty()
    });
    link.lock().protocol.start(b"wait", None, Instant::now());
    Driven::flush_now(&*link);
    until("no call came", || !reactor.poll(Some(Instant::now() + Duration::from_millis(10))).accepted.is_empty());
    Driven::close(&*link, &proxyless_core::grpc::status::Status::new(1, "over"));
    client.release(&*link);
    assert!(client.links().is_empty());
    until("the server keeps it", || {
        reactor.poll(Some(Instant::now() + Duration::from_millis(10)));
        reactor.links().is_empty()
    });
    assert_eq!((reactor.tally().started, client.tally().started), (1, 1));
}
