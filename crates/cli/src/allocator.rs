//! The program's allocator: mimalloc, with a count of the bytes that it has given out. The broker
//! uses this count to judge how much memory is in use, because the operating system's figure
//! includes pages that the allocator keeps for later (decision 0012).
//!
//! The only module with `unsafe`: an allocator has no other interface. Each function passes its
//! arguments on unchanged and counts; it must never allocate, lock or panic.
#![allow(unsafe_code, reason = "the interface of an allocator is unsafe (decision 0012)")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

/// Threads that count in the same place wait for each other's cache line; there are few threads.
const PLACES: usize = 32;

/// One part of the sum. A part can be negative: a thread frees what another one has allocated.
#[repr(align(128))]
struct Place(AtomicUsize);

static COUNTS: [Place; PLACES] = [const { Place(AtomicUsize::new(0)) }; PLACES];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// It has no destructor, so a thread can read it whenever it allocates, to its very end.
    static PLACE: Cell<usize> = const { Cell::new(PLACES) };
}

/// Returns how many bytes the program has asked for and not given back.
pub(crate) fn allocated_bytes() -> u64 {
    let add = |sum: usize, place: &Place| sum.wrapping_add(place.0.load(Ordering::Relaxed));
    let sum = COUNTS.iter().fold(0, add);
    // A free can be seen before the allocation that it belongs to.
    u64::try_from(isize::try_from(sum).unwrap_or(0)).unwrap_or(0)
}

/// Gives pages that this thread does not use back to the operating system.
pub(crate) fn give_back() {
    // SAFETY: it works on the calling thread's own heap, and requires nothing of the caller.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[inline]
fn count(bytes: usize) {
    let place = PLACE.with(|own| {
        if own.get() == PLACES {
            own.set(THREADS.fetch_add(1, Ordering::Relaxed) % PLACES);
        }
        own.get()
    });
    COUNTS[place].0.fetch_add(bytes, Ordering::Relaxed);
}

#[inline]
fn count_given(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if !pointer.is_null() {
        count(bytes);
    }
    pointer
}

// SAFETY: each function calls mimalloc's, with the caller's arguments and its promises.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        count_given(unsafe { MiMalloc.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        count_given(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.dealloc(pointer, layout) };
        count(layout.size().wrapping_neg());
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { MiMalloc.realloc(pointer, layout, new_size) };
        count_given(moved, new_size.wrapping_sub(layout.size()))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::allocated_bytes;

    const BYTES: usize = 1 << 28;

    /// Other threads allocate meanwhile, but not that much.
    fn is_near(count: u64, expected: u64) -> bool {
        count.abs_diff(expected) < BYTES as u64 / 4
    }

    #[test]
    fn bytes_count_from_when_they_are_given_out_until_they_are_given_back() {
        let before = allocated_bytes();
        let mut vector = Vec::<u8>::with_capacity(BYTES);
        assert!(is_near(allocated_bytes(), before + BYTES as u64));
        vector.reserve_exact(2 * BYTES);
        assert!(is_near(allocated_bytes(), before + 2 * BYTES as u64));
        vector.shrink_to(BYTES);
        // Another thread frees them.
        thread::spawn(move || drop(vector)).join().unwrap();
        assert!(is_near(allocated_bytes(), before));
        let zeroed = vec![0_u8; BYTES];
        assert!(is_near(allocated_bytes(), before + BYTES as u64));
        drop(zeroed);
        assert!(is_near(allocated_bytes(), before));
    }
}
