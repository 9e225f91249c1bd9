//! The `date` of responses, from the clock of the host.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::hyper::header::{DATE, HeaderValue};
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use pin_project_lite::pin_project;

use crate::Loop;

/// A service whose responses say when they were made, by the clock of `lp`, unless they do already.
#[derive(Clone)]
pub(super) struct Dated<S> {
    pub(super) service: S,
    /// `None` if somebody else sees to it.
    pub(super) lp: Option<Loop>,
}

impl<R, S, B> Service<Request<R>> for Dated<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = DatedFuture<S::Future>;

    fn call(&self, request: Request<R>) -> Self::Future {
        DatedFuture { future: self.service.call(request), lp: self.lp.clone() }
    }
}

pin_project! {
    /// The future of a [`Dated`] service.
    pub(super) struct DatedFuture<F> {
        #[pin]
        future: F,
        lp: Option<Loop>,
    }
}

impl<F, B, E> Future for DatedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut result = ready!(this.future.poll(cx));
        if let (Ok(response), Some(lp)) = (&mut result, this.lp) {
            response.headers_mut().entry(DATE).or_insert_with(|| header(lp.wall_time()));
        }
        Poll::Ready(result)
    }
}

fn header(since_epoch: Duration) -> HeaderValue {
    HeaderValue::try_from(http_date(since_epoch)).expect("a date is ASCII")
}

/// The time as RFC 9110, section 5.6.7, has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(since_epoch: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let seconds = since_epoch.as_secs();
    let days = seconds / 86_400;
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    let length = |month: usize| MONTHS[month].1 + u64::from(month == 1 && is_leap(year));
    while day >= length(month) {
        day -= length(month);
        month += 1;
    }
    let (weekday, month, day) = (DAYS[(days % 7) as usize], MONTHS[month].0, day + 1);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(29);
    write!(text, "{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
        .expect("a string takes all");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(Duration::from_secs(seconds)), date);
        }
    }
}
