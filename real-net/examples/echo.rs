//! An echo server on one loop:
//! `cargo run --release -p real-net --example echo -- 127.0.0.1:7000`.
//!
//! It says `PORT n` when it serves, and ends on `SIGTERM` or `SIGINT`.

use std::io;
use std::net::SocketAddr;

use sim_core::{Cx, Loop, Protocol, Serving};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }
}

fn main() -> io::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listen = listen.parse().map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{listen:?}: {error}"))
    })?;
    let lp = real_net::new_loop()?;
    lp.run_until_complete(serve(lp.clone(), listen))?
}

async fn serve(lp: Loop, listen: SocketAddr) -> io::Result<()> {
    let shutdown = real_net::shutdown_signal()?;
    let serving = Serving::from(lp.create_server(listen, || Echo).await?);
    println!("PORT {}", serving.local_addr().port());
    let signal = shutdown.await;
    eprintln!("{signal}: stopping");
    serving.stop().await;
    Ok(())
}
