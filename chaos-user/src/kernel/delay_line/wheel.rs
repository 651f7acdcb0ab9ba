//! A hierarchical timing wheel that keeps exact deadlines.
//!
//! Entries are filed by tick, which makes filing and taking out cheap however many there are. The
//! tick is not the precision: an entry whose tick has come waits in a small heap for its exact
//! deadline, so that entries leave in the order of their deadlines, first in first out among equal
//! ones, and never early.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds per tick, as a power of two: 16.384 µs.
const TICK_BITS: u32 = 14;
/// Buckets per level, as a power of two.
const DIGIT_BITS: u32 = 8;
const BUCKETS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 4;
/// What lies beyond the levels (19.5 h ahead, or behind the next multiple of that) overflows.
const HORIZON_BITS: u32 = DIGIT_BITS * LEVELS as u32;

/// Holds values until their deadline. Time is in nanoseconds from any fixed origin.
#[derive(Debug)]
pub struct Wheel<T> {
    levels: Box<[Level<T>; LEVELS]>,
    /// Everything whose tick is not after `cursor`.
    ready: BinaryHeap<Entry<T>>,
    overflow: BinaryHeap<Entry<T>>,
    /// The tick up to which buckets were emptied into `ready`.
    cursor: u64,
    sequence: u64,
    len: usize,
    /// An allocation to move entries through.
    spare: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Level<T> {
    buckets: Vec<Bucket<T>>,
    /// One bit per bucket that holds something.
    occupied: [u64; BUCKETS / 64],
}

#[derive(Debug)]
struct Bucket<T> {
    entries: Vec<Entry<T>>,
    earliest: u64,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    sequence: u64,
    value: T,
}

impl<T> Entry<T> {
    fn tick(&self) -> u64 {
        self.deadline >> TICK_BITS
    }
}

/// Reversed, because [`BinaryHeap`] gives out the greatest.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.deadline, other.sequence).cmp(&(self.deadline, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> Level<T> {
    fn new() -> Self {
        let bucket = || Bucket { entries: Vec::new(), earliest: u64::MAX };
        Self {
            buckets: std::iter::repeat_with(bucket).take(BUCKETS).collect(),
            occupied: [0; BUCKETS / 64],
        }
    }

    fn push(&mut self, index: usize, entry: Entry<T>) {
        self.occupied[index / 64] |= 1 << (index % 64);
        let bucket = &mut self.buckets[index];
        bucket.earliest = bucket.earliest.min(entry.deadline);
        bucket.entries.push(entry);
    }

