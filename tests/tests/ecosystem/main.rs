//! Libraries of the ecosystem over our streams, on both loops.

mod compat;
mod http;
mod http_ends;
