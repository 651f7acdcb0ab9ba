//! Memory for frames: what is read is kept where it was read to, in pieces of growing size, so
//! that a small packet occupies a small piece and nothing is copied.

use std::io::{IoSlice, IoSliceMut};

/// The first piece, part of every frame: enough for a small packet, and for all headers.
const HEAD: usize = 256;
/// The further pieces. All together hold 66 KiB: the largest super-packet of the loopback device
/// with its headers.
const PIECES: [usize; 3] = [1_792, 14_336, 51_200];
/// How many unused pieces are kept for later frames.
const SPARE: [usize; 3] = [4_096, 512, 256];
const SPARE_HEADS: usize = 8_192;

/// One frame with its vnet header.
#[derive(Debug)]
pub(super) struct Frame {
    length: usize,
    pieces: [Option<Box<[u8]>>; PIECES.len()],
    head: [u8; HEAD],
}

impl Frame {
    /// Bytes of the vnet header and the frame.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The beginning of the frame, at most 256 bytes.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[..self.length.min(HEAD)]
    }

    /// The same, for a change that leaves its length.
    pub(super) fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head[..self.length.min(HEAD)]
    }

    /// Bytes of memory that it occupies.
    pub(super) fn footprint(&self) -> u32 {
        let pieces = self.pieces.iter().flatten().map(|piece| piece.len()).sum::<usize>();
        (size_of::<Self>() + pieces) as u32
    }

    /// The frame's bytes, for writing; trailing slices are empty.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 4] {
        let mut left = self.length;
        let [first, second, third] = self.pieces.each_ref().map(|piece| piece.as_deref());
        [Some(&self.head[..]), first, second, third].map(|bytes| {
            let bytes = bytes.unwrap_or_default();
            let length = left.min(bytes.len());
            left -= length;
            IoSlice::new(&bytes[..length])
        })
    }
}

/// Where frames are read to, and where their memory goes back to.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// A frame with all its pieces, to read the next packet into.
    next: Option<Box<Frame>>,
    #[expect(clippy::vec_box, reason = "frames stay in their box while they are held")]
    heads: Vec<Box<Frame>>,
    pieces: [Vec<Box<[u8]>>; PIECES.len()],
}

impl Pool {
    /// Reads one frame by `read`, which answers how many bytes it filled, if any.
    pub(super) fn read<E>(
        &mut self,
        read: impl FnOnce(&mut [IoSliceMut<'_>; 4]) -> Result<Option<usize>, E>,
    ) -> Result<Option<Box<Frame>>, E> {
        let mut frame = self.next.take().unwrap_or_else(|| self.empty());
        for (index, piece) in frame.pieces.iter_mut().enumerate() {
            if piece.is_none() {
                let fresh = || vec![0; PIECES[index]].into_boxed_slice();
                *piece = Some(self.pieces[index].pop().unwrap_or_else(fresh));
            }
        }
        let Frame { head, pieces, .. } = &mut *frame;
        let outcome = {
            let [first, second, third] = pieces
                .each_mut()
                .map(|piece| IoSliceMut::new(piece.as_deref_mut().unwrap_or_default()));
            read(&mut [IoSliceMut::new(head), first, second, third])
        };
        let Ok(Some(length)) = outcome else {
            self.next = Some(frame);
            return outcome.map(|_| None);
        };
        let capacity = HEAD + PIECES.iter().sum::<usize>();
        frame.length = length.min(capacity);
        // What was not filled serves the next read.
        let mut next = self.empty();
        let mut filled = HEAD;
        for (index, piece) in frame.pieces.iter_mut().enumerate() {
            if filled >= length {
                next.pieces[index] = piece.take();
            }
            filled += PIECES[index];
        }
        self.next = Some(next);
        Ok(Some(frame))
    }

    /// Takes back the memory of a frame.
    pub(super) fn recycle(&mut self, mut frame: Box<Frame>) {
        for (index, piece) in frame.pieces.iter_mut().enumerate() {
            if let Some(piece) = piece.take()
                && self.pieces[index].len() < SPARE[index]
            {
                self.pieces[index].push(piece);
            }
        }
        if self.heads.len() < SPARE_HEADS {
            self.heads.push(frame);
        }
    }

    fn empty(&mut self) -> Box<Frame> {
        let fresh = || Box::new(Frame { length: 0, pieces: [None, None, None], head: [0; HEAD] });
        self.heads.pop().unwrap_or_else(fresh)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` through the pool, as the kernel scatters them.
    fn read(pool: &mut Pool, bytes: &[u8]) -> Box<Frame> {
        let frame = pool.read(|slices| {
            let mut left = bytes;
            for slice in slices.iter_mut() {
                let length = left.len().min(slice.len());
                slice[..length].copy_from_slice(&left[..length]);
                left = &left[length..];
            }
            assert!(left.is_empty(), "a frame must fit");
            Ok::<_, ()>(Some(bytes.len()))
        });
        frame.unwrap().unwrap()
    }

    fn written(frame: &Frame) -> Vec<u8> {
        frame.slices().iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_is_read_is_written(lengths in prop::collection::vec(prop_oneof![0..300_usize, 0..67_584_usize, Just(256), Just(2048), Just(16_384), Just(67_584)], 1..20)) {
            let mut pool = Pool::default();
            let mut kept: Vec<(Box<Frame>, Vec<u8>)> = Vec::new();
            for (number, length) in lengths.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + number) as u8).collect();
                let frame = read(&mut pool, &bytes);
                prop_assert_eq!(frame.len(), length);
                prop_assert_eq!(frame.head(), &bytes[..length.min(256)]);
                prop_assert!(frame.footprint() as usize >= length);
                kept.push((frame, bytes));
                if number % 3 == 2 {
                    let (frame, bytes) = kept.remove(0);
                    prop_assert_eq!(written(&frame), bytes);
                    pool.recycle(frame);
                }
            }
            for (frame, bytes) in kept {
                prop_assert_eq!(written(&frame), bytes);
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
