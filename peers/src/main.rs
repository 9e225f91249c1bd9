//! The same hyper server over our real loop and over tokio's current-thread runtime, and what each costs.
//!
//! `cargo run --release --manifest-path peers/Cargo.toml -- compare [ROUNDS] [SECONDS]` runs them in turn, loads each with
//! `wrk -c 100`, and prints the processor time of a request and the ratios. `ours ADDR` and `tokio ADDR` are the
//! servers alone, which end after as many requests as a second argument says.

#![allow(clippy::disallowed_methods, reason = "it looks at servers from outside")]

mod compare;
mod ours;
mod over_tokio;

use std::cell::Cell;
use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response};

/// What both answer; it counts down, and ends the process at the end.
#[derive(Clone)]
struct Hello {
    left: Rc<Cell<u64>>,
}

impl Hello {
    fn new(requests: u64) -> Self {
        Self { left: Rc::new(Cell::new(requests)) }
    }

    fn answer(
        &self,
        _: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<String>, Infallible>> + use<> {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            std::process::exit(0);
        }
        async { Ok(Response::new("hello, world\n".to_owned())) }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // A number that is none, and 0, are `None`.
    let number = |place: usize, default: u64| match arguments.get(place) {
        Some(text) => text.parse::<NonZeroU64>().ok().map(NonZeroU64::get),
        None => Some(default),
    };
    let addr = || arguments.get(1)?.parse::<SocketAddr>().ok();
    let served = || Some((addr()?, Hello::new(number(2, u64::MAX)?)));
    let done = match (arguments.first().copied(), number(1, 5).zip(number(2, 3)), served()) {
        (Some("compare"), Some((rounds, seconds)), _) => compare::compare(rounds, seconds),
        (Some("ours"), _, Some((addr, hello))) => ours::serve(addr, hello),
        (Some("tokio"), _, Some((addr, hello))) => over_tokio::serve(addr, hello),
        _ => {
            eprintln!(
                "peers compare [ROUNDS] [SECONDS] | ours ADDR [REQUESTS] | tokio ADDR [REQUESTS]"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