    /// The first bucket at or after `from` that holds something.
    fn next_occupied(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = *self.occupied.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// Moves a bucket's entries to `into`, which must be empty, and keeps both allocations.
    fn take(&mut self, index: usize, into: &mut Vec<Entry<T>>) {
        self.occupied[index / 64] &= !(1 << (index % 64));
        let bucket = &mut self.buckets[index];
        bucket.earliest = u64::MAX;
        std::mem::swap(&mut bucket.entries, into);
    }
}

impl<T> Wheel<T> {
    /// An empty wheel; `now` is where its time starts.
    pub fn new(now: u64) -> Self {
        Self {
            levels: Box::new(std::array::from_fn(|_| Level::new())),
            ready: BinaryHeap::new(),
            overflow: BinaryHeap::new(),
            cursor: now >> TICK_BITS,
            sequence: 0,
            len: 0,
            spare: Vec::new(),
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes in a value. A deadline in the past is due at once.
    pub fn push(&mut self, deadline: u64, value: T) {
        let entry = Entry { deadline, sequence: self.sequence, value };
        self.sequence += 1;
        self.len += 1;
        self.file(entry);
    }

    /// The earliest deadline of all.
    pub fn next_deadline(&self) -> Option<u64> {
        if let Some(entry) = self.ready.peek() {
            return Some(entry.deadline);
        }
        // A level holds only what the levels below cannot, so the first hit is the earliest.
        for (level, wheel) in self.levels.iter().enumerate() {
            if let Some(index) = wheel.next_occupied(self.digit(level)) {
                return Some(wheel.buckets[index].earliest);
            }
        }
        self.overflow.peek().map(|entry| entry.deadline)
    }

    /// The value with the earliest deadline, with that deadline, if it is not after `now`.
    pub fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        self.advance(now >> TICK_BITS);
        if self.ready.peek()?.deadline > now {
            return None;
        }
        self.pop_ready()
    }

    /// The value with the earliest deadline, however far away.
    pub fn pop_any(&mut self) -> Option<(u64, T)> {
        let earliest = self.next_deadline()?;
        self.advance(earliest >> TICK_BITS);
        self.pop_ready()
    }

    /// Takes out every value that `choose` accepts, in the order of their deadlines.
    pub fn extract(&mut self, mut choose: impl FnMut(&T) -> bool) -> Vec<(u64, T)> {
        let mut taken = Vec::new();
        for heap in [&mut self.ready, &mut self.overflow] {
            let mut entries = std::mem::take(heap).into_vec();
            taken.extend(entries.extract_if(.., |entry| choose(&entry.value)));
            *heap = entries.into();
        }
        for level in self.levels.iter_mut() {
            for (index, bucket) in level.buckets.iter_mut().enumerate() {
                let before = taken.len();
                taken.extend(bucket.entries.extract_if(.., |entry| choose(&entry.value)));
                if taken.len() == before {
                    continue;
                }
                let left = bucket.entries.iter().map(|entry| entry.deadline);
                bucket.earliest = left.min().unwrap_or(u64::MAX);
                if bucket.entries.is_empty() {
                    level.occupied[index / 64] &= !(1 << (index % 64));
                }
            }
        }
        self.len -= taken.len();
        taken.sort_unstable_by_key(|entry| (entry.deadline, entry.sequence));
        taken.into_iter().map(|entry| (entry.deadline, entry.value)).collect()
    }

    fn pop_ready(&mut self) -> Option<(u64, T)> {
        let entry = self.ready.pop()?;
        self.len -= 1;
        Some((entry.deadline, entry.value))
    }

    fn digit(&self, level: usize) -> usize {
        digit(self.cursor, level)
    }

    fn file(&mut self, entry: Entry<T>) {
        let tick = entry.tick();
        if tick <= self.cursor {
            self.ready.push(entry);
            return;
        }
        // The highest digit in which the tick differs from the cursor decides the level.
        let level = (u64::BITS - 1 - (tick ^ self.cursor).leading_zeros()) / DIGIT_BITS;
        match self.levels.get_mut(level as usize) {
            Some(wheel) => wheel.push(digit(tick, level as usize), entry),
            None => self.overflow.push(entry),
        }
    }

    /// Moves everything whose tick is not after `target` to `ready`.
    fn advance(&mut self, target: u64) {
        while self.cursor < target {
            match self.next_start() {
                Some(start) if start.tick <= target => {
                    self.move_cursor(start.tick);
                    if let Some((level, index)) = start.bucket {
                        self.spread(level, index);
                    }
                }
                _ => self.move_cursor(target),
            }
        }
    }

    /// Files the entries of a bucket again, now that the cursor has reached it.
    fn spread(&mut self, level: usize, index: usize) {
        let mut moved = std::mem::take(&mut self.spare);
        self.levels[level].take(index, &mut moved);
        for entry in moved.drain(..) {
            self.file(entry);
        }
        self.spare = moved;
    }

    /// Takes from the overflow what the levels can hold from the new position on.
    fn move_cursor(&mut self, tick: u64) {
        let crossed = (tick ^ self.cursor) >> HORIZON_BITS != 0;
        self.cursor = tick;
        while crossed
            && let Some(entry) = self.overflow.peek()
            && (entry.tick() ^ tick) >> HORIZON_BITS == 0
            && let Some(entry) = self.overflow.pop()
        {
            self.file(entry);
        }
    }

    /// Where the next bucket that holds something begins.
    fn next_start(&self) -> Option<Start> {
        for (level, wheel) in self.levels.iter().enumerate() {
            if let Some(index) = wheel.next_occupied(self.digit(level)) {
                let shift = DIGIT_BITS * level as u32;
                let above = self.cursor >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
                let tick = above | (index as u64) << shift;
                return Some(Start { tick, bucket: Some((level, index)) });
            }
        }
        let tick = self.overflow.peek()?.tick();
        Some(Start { tick, bucket: None })
    }
}

struct Start {
    tick: u64,
    bucket: Option<(usize, usize)>,
}

fn digit(tick: u64, level: usize) -> usize {
    (tick >> (DIGIT_BITS * level as u32)) as usize % BUCKETS
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
