//! Blocks of memory that are free and kept for the next use, by address and size. Allocates nothing itself.

const SLOTS: usize = 32;

pub struct Spares {
    /// The first `count` of them.
    blocks: [(usize, usize); SLOTS],
    count: usize,
    bytes: usize,
    most: usize,
}

impl Spares {
    /// `most`: bytes.
    pub const fn new(most: usize) -> Self {
        Self { blocks: [(0, 0); SLOTS], count: 0, bytes: 0, most }
    }

    /// The address of one of exactly this size, the one that was used last.
    pub fn take(&mut self, size: usize) -> Option<usize> {
        let found = self.blocks[..self.count].iter().rposition(|(_, free)| *free == size)?;
        self.blocks[found..self.count].rotate_left(1);
        self.pop().map(|(address, _)| address)
    }

    /// False: there is no room, and it is the caller's still.
    pub fn keep(&mut self, address: usize, size: usize) -> bool {
        let room = self.count < SLOTS && size <= self.most - self.bytes;
        if room {
            self.blocks[self.count] = (address, size);
            self.count += 1;
            self.bytes += size;
        }
        room
    }

    /// Any of them.
    pub fn pop(&mut self) -> Option<(usize, usize)> {
        self.count = self.count.checked_sub(1)?;
        let (address, size) = self.blocks[self.count];
        self.bytes -= size;
        Some((address, size))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_block_is_kept_or_used_and_never_both() {
        let (mut spares, mut used, mut free) = (Spares::new(1000), BTreeMap::new(), BTreeMap::new());
        let mut random = 7_u64;
        for address in 1..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let size = 10 + 10 * (random >> 60) as usize;
            match (random >> 40) % 8 {
                0 => {
                    let popped = spares.pop();
                    assert_eq!(popped.is_some(), !free.is_empty());
                    popped.inspect(|(address, size)| assert_eq!(free.remove(address), Some(*size)));
                }
                1..4 => {
                    let Some((address, size)) = used.pop_first() else { continue };
                    let kept: usize = free.values().sum();
                    assert_eq!(spares.keep(address, size), free.len() < SLOTS && kept + size <= 1000);
                    if free.len() < SLOTS && kept + size <= 1000 {
                        free.insert(address, size);
                    }
                }
                _ => {
                    let taken = spares.take(size);
                    assert_eq!(taken.is_some(), free.values().any(|other| *other == size));
                    taken.inspect(|address| assert_eq!(free.remove(address), Some(size)));
                    assert_eq!(used.insert(taken.unwrap_or(address), size), None);
                }
            }
        }
    }
}
