//! One port, several protocols: what a connection speaks is seen by its first bytes, in the ports' order.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{PATIENCE, Said, Told, answer, call, connect, own, told};
use proxyless_drive::listener::tell_all;
use proxyless_drive::port::Port;
use proxyless_drive::port_policy::PortPolicy;
use proxyless_drive::reactor::Reactor;
use proxyless_echo::{Connection, ECHO};
use proxyless_tls::chains::Chains;
use proxyless_tls::detect::{Detected, Spoken, begins_with};
use std::sync::Arc;

fn other(first: &[u8]) -> Detected {
    begins_with(b"ECHO/9", first)
}

const OTHER: Spoken = Spoken { name: "the other one", detect: other, application: "", alpn: &[] };

struct Served {
    reactor: Arc<Reactor<Told>>,
    address: std::net::SocketAddr,
}

impl Served {
    fn by(port_policy: Option<Arc<PortPolicy<Told>>>) -> Self {
        let reactor = Reactor::new(false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let port =
            Port::new(port_policy).speaking(OTHER, || Connection::new(false)).speaking(ECHO, || Connection::new(false));
        reactor.listen(own(listener), port).unwrap();
        Self { reactor, address }
    }

    fn turn(&self) {
        let turn = self.reactor.poll(Some(Instant::now() + Duration::from_millis(20)));
        tell_all::<Told>(turn.events);
        turn.accepted.iter().for_each(|(link, key)| answer(link, *key));
    }
}

#[test]
fn a_connection_is_taken_by_the_first_that_knows_it_and_nothing_of_it_is_lost() {
    let served = Served::by(None);
    let clients = Reactor::new(false).unwrap();
    let link = connect(&clients, served.address, true);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&link, b"asked", Some(PATIENCE)));
        while !calling.is_finished() {
            served.turn();
        }
        assert_eq!(calling.join().unwrap().unwrap(), b"asked");
    });
}

#[test]
fn what_nobody_knows_is_closed_and_told_of_with_the_names_of_what_is_known() {
    let (callback, events) = told();
    let port_policy = Arc::new(PortPolicy::new(callback.clone(), callback));
    port_policy.set(Chains::of_plaintext());
    let served = Served::by(Some(port_policy));
    let mut client = TcpStream::connect(served.address).unwrap();
    client.write_all(b"ECHO/").unwrap();
    for _ in 0..5 {
        served.turn(); // it may still be both
    }
    assert!(served.reactor.links().is_empty() && events.try_recv().is_err());
    client.write_all(b"2").unwrap();
    let said = loop {
        served.turn();
        if let Ok(said) = events.try_recv() {
            break said;
        }
    };
    let reason = "the first bytes are neither TLS nor the other one nor echo";
    assert_eq!(said, Said::Refused(String::from(reason)));
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn who_is_let_in_by_a_gate_is_told_of_with_its_chain() {
    let (callback, events) = told();
    let port_policy = Arc::new(PortPolicy::new(callback.clone(), callback));
    port_policy.set(Chains::of_plaintext());
    let served = Served::by(Some(port_policy));
    let mut client = TcpStream::connect(served.address).unwrap();
    client.write_all(proxyless_echo::PREFACE).unwrap();
    let said = loop {
        served.turn();
        if let Ok(said) = events.try_recv() {
            break said;
        }
    };
    assert_eq!(said, Said::Admitted(String::from("plaintext")));
}
