//! Array maps as memory: writing a rule is a store, and so is arming a bank.
#![expect(unsafe_code, reason = "memory shared with the kernel is reached through raw pointers")]

use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;
use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::BpfError;

/// A whole `BPF_F_MMAPABLE` array, mapped (Linux 5.5 and later).
#[derive(Debug)]
pub(crate) struct Slab<T> {
    base: NonNull<T>,
    elements: usize,
    bytes: NonZeroUsize,
    element: PhantomData<T>,
}

// SAFETY: the memory lives until drop and is only read and written through volatile or atomic
// accesses of plain data.
unsafe impl<T: Pod + Send> Send for Slab<T> {}
// SAFETY: as above; `set` takes `&mut self`, atomics are shareable.
unsafe impl<T: Pod + Sync> Sync for Slab<T> {}

impl<T: Pod> Slab<T> {
    /// Maps an array of `elements` values.
    pub(crate) fn map(map: &MapData, elements: usize) -> Result<Self, BpfError> {
        let failed = |errno: nix::Error| BpfError::Io {
            what: "map an eBPF array into memory",
            source: errno.into(),
        };
        // The kernel lays elements out at multiples of eight bytes.
        debug_assert_eq!(size_of::<T>() % 8, 0);
        let bytes = NonZeroUsize::new((elements * size_of::<T>()).next_multiple_of(4096))
            .ok_or_else(|| failed(nix::Error::EINVAL))?;
        // SAFETY: a new shared mapping of a map that the kernel made for being mapped; nothing
        // else in this process owns that address range.
        let base = unsafe {
            mmap(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map.fd().as_fd(),
                0,
            )
        }
        .map_err(failed)?;
        Ok(Self { base: base.cast(), elements, bytes, element: PhantomData })
    }

    pub(crate) fn len(&self) -> usize {
        self.elements
    }

    /// Writes one element; false if there is none with this index.
    #[must_use]
    pub(crate) fn set(&mut self, index: usize, value: T) -> bool {
        if index >= self.elements {
            return false;
        }
        // SAFETY: inside the mapping, aligned as arrays are.
        unsafe { self.base.as_ptr().add(index).write_volatile(value) };
        true
    }

    /// The first element.
    pub(crate) fn first(&self) -> T {
        // SAFETY: every mapping has at least one element.
        unsafe { self.base.as_ptr().read_volatile() }
    }

    /// Stores into an aligned word of one element, by its offset in bytes; false if there is none with
    /// this index.
    #[must_use]
    pub(crate) fn publish_at(&self, index: usize, offset: usize, value: u64) -> bool {
        let Some(word) = self.word_at(index, offset) else { return false };
        word.store(value, Ordering::Release);
        true
    }

    /// One aligned word of an element, by its offset in bytes, if there is one with this index.
    pub(crate) fn word_at(&self, index: usize, offset: usize) -> Option<&AtomicU64> {
        assert!(offset.is_multiple_of(8) && offset + 8 <= size_of::<T>(), "no word at {offset}");
        if index >= self.elements {
            return None;
        }
        // SAFETY: inside the mapping and aligned to eight bytes, as elements are; the kernel reads it
        // with single loads.
        Some(unsafe {
            AtomicU64::from_ptr(self.base.as_ptr().add(index).cast::<u8>().add(offset).cast())
        })
    }

    /// The same of the first element.
    fn word(&self, offset: usize) -> &AtomicU64 {
        self.word_at(0, offset).unwrap_or_else(|| unreachable!("no mapping is empty"))
    }

    /// Stores into a word of the first element, after everything that was written before.
    pub(crate) fn publish(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }
}

impl Slab<u64> {
    /// One element, which the kernel stores whole.
    pub(crate) fn load(&self, index: usize) -> Option<u64> {
        if index >= self.elements {
            return None;
        }
        // SAFETY: inside the mapping and aligned to eight bytes.
        let word = unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(index)) };
        Some(word.load(Ordering::Acquire))
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` got; references into it borrow `self`.
        let _ = unsafe { munmap(self.base.cast(), self.bytes.get()) };
    }
}
