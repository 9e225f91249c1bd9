//! What the processor is told of memory that will be needed soon.
//!
//! A world of thousands of hosts is larger than the processor's caches, and each event needs a hundred lines of it that were last
//! touched thousands of events ago. Whoever knows what comes next asks for its memory early, so that it comes while something
//! else is at work. Nothing is read, and nothing that a program can tell depends on it.

use prefetch_index::prefetch_index;

/// How far the way to what will be needed is followed. Each stage finds its way in the memory that the stage before has
/// asked for, so there should be some time between two of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The entry in a table.
    Entry,
    /// What the entry refers to: a transport, a connection.
    Object,
    /// What that refers to: its protocol, the bytes that it holds.
    Content,
}

/// The bytes that come from memory at once, on nearly every machine.
const LINE: usize = 64;

/// Asks for the memory of a value, as far as it is its own.
///
/// ```
/// use sim_core::cache;
///
/// let table = vec![[0_u64; 32]; 1_000];
/// cache::prefetch(&table[999]);
/// ```
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    prefetch_first(value, size_of_val(value));
}

/// Asks for the memory of a value up to so many bytes, which may be beyond its end.
#[inline(always)]
pub fn prefetch_first<T: ?Sized>(value: &T, bytes: usize) {
    let first = std::ptr::from_ref(value).cast::<u8>().addr();
    (0..bytes).step_by(LINE).for_each(|offset| ask(first + offset));
    // Where it begins amid a line, it ends in one more.
    if align_of_val(value) < LINE && bytes > 1 {
        ask(first + bytes - 1);
    }
}

/// Asks for the line with an address.
#[inline(always)]
fn ask(address: usize) {
    prefetch_index(ANY, index_of(address));
}

/// What the crate that asks is given: it takes a slice and an index, and looks at neither, so every address is an index into
/// any slice of bytes. It must not be an array: that would be copied, and lie elsewhere.
static ANY: &[u8] = &[0];

#[inline(always)]
fn index_of(address: usize) -> usize {
    address.wrapping_sub(ANY.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_an_index() {
        let values = [1_u64, 2];
        for address in [0, 1, std::ptr::from_ref(&values[1]).addr(), usize::MAX] {
            assert_eq!(ANY.as_ptr().wrapping_add(index_of(address)).addr(), address);
        }
    }
}
