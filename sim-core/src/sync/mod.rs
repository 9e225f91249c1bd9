//! asyncio's synchronisation primitives, for tasks of one loop or of one world.
//!
//! All of them are fair and cancel-safe. Fair: who came first goes first, and nobody overtakes a waiter, not even
//! one that was woken and has not run yet. Cancel-safe: a waiter that is given up (cancelled, timed out, dropped)
//! leaves at once, and what was handed to it goes to the next. Clones are handles of the same primitive; none
//! needs a loop, and none uses a timer: put a deadline around the wait.
//!
//! | asyncio | here | differs in |
//! | --- | --- | --- |
//! | `Lock` | [`Lock`] | guards what it holds; unlocked by dropping the guard, so it cannot be released twice (contract H-41) |
//! | `Event` | [`Event`] | |
//! | `Condition` | [`Condition`] | takes and gives back the lock's guard, so it cannot be used without (H-47) |
//! | `Semaphore`, `BoundedSemaphore` | [`Semaphore`], [`BoundedSemaphore`] | a permit goes back when it is dropped |
//! | `Barrier` | [`Barrier`] | |
//!
//! Order inside a host is fixed, first come first served. What a search varies is when things arrive, and who is
//! cancelled.

mod barrier;
mod condition;
mod event;
mod lock;
mod semaphore;
mod waiters;

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use semaphore::{BoundedSemaphore, OverRelease, Permit, Semaphore};
pub(crate) use waiters::Waiters;
