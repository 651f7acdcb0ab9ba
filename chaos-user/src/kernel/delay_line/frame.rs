//! Memory for frames: what is read goes to one buffer that takes the largest, and is kept in memory
//! of about its own size, so that a small packet occupies little.

/// What a frame says about itself is in this much of it: all headers.
const HEAD: usize = 256;
/// How much memory a frame can have. The last is the largest super-packet of the loopback device, with
/// its headers.
const SIZES: [usize; 4] = [HEAD, 2_048, 16_384, LARGEST];
const LARGEST: usize = 67_584;
/// How much unused memory of each size is kept for later frames.
const SPARE: [usize; 4] = [8_192, 4_096, 512, 256];

/// One frame with its vnet header.
#[derive(Debug, Default)]
pub(super) struct Frame {
    length: usize,
    memory: Box<[u8]>,
}

impl Frame {
    /// Bytes of the vnet header and the frame.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    /// The beginning of the frame, at most 256 bytes.
    pub(super) fn head(&self) -> &[u8] {
        &self.memory[..self.length.min(HEAD)]
    }

    /// The same, for a change that leaves its length.
    pub(super) fn head_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length.min(HEAD)]
    }

    /// Bytes of memory that it occupies.
    pub(super) fn footprint(&self) -> u32 {
        (size_of::<Self>() + self.memory.len()) as u32
    }
}

/// Where frames are read to, and where their memory goes back to.
#[derive(Debug)]
pub(super) struct Pool {
    /// What the next frame is read into, whatever its size.
    next: Box<[u8]>,
    spare: [Vec<Box<[u8]>>; SIZES.len()],
}

impl Default for Pool {
    fn default() -> Self {
        Self { next: fresh(LARGEST), spare: [const { Vec::new() }; SIZES.len()] }
    }
}

impl Pool {
    /// Reads one frame by `read`, which answers how many bytes it filled, if any.
    pub(super) fn read<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<Option<usize>, E>,
    ) -> Result<Option<Frame>, E> {
        let Some(length) = read(&mut self.next)? else { return Ok(None) };
        let length = length.min(LARGEST);
        // Copying a few headers costs less than what the kernel does for a second place to fill.
        let class = SIZES.partition_point(|size| *size < length);
        let mut memory = self.spare[class].pop().unwrap_or_else(|| fresh(SIZES[class]));
        if SIZES[class] == LARGEST {
            std::mem::swap(&mut memory, &mut self.next);
        } else {
            memory[..length].copy_from_slice(&self.next[..length]);
        }
        Ok(Some(Frame { length, memory }))
    }

    /// Takes back the memory of a frame.
    pub(super) fn recycle(&mut self, frame: Frame) {
        let class = SIZES.iter().position(|size| *size == frame.memory.len());
        if let Some(class) = class
            && self.spare[class].len() < SPARE[class]
        {
            self.spare[class].push(frame.memory);
        }
    }
}

fn fresh(size: usize) -> Box<[u8]> {
    vec![0; size].into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` through the pool, as the kernel fills its buffer.
    fn read(pool: &mut Pool, bytes: &[u8]) -> Frame {
        let frame = pool.read(|buffer| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok::<_, ()>(Some(bytes.len()))
        });
        frame.unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(lengths in prop::collection::vec(prop_oneof![0..300_usize, 0..67_584_usize, Just(256), Just(2048), Just(16_384), Just(67_584)], 1..20)) {
            let mut pool = Pool::default();
            let mut kept: Vec<(Frame, Vec<u8>)> = Vec::new();
            for (number, length) in lengths.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + number) as u8).collect();
                let frame = read(&mut pool, &bytes);
                prop_assert_eq!(frame.len(), length);
                prop_assert_eq!(frame.head(), &bytes[..length.min(256)]);
                prop_assert!(frame.footprint() as usize >= length);
                kept.push((frame, bytes));
                if number % 3 == 2 {
                    let (frame, bytes) = kept.remove(0);
                    prop_assert_eq!(frame.bytes(), &bytes[..]);
                    pool.recycle(frame);
                }
            }
            for (frame, bytes) in kept {
                prop_assert_eq!(frame.bytes(), &bytes[..]);
            }
        }
    }

    #[test]
    fn a_small_packet_occupies_little() {
        let mut pool = Pool::default();
        assert!(read(&mut pool, &[1; 100]).footprint() < 400);
        assert!(read(&mut pool, &[1; 1500]).footprint() < 2_400);
        assert_eq!(pool.read(|_| Ok::<_, ()>(None)).unwrap().map(|frame| frame.len()), None);
        assert_eq!(pool.read(|_| Err(7)).unwrap_err(), 7);
    }
}
