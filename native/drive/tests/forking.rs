//! The child of a fork lets go of what is its parent's without a word, and has blank states in its place.

mod common;

use std::sync::Once;

use common::{Answering, PATIENCE, call, connect};
use proxyless_drive::driven::Driven;
use proxyless_drive::fork;
use proxyless_drive::fork::ProcessMutex;
use proxyless_drive::protocol::Protocol;
use proxyless_drive::reactor::Reactor;

fn installed() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(fork::install);
}

/// What the child says by its exit status; it runs no destructor and no other test.
fn in_child(check: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `check` alone, which takes no lock that another thread may hold, and ends at once.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(i32::from(!check())),
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
            }
        }
    }
}

#[test]
fn the_child_sees_connections_that_are_over_and_the_parents_go_on() {
    installed();
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    assert_eq!(call(&link, b"before", Some(PATIENCE)).unwrap(), b"before");
    assert!(in_child(|| link.inherited()
        && link.lock().protocol.ended().is_some()
        && !link.lock().protocol.usable()
        && Driven::fd(&*link) == -1
        && reactor.links().is_empty()));
    assert!(!link.inherited());
    assert_eq!(call(&link, b"after", Some(PATIENCE)).unwrap(), b"after");
}

#[test]
fn a_lock_that_was_held_when_the_process_forked_holds_up_no_child() {
    installed();
    let (server, reactor) = (Answering::new(), Reactor::new(false).unwrap());
    let link = connect(&reactor, server.address, true);
    let held = link.lock();
    assert!(in_child(|| !link.lock().protocol.usable()));
    drop(held);
    assert_eq!(call(&link, b"after", Some(PATIENCE)).unwrap(), b"after");
}

#[test]
fn the_child_has_a_reactor_of_its_own() {
    installed();
    let server = Answering::new();
    let before = Reactor::<common::Told>::new(false).unwrap();
    let number = before.number();
    let address = server.address;
    assert!(in_child(|| {
        // A loop may know the number: it is still one, on which nothing is ever ready.
        // SAFETY: no memory is involved.
        let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
        let reactor = Reactor::new(false).unwrap();
        let link = connect(&reactor, address, true);
        open && before.number() == number && call(&link, b"of the child", Some(PATIENCE)).is_ok()
    }));
}

#[test]
fn what_a_process_mutex_holds_is_blank_in_the_child_and_stays_in_the_parent() {
    installed();
    let mutex = ProcessMutex::new(vec![1, 2, 3]);
    assert!(in_child(|| mutex.inherited() && mutex.lock().is_empty()));
    assert_eq!(*mutex.lock(), [1, 2, 3]);
}
