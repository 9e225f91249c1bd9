//! A question to the name servers, as the engine awaits it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use sim_core::driver::Resolution;

use super::query::{Answer, Asked, QueryId, gone};
use crate::scheduler::Scheduler;

/// The answer to come. It keeps no world alive; dropped, it takes the question back.
struct Lookup {
    scheduler: Weak<Scheduler>,
    /// `None` once it is answered.
    query: Option<QueryId>,
}

/// What became of a question, for the engine, which wants of the answer what `read` gets out of it.
pub(crate) fn resolution<T: 'static>(
    scheduler: &Rc<Scheduler>,
    asked: Asked,
    read: fn(Answer) -> T,
) -> Resolution<T> {
    match asked {
        Asked::Answered(answer) => Resolution::Now(answer.map(read)),
        Asked::UnderWay(query) => {
            let lookup = Lookup { scheduler: Rc::downgrade(scheduler), query: Some(query) };
            Resolution::Later(Box::pin(async move { lookup.await.map(read) }))
        }
    }
}

impl Future for Lookup {
    type Output = io::Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Answer>> {
        let (Some(scheduler), Some(query)) = (self.scheduler.upgrade(), self.query) else {
            return Poll::Ready(Err(gone()));
        };
        let taken = scheduler.network().take_answer(query, cx.waker());
        match taken {
            Ok(answer) => {
                self.query = None;
                Poll::Ready(answer)
            }
            // Dropped here, where nothing is borrowed.
            Err(_before) => Poll::Pending,
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let (Some(scheduler), Some(query)) = (self.scheduler.upgrade(), self.query) {
            let waker = scheduler.network().forget_question(query);
            drop(waker);
        }
    }
}
