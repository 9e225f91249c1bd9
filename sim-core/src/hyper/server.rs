//! Serving HTTP/1 and HTTP/2 on one port.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::hyper::body::{Body, Incoming};
use ::hyper::rt::bounds::Http2ServerConnExec;
use ::hyper::server::conn::{http1, http2};
use ::hyper::service::Service;
use ::hyper::{Request, Response};

use super::date::Dated;
use super::{IoProtocol, LoopExecutor, LoopIo, LoopTimer};
use crate::sync::Event;
use crate::{Conn, Loop};

/// What a client begins with who speaks HTTP/2 without being asked (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take to say which version it speaks. hyper's own limit for a head is the same.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to close after the server has.
const LINGER: Duration = Duration::from_secs(5);

/// How connections are served over HTTP/1 and HTTP/2, whichever a client begins with.
///
/// The options are hyper's, with the loop's timer and executor set, and [`date`](Self::date). Clones share the end that [`drain`](Self::drain) brings about, not the options.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::hyper::{HttpServer, service};
/// use sim_core::hyper::hyper::body::Incoming;
/// use sim_core::hyper::hyper::{Request, Response};
/// use std::convert::Infallible;
/// use std::io;
///
/// async fn serve(lp: Loop) -> io::Result<()> {
///     let mut http = HttpServer::new(&lp);
///     http.http2().max_concurrent_streams(100);
///     let hello = service(|request: Request<Incoming>| async move {
///         Ok::<_, Infallible>(Response::new(format!("hello, {}", request.uri().path())))
///     });
///     let server = lp.create_server(("server", 80), http.serving(hello)).await?;
///
///     // And in the end, after what is under way:
///     server.close();
///     http.drain();
///     server.wait_closed().await;
///     Ok(())
/// }
/// # drop(serve);
/// ```
#[derive(Clone)]
pub struct HttpServer {
    lp: Loop,
    http1: http1::Builder,
    http2: http2::Builder<LoopExecutor>,
    /// Whether responses have a date that hyper does not see to.
    is_dated: bool,
    draining: Event,
}

impl HttpServer {
    /// hyper's defaults, on `lp`.
    pub fn new(lp: &Loop) -> Self {
        let mut http1 = http1::Builder::new();
        let mut http2 = http2::Builder::new(LoopExecutor::new(lp));
        let timer = LoopTimer::new();
        http1.timer(timer);
        http2.timer(timer);
        let lp = lp.clone();
        let mut server = Self { lp, http1, http2, is_dated: false, draining: Event::new() };
        server.date(true);
        server
    }

    /// Whether responses say when they were made, in the header `date`, unless the service has set it; they do by
    /// default.
    ///
    /// On the real loop hyper adds it. In a simulation it is the host's time of day. hyper's own `auto_date_header` is
    /// not to be used: in a simulation it would add the time of the machine, and it does not switch off what
    /// this does.
    ///
    /// The answers that hyper gives by itself, such as `400 Bad Request` to what is not HTTP, have no date in a
    /// simulation, whatever is set.
    ///
    /// ```
    /// use sim_core::hyper::HttpServer;
    /// use sim_core::testing;
    ///
    /// let lp = testing::new_loop();
    /// let mut http = HttpServer::new(&lp);
    /// http.date(false).http1().keep_alive(false);
    /// ```
    pub fn date(&mut self, on: bool) -> &mut Self {
        // hyper would ask the wall clock.
        let is_simulated = self.lp.core.driver.is_simulated();
        self.http1.auto_date_header(on && !is_simulated);
        self.http2.auto_date_header(on && !is_simulated);
        self.is_dated = on && is_simulated;
        self
    }

    /// hyper's options for HTTP/1.
    pub fn http1(&mut self) -> &mut http1::Builder {
        &mut self.http1
    }

    /// hyper's options for HTTP/2.
    pub fn http2(&mut self) -> &mut http2::Builder<LoopExecutor> {
        &mut self.http2
    }

