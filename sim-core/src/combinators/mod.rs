//! asyncio's combinators: over tasks, futures and deadlines.
//!
//! | asyncio | here |
//! | --- | --- |
//! | `wait_for(f, t)`, `timeout(t)`, `timeout_at(when)` | [`Loop::timeout`], [`Loop::timeout_at`], [`Loop::timeout_with`] |
//! | `gather(*tasks)` | [`gather`] |
//! | `gather(*tasks, return_exceptions=True)` | [`gather_all`] |
//! | `wait(tasks)` | [`wait`] |
//! | `as_completed(tasks)` | [`as_completed`] |
//! | `shield(task)` | [`shield`] |
//! | `TaskGroup()` | [`Loop::task_group`] |
//!
//! They work on [`Task`](crate::Task)s, which run whether awaited or not. What runs inside one task
//! needs none of them: `futures::join!` and `futures::select_biased!` do, on every loop.
//!
//! What becomes of the tasks when the caller is cancelled is the difference between them: [`gather`]
//! and a task group cancel theirs, [`wait`], [`as_completed`] and [`shield`] leave them alone.
//!
//! [`Loop::timeout`]: crate::Loop::timeout
//! [`Loop::timeout_at`]: crate::Loop::timeout_at
//! [`Loop::timeout_with`]: crate::Loop::timeout_with
//! [`Loop::task_group`]: crate::Loop::task_group

mod as_completed;
mod failure;
mod gather;
mod group;
mod shield;
mod timeout;
mod wait;

pub use self::as_completed::{AsCompleted, as_completed};
pub use self::failure::{GroupError, TaskFailure};
pub use self::gather::{Gather, GatherAll, gather, gather_all};
pub use self::group::TaskGroup;
pub use self::shield::{Shield, shield};
pub use self::timeout::{Deadline, Timeout};
pub use self::wait::{ReturnWhen, wait};
