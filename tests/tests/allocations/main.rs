//! What the engine and the drivers allocate: nothing on the steady path, and nothing for good.
//!
//! A binary of its own, because counting takes the place of the global allocator. A workload is run
//! with some rounds and with twice as many; if both allocate the same, a round allocates nothing. What
//! it takes to begin (a world, a connection, buffers that grow to what they hold) is in both.

mod searches;
mod steady;
mod worlds;

/// How many times memory is allocated while `code` runs.
#[track_caller]
fn allocations(code: impl FnOnce()) -> u64 {
    let counted = allocation_counter::measure(code);
    assert!(counted.count_total > 0, "nothing was counted");
    counted.count_total
}