    /// A factory of protocols for a server that answers requests by `service`.
    ///
    /// Each connection is a task, whose errors are logged: clients break off all the time.
    pub fn serving<S, B>(&self, service: S) -> impl FnMut() -> IoProtocol + 'static
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (http, service) = (self.clone(), Rc::new(service));
        move || {
            let (http, service) = (http.clone(), Rc::clone(&service));
            IoProtocol::accepted(move |io| {
                let (lp, number) = (http.lp.clone(), io.transport().number());
                let serve = async move {
                    if let Err(error) = http.serve_connection(io, service).await {
                        tracing::debug!(target: "sim_core", transport = number, %error, "HTTP connection");
                    }
                };
                drop(lp.create_named_task("http connection", serve));
            })
        }
    }

    /// Answers the requests of a connection by `service`, until it ends. A client that sends nothing for half a
    /// minute is given up.
    ///
    /// A connection that the server ends is half-closed first, and closed when the client has closed, or after 5 s
    /// (RFC 9112, section 9.6): the client would lose what is under way to it. Over TLS the end of the connection waits
    /// for the client's by itself, for as long as the acceptor's `shutdown_timeout` says.
    ///
    /// # Errors
    ///
    /// hyper's: the connection was lost, or what came is not HTTP.
    pub async fn serve_connection<S, B>(&self, mut io: LoopIo, service: S) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(is_http2) = self.version(&io).await else {
            return Ok(());
        };
        let lp = self.is_dated.then(|| self.lp.clone());
        let service = Dated { service, lp };
        let lingering = Lingering(io.linger());
        let served = if is_http2 {
            self.drive(Box::pin(self.http2.serve_connection(io, service))).await
        } else {
            self.drive(Box::pin(self.http1.serve_connection(io, service))).await
        };
        if !lingering.0.transport().is_closing() {
            // However it ends, the client has had its time.
            drop(self.lp.timeout(LINGER, lingering.0.closed()).await);
        }
        served
    }

    /// Whether the client speaks HTTP/2; `None` if it says nothing before the end.
    async fn version(&self, io: &LoopIo) -> Option<bool> {
        let mut draining = pin!(self.draining.wait());
        let mut is_http2 = pin!(io.begins_with(PREFACE));
        let version = poll_fn(|cx| match is_http2.as_mut().poll(cx) {
            Poll::Ready(is_http2) => Poll::Ready(Some(is_http2)),
            Poll::Pending => draining.as_mut().poll(cx).map(|()| None),
        });
        self.lp.timeout(PREFACE_TIMEOUT, version).await.ok().flatten()
    }

    /// Runs a connection to its end, a graceful one when that is asked for.
    async fn drive<C: Connection>(&self, mut connection: Pin<Box<C>>) -> hyper::Result<()> {
        let mut draining = pin!(self.draining.wait());
        let (mut waits, mut is_asked) = (None::<Waker>, false);
        poll_fn(|cx| {
            // Whoever waits already is asked no more than whether there is news.
            let waits_already = waits.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
            if !is_asked && (!waits_already || self.draining.is_set()) {
                is_asked = draining.as_mut().poll(cx).is_ready();
                waits = Some(cx.waker().clone());
                if is_asked {
                    connection.as_mut().drain();
                }
            }
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// Ends every connection gracefully: requests that have begun are answered, and no more are taken.
    ///
    /// [`Server::wait_closed`](crate::Server::wait_closed) waits for it. A handler that never answers keeps its
    /// connection; [`Server::abort_clients`](crate::Server::abort_clients) does not ask it.
    pub fn drain(&self) {
        self.draining.set();
    }
}

/// A connection that is closed when this is dropped.
struct Lingering(Conn<IoProtocol>);

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.transport().close();
    }
}

/// What the connections of both versions have in common.
trait Connection {
    fn drain(self: Pin<&mut Self>);
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;
}

impl<S, B> Connection for http1::Connection<LoopIo, S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, cx)
    }
}

impl<S, B> Connection for http2::Connection<LoopIo, S, LoopExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    LoopExecutor: Http2ServerConnExec<S::Future, B>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        Future::poll(self, cx)
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("http1", &self.http1)
            .field("http2", &self.http2)
            .field("draining", &self.draining.is_set())
            .finish_non_exhaustive()
    }
}
