//! Streams on a line whose ends are far apart: windows follow what it carries, for who reads, and for nobody else. Time
//! is the test's own.

mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proxyless_core::http2::{Connection, Headers, Key, Outbox, Settings, Template};
use wire::REQUEST;

const ONE_WAY: Duration = Duration::from_millis(25);
const STEP: Duration = Duration::from_millis(2);
const STEPS: usize = 500; // a second
/// Bytes a second.
const RATE: usize = 20_000_000;
const PIECE: usize = 64 * 1024;
const WINDOW: usize = 256 * 1024;

/// A client of our own and a server, each with what is on its way to it.
struct Line {
    now: Instant,
    ends: [Connection; 2],
    coming: [VecDeque<(Instant, Vec<u8>)>; 2],
    waiting: [Vec<u8>; 2],
}

impl Line {
    fn with(settings: &Settings) -> Self {
        let now = Instant::now();
        let ends = [Connection::client(settings, now), Connection::server(settings, now)];
        let mut line = Self { now, ends, coming: Default::default(), waiting: Default::default() };
        (0..STEPS / 5).for_each(|_| line.step());
        line
    }

    fn step(&mut self) {
        self.now += STEP;
        for from in [0, 1] {
            let to = 1 - from;
            let mut outbox = Outbox::default();
            loop {
                self.ends[from].take_output(&mut outbox);
                if outbox.is_empty() {
                    break;
                }
                outbox.write_to(&mut self.waiting[from]);
            }
            let goes = self.waiting[from].len().min(RATE / STEPS);
            let piece = self.waiting[from].drain(..goes).collect();
            self.coming[to].push_back((self.now + ONE_WAY, piece));
            while self.coming[to].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, piece) = self.coming[to].pop_front().unwrap();
                self.ends[to].feed(&piece, self.now);
            }
            self.ends[from].assert_sound();
        }
    }

    fn open(&mut self) -> Key {
        let template = Arc::new(Template::new(REQUEST.into_iter().collect()));
        self.ends[0].open(template, Headers::new())
    }

    /// The client sends as fast as it can; the server reads these streams. Returns bytes a second of the last second.
    fn pour(&mut self, keys: &[Key], read: &[Key], seconds: usize) -> usize {
        let mut got = 0;
        for step in 0..seconds * STEPS {
            for &key in keys {
                if self.ends[0].view(key).is_some_and(|view| !view.unsent) && self.waiting[0].len() < 4 * PIECE {
                    self.ends[0].send(key, &[], Bytes::from_static(&[7; PIECE]), false);
                }
            }
            self.step();
            self.ends[1].advance(&mut Vec::new(), &mut Vec::new());
            for &key in read {
                let Some(view) = self.ends[1].view(key) else { continue };
                got += if step >= (seconds - 1) * STEPS { view.body.len() } else { 0 };
                if !view.body.is_empty() {
                    view.body.clear();
                    self.ends[1].release(key, 0);
                }
            }
        }
        got
    }
}

#[test]
fn a_stream_that_is_read_gets_all_that_a_long_line_carries() {
    let mut line = Line::with(&Settings::default());
    let key = line.open();
    let rate = line.pour(&[key], &[key], 4);
    assert!(rate > RATE / 10 * 9, "{rate} of {RATE}");
    assert!(line.ends[1].counters().pings == 0 && line.ends[0].counters().pings <= 4 * 10);
}

#[test]
fn a_window_that_stays_carries_itself_a_round() {
    let mut line = Line::with(&Settings { widest_stream: 0, ..Settings::default() });
    let key = line.open();
    let rate = line.pour(&[key], &[key], 2);
    assert!(rate <= WINDOW * 20 + PIECE, "{rate}: the test would not see a difference");
    assert_eq!(line.ends[0].counters().pings, 0);
}

#[test]
fn a_stream_that_nobody_reads_keeps_the_window_that_all_begin_with() {
    let mut line = Line::with(&Settings::default());
    let (read, unread) = (line.open(), line.open());
    line.pour(&[read, unread], &[read], 4);
    let held = line.ends[1].view(unread).unwrap().body.len();
    assert_eq!(held, WINDOW);
}

#[test]
fn many_that_are_read_for_a_while_leave_room_for_who_is_read_on() {
    let mut line = Line::with(&Settings { connection_window: 64 * 1024 * 1024, ..Settings::default() });
    let first = line.open();
    line.pour(&[first], &[first], 3);
    let mut keys: Vec<Key> = (0..40).map(|_| line.open()).collect();
    line.pour(&keys, &keys, 1);
    let read_on = line.open();
    keys.push(read_on);
    let rate = line.pour(&keys, &[read_on], 6);
    assert!(rate > WINDOW * 20 / 2, "{rate}: less than the window that all begin with carries");
}
