//! Scenarios on hosts that crash, die and stand still: they hold, and their wrong twins are caught.

mod arq;
mod cancellations;
mod failover;
mod gossip;
mod http;
mod mixes;
mod partition;
mod pool;
mod processes;
mod proxy;
mod trouble;
