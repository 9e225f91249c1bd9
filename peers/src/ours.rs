//! hyper over our real loop.

use std::io;
use std::net::SocketAddr;

use sim_core::hyper::{HttpServer, service};

use crate::Hello;

pub(crate) fn serve(addr: SocketAddr, hello: Hello) -> io::Result<()> {
    let lp = real_net::new_loop()?;
    let http = HttpServer::new(&lp);
    let protocols = http.serving(service(move |request| hello.answer(request)));
    let builder = lp.server().backlog(1024);
    let serve = async move { builder.bind(addr, protocols).await?.serve_forever().await };
    lp.run_until_complete(serve).map_err(io::Error::other)?
}
