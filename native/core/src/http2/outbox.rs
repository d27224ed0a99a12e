//! Bytes on their way to a socket: small ones one behind the other, large payloads where their owner has them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

#[derive(Default)]
pub struct Outbox {
    small: Vec<u8>,
    /// How many of the small bytes are gone.
    gone: usize,
    /// Payloads, each with its place: so many of the small bytes go before it.
    large: VecDeque<(usize, Bytes)>,
    /// What the payloads come to.
    large_length: usize,
}

impl Outbox {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.small.len() - self.gone + self.large_length
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where small bytes are added.
    pub fn small(&mut self) -> &mut Vec<u8> {
        &mut self.small
    }

    /// Adds a payload without copying it.
    pub fn push(&mut self, payload: Bytes) {
        self.large_length += payload.len();
        self.large.push_back((self.small.len(), payload));
    }

    /// Fills `slices` with the first of what waits; returns how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut at, mut count) = (self.gone, 0);
        let end = (self.small.len(), &[][..]);
        let places = self.large.iter().map(|(place, payload)| (*place, &payload[..])).chain([end]);
        for (place, payload) in places {
            for piece in [&self.small[at..place], payload] {
                if count == slices.len() {
                    return count;
                }
                if !piece.is_empty() {
                    slices[count] = IoSlice::new(piece);
                    count += 1;
                }
            }
            at = place;
        }
        count
    }

    /// The first `count` bytes are gone.
    pub fn consume(&mut self, mut count: usize) {
        while let Some((place, payload)) = self.large.front_mut() {
            let small = count.min(*place - self.gone);
            self.gone += small;
            count -= small;
            let large = count.min(payload.len());
            self.large_length -= large;
            count -= large;
            if large < payload.len() {
                return payload.advance(large);
            }
            self.large.pop_front();
        }
        self.gone += count;
        if self.gone == self.small.len() {
            self.clear();
        }
    }

    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.small.clear();
        self.large.clear();
        (self.gone, self.large_length) = (0, 0);
    }

    /// Moves everything behind what is in `out`; into an empty one nothing is copied.
    pub fn move_to(&mut self, out: &mut Self) {
        if out.is_empty() {
            out.clear();
            return std::mem::swap(self, out);
        }
        let shift = |(place, payload)| (place + out.small.len() - self.gone, payload);
        out.large.extend(self.large.drain(..).map(shift));
        out.large_length += self.large_length;
        out.small.extend_from_slice(&self.small[self.gone..]);
        self.clear();
    }

    /// Appends everything to `out`, for who wants it in one piece; into an empty one small bytes are not copied.
    pub fn write_to(&mut self, out: &mut Vec<u8>) {
        if out.is_empty() && self.large.is_empty() && self.gone == 0 {
            std::mem::swap(out, &mut self.small);
        } else {
            out.reserve(self.len());
            while !self.is_empty() {
                let mut slice = [IoSlice::new(&[])];
                self.slices(&mut slice);
                let length = slice[0].len();
                out.extend_from_slice(&slice[0]);
                self.consume(length);
            }
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from(vec![1; 70]));
        outbox.small().extend_from_slice(&[2; 30]);
        outbox.push(Bytes::from(vec![3; 50]));
        outbox.push(Bytes::from(vec![4; 50]));
        outbox.small().extend_from_slice(&[5; 9]);
        outbox
    }

    fn expected() -> Vec<u8> {
        [vec![1; 70], vec![2; 30], vec![3; 50], vec![4; 50], vec![5; 9]].concat()
    }

    #[test]
    fn what_waits_goes_out_in_any_portions() {
        for portion in [1, 7, 17, 50, 99, 100, 1000] {
            let (mut outbox, mut out) = (filled(), Vec::new());
            while !outbox.is_empty() {
                let mut slices = [IoSlice::new(&[]); 2];
                let count = outbox.slices(&mut slices);
                let before = out.len();
                for slice in &slices[..count] {
                    let room = portion - (out.len() - before);
                    out.extend_from_slice(&slice[..slice.len().min(room)]);
                }
                let written = out.len() - before;
                outbox.consume(written);
                assert_eq!(outbox.len(), expected().len() - out.len());
            }
            assert_eq!(out, expected(), "in portions of {portion}");
        }
    }

    #[test]
    fn it_is_moved_behind_what_was_begun() {
        for gone in 0..=expected().len() {
            let (mut first, mut second, mut out) = (filled(), filled(), Vec::new());
            first.consume(gone);
            second.consume(gone);
            second.move_to(&mut first);
            assert!(second.is_empty());
            first.write_to(&mut out);
            assert_eq!(out, [&expected()[gone..], &expected()[gone..]].concat(), "with {gone} gone");
        }
    }
}
