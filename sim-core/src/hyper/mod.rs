//! HTTP/1 and HTTP/2 on any loop: hyper, over any stream transport.
//!
//! hyper speaks the protocols; this module gives it connections ([`LoopIo`]), tasks ([`LoopExecutor`]) and time
//! ([`LoopTimer`]). What they build upon is the loop, so the same server runs on sockets and in a simulated world, where
//! a run with HTTP in it repeats byte for byte. Nothing needs to be `Send`, except the bytes of bodies.
//!
//! [`HttpServer`] serves both versions on one port; [`http1_client`] and [`http2_client`] ask.
//!
//! ```
//! use sim_core::Loop;
//! use sim_core::hyper::{self, HttpServer, LoopIo, service};
//! use sim_core::hyper::hyper::body::Incoming;
//! use sim_core::hyper::hyper::{Request, Response};
//! use std::cell::Cell;
//! use std::convert::Infallible;
//! use std::rc::Rc;
//!
//! async fn count(server: Loop, client: Loop) -> Result<(), Box<dyn std::error::Error>> {
//!     let visitors = Rc::new(Cell::new(0));
//!     let http = HttpServer::new(&server);
//!     let counting = service(move |_: Request<Incoming>| {
//!         visitors.set(visitors.get() + 1);
//!         let body = format!("you are the {}th", visitors.get());
//!         async move { Ok::<_, Infallible>(Response::new(body)) }
//!     });
//!     let _listening = server.create_server(("server", 80), http.serving(counting)).await?;
//!
//!     let io = LoopIo::connect(&client, ("server", 80)).await?;
//!     let (mut sender, _connection) = hyper::http1_client(io).await?;
//!     let request = Request::get("/").header("host", "server").body(String::new())?;
//!     assert!(sender.send_request(request).await?.status().is_success());
//!     Ok(())
//! }
//! # drop(count);
//! ```
//!
//! # Over TLS
//!
//! The transport may have a layer: bind with `server().tls(..)`, connect with `connection().tls(..)` and
//! [`IoProtocol::new`]. The version is told by what comes first, so ALPN may agree on `h2` and need not.
//!
//! # What hyper keeps of the wall clock
//!
//! * The `date` header, if hyper adds it. [`HttpServer`] leaves that to hyper on the real loop alone; in a simulation it takes
//!   the host's time of day. See [`HttpServer::date`], which is to be used instead of hyper's own option.
//! * How long HTTP/2 remembers a stream that it has reset, and ignores what still comes for it. A client's in a
//!   simulation remembers for good. A server's remembers for 1 s of real time, which hyper does not let anybody
//!   set; a frame that comes later is an error, answered `STREAM_CLOSED`. So a run may not repeat in which a
//!   server resets streams while frames are on their way to them, if more than a second of real time passes
//!   between the two.
//! * Whatever is built without [`LoopTimer`]: give it to hyper's builders.
//!
//! # Limits
//!
//! Upgrades (`CONNECT`, websockets) over HTTP/1 want a connection that is `Send`; `without_shutdown` and
//! `into_parts` of hyper's connections do not.

mod client;
mod date;
mod executor;
mod io;
mod server;
mod timer;

pub use ::hyper;
pub use ::hyper::service::service_fn as service;

pub use self::client::{http1_client, http2_client, http2_client_builder};
pub use self::executor::LoopExecutor;
pub use self::io::{IoProtocol, LoopIo, READ_LIMIT};
pub use self::server::HttpServer;
pub use self::timer::LoopTimer;
