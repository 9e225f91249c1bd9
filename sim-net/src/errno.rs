//! The errors that a Linux kernel gives, by number.

use std::io;

pub(crate) const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EIO: i32 = 5;
pub(crate) const EFBIG: i32 = 27;
pub(crate) const EACCES: i32 = 13;
pub(crate) const EBADF: i32 = 9;
pub(crate) const ESRCH: i32 = 3;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const ENOMEM: i32 = 12;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENFILE: i32 = 23;
pub(crate) const ENOBUFS: i32 = 105;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const EPIPE: i32 = 32;
pub(crate) const EPROTO: i32 = 71;
pub(crate) const EDESTADDRREQ: i32 = 89;
pub(crate) const EMSGSIZE: i32 = 90;
pub(crate) const EPROTOTYPE: i32 = 91;
pub(crate) const ENOPROTOOPT: i32 = 92;
pub(crate) const EOPNOTSUPP: i32 = 95;
pub(crate) const EAFNOSUPPORT: i32 = 97;
pub(crate) const EADDRINUSE: i32 = 98;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
pub(crate) const ENETUNREACH: i32 = 101;
pub(crate) const ECONNRESET: i32 = 104;
pub(crate) const EISCONN: i32 = 106;
pub(crate) const ENOTCONN: i32 = 107;
pub(crate) const ETIMEDOUT: i32 = 110;
pub(crate) const ECONNREFUSED: i32 = 111;
pub(crate) const EHOSTUNREACH: i32 = 113;
pub(crate) const EALREADY: i32 = 114;

/// The error with that number.
#[cold]
pub(crate) fn os(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Nothing to do without waiting.
pub(crate) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(EAGAIN)
}
