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
    let number = |place: usize, default: u64| -> u64 {
        arguments.get(place).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let addr = || arguments.get(1).and_then(|text| text.parse::<SocketAddr>().ok());
    let done = match (arguments.first().copied(), addr()) {
        (Some("compare"), _) => compare::compare(number(1, 5), number(2, 3)),
        (Some("ours"), Some(addr)) => ours::serve(addr, Hello::new(number(2, u64::MAX))),
        (Some("tokio"), Some(addr)) => over_tokio::serve(addr, Hello::new(number(2, u64::MAX))),
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
