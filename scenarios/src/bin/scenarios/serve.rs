//! `scenarios serve`.

use std::sync::Arc;

use crate::options::Serve;
use crate::{Done, Trouble, find};

pub(crate) fn serve(options: &Serve) -> Done {
    let scenario = Arc::new(find(&options.name)?);
    if !scenario.can_serve() {
        let name = &options.name;
        return Err(Trouble::usage(format!("the scenario {name:?} has no server half to deploy")));
    }
    let failed = |error: std::io::Error| {
        Trouble::failed(format!("cannot serve {} at {}: {error}", options.name, options.listen))
    };
    // Before the workers start, so that no signal finds them unprepared.
    let shutdown = real_net::shutdown_signal().map_err(failed)?;
    let pool = real_net::workers(options.workers)
        .serve(options.listen, move |lp, addr| {
            scenario.start_serving(lp, addr).expect("it was asked whether it can serve")
        })
        .map_err(failed)?;
    say!("serving {} at {}", options.name, pool.local_addr());
    let lp = real_net::new_loop().map_err(failed)?;
    let came = lp.run_until_complete(shutdown).map_err(|error| failed(error.into()))?;
    tell!("{came} came, stopping");
    pool.shutdown().map_err(failed)?;
    Ok(true)
}
