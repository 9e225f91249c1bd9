//! Asking over HTTP/1 and HTTP/2.

use std::error::Error;
use std::time::Duration;

use ::hyper::body::Body;
use ::hyper::client::conn::{http1, http2};

use super::{LoopExecutor, LoopIo, LoopTimer};
use crate::{Loop, Task};

/// How long HTTP/2 remembers streams that it has reset, in a simulation: for good, since it would count on the wall
/// clock. How many they are is limited too.
const REMEMBERED: Duration = Duration::from_secs(365 * 86_400);

/// Speaks HTTP/1 over `io`: where requests are sent, and the task that runs the connection.
///
/// The task ends when the sender is dropped and the last answer was read, or with the connection. Dropping
/// its handle lets it run.
///
/// For options, give a [`LoopIo`] to hyper's own builder.
///
/// # Errors
///
/// hyper's.
pub async fn http1_client<B>(
    io: LoopIo,
) -> hyper::Result<(http1::SendRequest<B>, Task<hyper::Result<()>>)>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let lp = io.transport().event_loop().clone();
    let (sender, connection) = http1::handshake(io).await?;
    Ok((sender, lp.create_named_task("http1 client", connection)))
}

/// Speaks HTTP/2 over `io`, without asking the server whether it does: where requests are sent, by as many clones as
/// are wanted, and the task that runs the connection.
///
/// The task ends when the senders are dropped and the last answer was read, or with the connection. Dropping its
/// handle lets it run.
///
/// For options, see [`http2_client_builder`].
///
/// # Errors
///
/// hyper's.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::hyper::{self, LoopIo};
/// use sim_core::hyper::hyper::Request;
///
/// async fn ask_twice(client: Loop) -> Result<(), Box<dyn std::error::Error>> {
///     let io = LoopIo::connect(&client, ("server", 80)).await?;
///     let (mut sender, _connection) = hyper::http2_client(io).await?;
///     let request = |path| Request::get(format!("http://server{path}")).body(String::new());
///     let first = sender.send_request(request("/first")?);
///     let second = sender.send_request(request("/second")?);
///     println!("{} {}", second.await?.status(), first.await?.status());
///     Ok(())
/// }
/// # drop(ask_twice);
/// ```
pub async fn http2_client<B>(
    io: LoopIo,
) -> hyper::Result<(http2::SendRequest<B>, Task<hyper::Result<()>>)>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let lp = io.transport().event_loop().clone();
    let (sender, connection) = http2_client_builder(&lp).handshake(io).await?;
    Ok((sender, lp.create_named_task("http2 client", connection)))
}

/// hyper's options of a client that speaks HTTP/2 on `lp`, with its timer and executor set.
///
/// ```
/// use sim_core::Loop;
/// use sim_core::hyper::{LoopIo, http2_client_builder};
/// use sim_core::hyper::hyper::Request;
/// use std::time::Duration;
///
/// async fn ask_and_watch(client: Loop) -> Result<(), Box<dyn std::error::Error>> {
///     let io = LoopIo::connect(&client, ("server", 80)).await?;
///     let mut builder = http2_client_builder(&client);
///     builder.keep_alive_interval(Duration::from_secs(5)).keep_alive_while_idle(true);
///     let (mut sender, connection) = builder.handshake(io).await?;
///     drop(client.create_task(connection));
///     sender.send_request(Request::new(String::new())).await?;
///     Ok(())
/// }
/// # drop(ask_and_watch);
/// ```
pub fn http2_client_builder(lp: &Loop) -> http2::Builder<LoopExecutor> {
    let mut builder = http2::Builder::new(LoopExecutor::new(lp));
    builder.timer(LoopTimer::new());
    if lp.core.driver.is_simulated() {
        builder.reset_stream_duration(REMEMBERED);
    }
    builder
}
