//! hyper over tokio's current-thread runtime.

use std::io;
use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

use crate::Hello;

pub(crate) fn serve(addr: SocketAddr, hello: Hello) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(addr).await?;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let hello = hello.clone();
            let service = service_fn(move |request| hello.answer(request));
            let connection = http.serve_connection(TokioIo::new(stream), service);
            drop(spawn_local(async move { drop(connection.await) }));
        }
    })
}
