//! A thread that has answered a call may wait for the next beside the reactor's own thread, and has it to itself.

mod common;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::{PATIENCE, answer, call, connect, listen};
use proxyless_drive::reactor::Reactor;

#[test]
fn who_lingers_has_what_arrives_on_open_connections() {
    let (reactor, clients) = (Reactor::new(false).unwrap(), Reactor::new(false).unwrap());
    let address = listen(&reactor);
    let link = connect(&clients, address, true);
    std::thread::scope(|scope| {
        let (lingers, begin) = channel::<()>();
        let (told_of, by_poll) = channel();
        let polling = scope.spawn({
            let reactor = &reactor;
            move || {
                let mut first = true;
                while !reactor.links().is_empty() || first {
                    let turn = reactor.poll(Some(Instant::now() + Duration::from_millis(100)));
                    for (link, key) in turn.accepted {
                        answer(&link, key);
                        first = false;
                        told_of.send(()).unwrap();
                    }
                }
            }
        });
        let link = &link;
        let calling = scope.spawn(move || {
            call(link, b"first", Some(PATIENCE)).unwrap();
            begin.recv_timeout(PATIENCE).unwrap();
            call(link, b"second", Some(PATIENCE)).unwrap()
        });
        by_poll.recv_timeout(PATIENCE).unwrap();
        lingers.send(()).unwrap();
        let mut got = Vec::new();
        let late = Instant::now() + PATIENCE;
        while got.is_empty() && Instant::now() < late && by_poll.try_recv().is_err() {
            got = reactor.linger(false, late).accepted;
        }
        for (link, key) in &got {
            answer(link, *key);
        }
        assert_eq!(calling.join().unwrap(), b"second");
        clients.links().iter().for_each(|link| {
            link.close(&proxyless_core::grpc::status::Status::new(1, "over"));
        });
        polling.join().unwrap();
        assert_eq!(got.len(), 1, "the reactor's own thread took it");
    });
}

#[test]
fn who_lingers_is_called_back() {
    let reactor = Reactor::<common::Told>::new(false).unwrap();
    std::thread::scope(|scope| {
        let lingering = scope.spawn(|| reactor.linger(true, Instant::now() + PATIENCE));
        reactor.wake();
        let begun = Instant::now();
        assert!(lingering.join().unwrap().accepted.is_empty());
        assert!(begun.elapsed() < PATIENCE / 2, "the bell was not heard");
    });
}

#[test]
fn a_reactor_that_a_loop_drives_lets_nobody_linger() {
    let reactor = Reactor::<common::Told>::new(true).unwrap();
    let begun = Instant::now();
    reactor.linger(true, begun + PATIENCE);
    assert!(begun.elapsed() < PATIENCE / 2);
}
