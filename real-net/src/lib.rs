//! placeholder
mod alarm;
mod driver;
mod resolver;
mod sockets;
pub use driver::MioDriver;
