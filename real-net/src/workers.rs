//! One loop per core: threads that serve one port together.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use futures::channel::oneshot;
use sim_core::{Loop, Serving};
use socket2::{Domain, Socket, Type};

use crate::new_loop_and_driver;

/// Starts `count` workers: threads with a loop each, that serve one port together.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use sim_core::{Cx, Protocol, Serving};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
///         cx.write(data);
///     }
/// }
///
/// let pool = real_net::workers(2).serve("127.0.0.1:0".parse().unwrap(), |lp, addr| async move {
///     Ok(Serving::from(lp.create_server(addr, || Echo).await?))
/// })?;
/// let mut client = TcpStream::connect(pool.local_addr())?;
/// client.write_all(b"ping")?;
/// let mut answer = [0; 4];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"ping");
/// pool.shutdown()?;
/// # std::io::Result::Ok(())
/// ```
pub fn workers(count: usize) -> Workers {
    Workers { count, name: "worker".to_owned() }
}

/// How many workers to start, and under which name. [`workers`] makes one.
#[derive(Debug, Clone)]
#[must_use = "workers start with `serve`"]
pub struct Workers {
    count: usize,
    name: String,
}

/// Workers that serve. Dropping the pool stops them and waits for them.
///
/// A connection stays with the worker that accepted it: its protocol, timers and tasks never cross
/// threads. The kernel spreads connections over the workers by a hash of their addresses
/// (`SO_REUSEPORT`), so few connections may meet on one worker.
pub struct WorkerPool {
    local: SocketAddr,
    /// There are several, and they share the port.
    is_shared: bool,
    workers: Vec<Worker>,
}

struct Worker {
    name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Workers {
    /// Calls the threads `name-1`, `name-2`, and so on, instead of `worker-1`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the workers. Each calls `serve` with its loop and the address to listen at, which has
    /// the same type as a [`Scenario`](sim_core::Scenario)'s server half. The servers need not ask
    /// for `reuse_port`: where there are several workers, every listener of a worker's loop shares
    /// its port. One that somebody else listens at is refused all the same.
    ///
    /// With port 0 the first worker takes a free port and the others join it; so a worker starts
    /// when the one before it serves.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for no workers; `AddrInUse` if somebody else listens there; what `serve` of a worker gives, with its name; then those that
    /// run are stopped.
    pub fn serve<S, F>(self, listen: SocketAddr, serve: S) -> io::Result<WorkerPool>
    where
        S: Fn(Loop, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Serving>> + 'static,
    {
        if self.count == 0 {
            let error = "workers(0): at least one worker is needed to serve";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let is_shared = self.count > 1;
        if is_shared {
            probe(listen)?;
        }
        let serve = Arc::new(serve);
        let workers = Vec::with_capacity(self.count);
        let mut pool = WorkerPool { local: listen, is_shared, workers };
        for number in 1..=self.count {
            let name = format!("{}-{number}", self.name);
            pool.local = pool.start(name, Arc::clone(&serve))?;
        }
        Ok(pool)
    }
}

/// Fails if somebody else listens at `listen`: sockets that share their port would join another
/// pool of the same user without a word.
fn probe(listen: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        // As the listeners are (E-16).
        socket.set_only_v6(true)?;
    }
    socket
        .bind(&listen.into())
        .map_err(|error| io::Error::new(error.kind(), format!("bind to {listen}: {error}")))
}

impl WorkerPool {
    /// The address that the workers serve, with the port they got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Waits until every worker has ended. They end when they fail; nothing else stops them here.
    ///
    /// # Errors
    ///
    /// The first worker's that failed or panicked, with its name.
    pub fn join(mut self) -> io::Result<()> {
        self.wait()
    }

    /// Stops every worker: their [`Serving`]s are stopped, their loops closed, their threads joined.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn shutdown(mut self) -> io::Result<()> {
        self.stop();
        self.wait()
    }

    /// Starts a worker and waits until it serves.
    fn start<S, F>(&mut self, name: String, serve: Arc<S>) -> io::Result<SocketAddr>
    where
        S: Fn(Loop, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Serving>> + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        let (listen, is_shared) = (self.local, self.is_shared);
        let thread = thread::Builder::new()
            .name(name.clone())
            .spawn(move || work(listen, is_shared, &*serve, &started, stopped))?;
        self.workers.push(Worker { name, stop: Some(stop), thread });
        match starting.recv() {
            Ok(local) => Ok(local),
            // It ended instead, and its thread knows why. The workers before it are stopped.
            Err(mpsc::RecvError) => {
                let failed = self.workers.pop().expect("it was just pushed");
                let name = failed.name.clone();
                failed.join()?;
                Err(io::Error::other(format!("{name} ended before it served")))
            }
        }
    }

    fn stop(&mut self) {
        for worker in &mut self.workers {
            if let Some(stop) = worker.stop.take() {
                // A worker that ended by itself does not listen.
                let _ = stop.send(());
            }
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for worker in self.workers.drain(..) {
            let ended = worker.join();
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Worker {
    fn join(self) -> io::Result<()> {
        let Self { name, stop, thread } = self;
        let ended = thread.join();
        // Kept until here: a worker ends when the sender is dropped, too.
        drop(stop);
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
            Err(panic) => Err(io::Error::other(format!("{name} panicked: {}", text_of(&*panic)))),
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.stop();
        if let Err(error) = self.wait() {
            tracing::error!(target: "real_net", %error, "a worker failed");
        }
    }
}

/// A worker's thread.
fn work<S, F>(
    listen: SocketAddr,
    is_shared: bool,
    serve: &S,
    started: &mpsc::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()>
where
    S: Fn(Loop, SocketAddr) -> F,
    F: Future<Output = io::Result<Serving>> + 'static,
{
    let (lp, driver) = new_loop_and_driver()?;
    if is_shared {
        driver.share_ports();
    }
    let serving = lp.run_until_complete(serve(lp.clone(), listen))??;
    // Nobody waits for it if the pool gave up meanwhile: then `stopped` says so.
    let _ = started.send(serving.local_addr());
    lp.run_until_complete(async move {
        let _ = stopped.await;
        serving.stop().await;
    })?;
    Ok(())
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool")
            .field("local", &self.local)
            .field("workers", &self.workers.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
