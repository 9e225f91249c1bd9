//! The server's resources.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | a greeting, with the version of HTTP |
//! | `GET /bytes/SEED/LENGTH` | a body of this length, a function of the seed |
//! | `PUT /digest` (or `POST`) | how long the body was, and its [`Digest`] |
//! | `PUT /echo` (or `POST`) | the body, as it comes |
//!
//! `curl localhost:8080/bytes/7/1000000 | curl -T - localhost:8080/digest`

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use sim_core::hyper::hyper;
use sim_core::hyper::hyper::body::{Body as _, Bytes, Frame, Incoming};
use sim_core::hyper::hyper::service::Service;
use sim_core::hyper::hyper::{Method, Request, Response, StatusCode};

use super::Flaw;
use super::payload::{Made, Payload};
use crate::Digest;

/// The longest body that is made for whoever asks.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// What the server has.
#[derive(Debug)]
pub(super) struct Resources {
    flaw: Flaw,
    /// How much was made of bodies that somebody watches, by their seeds.
    watched: RefCell<BTreeMap<u64, Made>>,
}

impl Resources {
    pub(super) fn new(flaw: Flaw) -> Self {
        Self { flaw, watched: RefCell::default() }
    }

    /// Begins to watch how far the body of this seed is made.
    pub(super) fn watch(&self, seed: u64) -> Made {
        let made = Made::default();
        self.watched.borrow_mut().insert(seed, Rc::clone(&made));
        made
    }

    pub(super) fn forget(&self, seed: u64) {
        self.watched.borrow_mut().remove(&seed);
    }

    fn made(&self, seed: u64) -> Made {
        self.watched.borrow().get(&seed).cloned().unwrap_or_default()
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Payload>, hyper::Error>>>>;

/// What answers requests.
pub(super) fn service(
    resources: &Rc<Resources>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Payload>,
    Error = hyper::Error,
    Future = Answering,
>
+ 'static
+ use<> {
    let resources = Rc::clone(resources);
    sim_core::hyper::service(move |request| -> Answering {
        Box::pin(answer(request, Rc::clone(&resources)))
    })
}

async fn answer(
    request: Request<Incoming>,
    resources: Rc<Resources>,
) -> Result<Response<Payload>, hyper::Error> {
    let path = request.uri().path();
    let payload = match (request.method(), path) {
        (&Method::GET, "/") => Payload::text(format!("hello over {:?}\n", request.version())),
        (&Method::GET, _) if let Some((seed, bytes)) = parse_bytes(path) => {
            let made = resources.made(seed);
            if resources.flaw == Flaw::MakesBodiesAhead {
                Payload::made_ahead(seed, bytes, &made)
            } else {
                Payload::made(seed, bytes, seed.is_multiple_of(2), &made)
            }
        }
        (&Method::PUT | &Method::POST, "/digest") => {
            let digest = read(request.into_body()).await?;
            Payload::text(receipt(&digest))
        }
        (&Method::PUT | &Method::POST, "/echo") => Payload::Echo(request.into_body()),
        _ => {
            let mut response = Response::new(Payload::text("there is no such thing\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    };
    Ok(Response::new(payload))
}

/// Seed and length in `/bytes/SEED/LENGTH`.
fn parse_bytes(path: &str) -> Option<(u64, u64)> {
    let (seed, bytes) = path.strip_prefix("/bytes/")?.split_once('/')?;
    let bytes = bytes.parse().ok().filter(|bytes| *bytes <= BODY_BYTES_MAX)?;
    Some((seed.parse().ok()?, bytes))
}

/// What `/digest` answers.
pub(super) fn receipt(digest: &Digest) -> String {
    format!("{} {:016x}\n", digest.bytes(), digest.finish())
}

/// Reads a body to its end.
pub(super) async fn read(body: Incoming) -> Result<Digest, hyper::Error> {
    let mut digest = Digest::default();
    read_on(body, &mut digest).await?;
    Ok(digest)
}

/// Reads the rest of a body, of which `digest` knows the beginning.
pub(super) async fn read_on(mut body: Incoming, digest: &mut Digest) -> Result<(), hyper::Error> {
    while let Some(frame) = next(&mut body).await {
        if let Some(data) = frame?.data_ref() {
            digest.update(data);
        }
    }
    Ok(())
}

/// The next frame of a body.
pub(super) async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_seed_and_a_length() {
        assert_eq!(parse_bytes("/bytes/7/1000"), Some((7, 1000)));
        for wrong in ["/bytes/7", "/bytes/7/", "/bytes//7", "/bytes/7/1000/", "/bytes/-7/1", "/"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert!(parse_bytes(&format!("/bytes/0/{BODY_BYTES_MAX}")).is_some());
        assert_eq!(parse_bytes(&format!("/bytes/0/{}", BODY_BYTES_MAX + 1)), None);
    }
}
