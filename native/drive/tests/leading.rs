//! Blocking callers take turns to lead: who leads reads for all, and the lead is passed on.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Answering, PATIENCE, Said, call, connect, told, until};
use proxyless_core::grpc::status::{Status, code};
use proxyless_drive::driven::Driven;
use proxyless_drive::leading::Waited;
use proxyless_drive::listener::{OnEnd, Watcher};
use proxyless_drive::reactor::Reactor;

#[test]
fn each_of_many_callers_has_its_own_answer() {
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    std::thread::scope(|scope| {
        for caller in 0..8u8 {
            let link = &link;
            scope.spawn(move || {
                for number in 0..200u8 {
                    let asked = vec![caller; usize::from(number) + 1];
                    assert_eq!(call(link, &asked, Some(PATIENCE)).unwrap(), asked);
                }
            });
        }
    });
    assert_eq!(link.tally().succeeded, 1600);
}

#[test]
fn a_leader_that_leaves_passes_the_lead_on() {
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    std::thread::scope(|scope| {
        let hurried = scope.spawn(|| call(&link, b"wait", Some(Duration::from_millis(200))));
        let patient = scope.spawn(|| {
            let answers = (0..50).map(|_| call(&link, b"answered", Some(PATIENCE)).unwrap());
            answers.collect::<Vec<_>>().len()
        });
        assert_eq!(hurried.join().unwrap().unwrap_err().code, code::DEADLINE_EXCEEDED);
        assert_eq!(patient.join().unwrap(), 50);
    });
}

#[test]
fn a_call_that_is_ended_elsewhere_wakes_who_waits_for_it() {
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    let key = link.lock().protocol.start(b"wait", None, Instant::now());
    link.flush();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| link.wait(key, Some(Instant::now() + PATIENCE), &|_| false));
        until("nobody leads", || !link.lock().alone());
        link.lock().protocol.cancel(key, Status::new(code::CANCELLED, "by another thread"));
        link.events();
        assert!(matches!(waiting.join().unwrap(), Waited::Ready));
    });
}

#[test]
fn a_connection_that_is_lost_ends_the_calls_of_all_who_wait() {
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    let (lost, events) = told();
    link.on_lost(lost);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| call(&link, b"wait", Some(PATIENCE)))).collect();
        until("not all calls came", || server.reactor.tally().started == 4);
        for theirs in server.reactor.links() {
            Driven::close(&*theirs, &Status::new(code::UNAVAILABLE, "over"));
        }
        for call in calls {
            assert_eq!(call.join().unwrap().unwrap_err().code, code::UNAVAILABLE);
        }
    });
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Said::Lost));
}

#[test]
fn who_watches_is_told_by_whoever_reads_and_the_end_first() {
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    let (callback, events) = told();
    let key = link.lock().protocol.start(b"asked", None, Instant::now());
    link.lock().tell_end(key, OnEnd::new(callback.clone()));
    link.lock().watch(key, Watcher::Outcome(callback));
    link.commanded();
    let reading = Arc::clone(&reactor);
    let over = std::thread::spawn(move || {
        while reading.tally().succeeded == 0 {
            let turn = reading.poll(Some(Instant::now() + PATIENCE));
            proxyless_drive::listener::tell_all::<common::Told>(turn.events);
        }
    });
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Said::End(0)));
    assert_eq!(events.recv_timeout(PATIENCE), Ok(Said::Outcome(0, Some(b"asked".to_vec()))));
    over.join().unwrap();
}
