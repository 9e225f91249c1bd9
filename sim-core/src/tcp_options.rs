//! What a user can set of a TCP connection.

use std::io;
use std::time::Duration;

use crate::driver::SocketOption;

/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` are seconds, and at most so many.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);
/// `TCP_KEEPCNT` is at most this.
const COUNT_MAX: u8 = 127;
/// `TCP_USER_TIMEOUT` is milliseconds, and at most so many.
const USER_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// `SO_KEEPALIVE` with its three figures: probes of a peer that is silent (RFC 9293 §3.8.4).
///
/// A peer that has crashed is found out after `idle + count * interval`. While something is
/// unacknowledged there are no probes: then retransmission finds it out.
///
/// ```
/// use std::time::Duration;
/// use sim_core::Keepalive;
///
/// let keepalive = Keepalive { idle: Duration::from_secs(60), ..Keepalive::default() };
/// assert_eq!((keepalive.interval, keepalive.count), (Duration::from_secs(75), 9));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// `TCP_KEEPIDLE`: silence before the first probe, in whole seconds from 1 to 32 767.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: between probes, in whole seconds from 1 to 32 767.
    pub interval: Duration,
    /// `TCP_KEEPCNT`: unanswered probes before the connection is given up, from 1 to 127.
    pub count: u8,
}

impl Default for Keepalive {
    /// Linux's: two hours, then nine probes 75 s apart.
    fn default() -> Self {
        Self { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), count: 9 }
    }
}

/// What is set of a TCP socket: what [`Driver::tcp_options`](crate::driver::Driver::tcp_options)
/// tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// [`SocketOption::NoDelay`].
    pub nodelay: bool,
    /// [`SocketOption::Keepalive`].
    pub keepalive: Option<Keepalive>,
    /// [`SocketOption::UserTimeout`].
    pub user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    /// Those of a new stream: no delay (contract C-18), no keepalive, no timeout of the user's.
    fn default() -> Self {
        Self { nodelay: true, keepalive: None, user_timeout: None }
    }
}

impl TcpOptions {
    /// Takes an option if it is one of these; true if it was.
    pub fn set(&mut self, option: SocketOption) -> bool {
        match option {
            SocketOption::NoDelay(on) => self.nodelay = on,
            SocketOption::Keepalive(keepalive) => self.keepalive = keepalive,
            SocketOption::UserTimeout(timeout) => self.user_timeout = timeout,
            _ => return false,
        }
        true
    }
}

impl SocketOption {
    /// Refuses what the kernel's option cannot say, on every loop alike.
    pub(crate) fn check(self) -> io::Result<Self> {
        match self {
            Self::Keepalive(Some(Keepalive { idle, interval, count })) => {
                check_seconds("idle", idle)?;
                check_seconds("interval", interval)?;
                if !(1..=COUNT_MAX).contains(&count) {
                    return Err(invalid(format!(
                        "keepalive: a count of {count} probes: give 1 to {COUNT_MAX}"
                    )));
                }
            }
            Self::UserTimeout(Some(timeout)) => {
                let is_whole = timeout.subsec_nanos().is_multiple_of(1_000_000);
                if !is_whole || timeout.is_zero() || timeout > USER_TIMEOUT_MAX {
                    return Err(invalid(format!(
                        "a user timeout of {timeout:?}: give whole milliseconds, from 1 ms to \
                         {USER_TIMEOUT_MAX:?}, or None for the system's"
                    )));
                }
            }
            _ => {}
        }
        Ok(self)
    }
}

fn check_seconds(name: &str, time: Duration) -> io::Result<()> {
    if time.subsec_nanos() == 0 && !time.is_zero() && time <= KEEPALIVE_MAX {
        return Ok(());
    }
    Err(invalid(format!(
        "keepalive: {name} {time:?}: give whole seconds, from 1 s to {KEEPALIVE_MAX:?}"
    )))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_the_kernel_cannot_say_is_refused() {
        let keepalive = |idle, interval, count| {
            SocketOption::Keepalive(Some(Keepalive { idle, interval, count })).check()
        };
        assert!(keepalive(ms(1_000), ms(32_767_000), 1).is_ok());
        assert!(keepalive(ms(32_767_000), ms(1_000), 127).is_ok());
        for (idle, interval, count) in [
            (ms(0), ms(1_000), 1),
            (ms(1_500), ms(1_000), 1),
            (ms(32_768_000), ms(1_000), 1),
            (ms(1_000), ms(0), 1),
            (ms(1_000), ms(1), 1),
            (ms(1_000), Duration::MAX, 1),
            (ms(1_000), ms(1_000), 0),
            (ms(1_000), ms(1_000), 128),
        ] {
            let error = keepalive(idle, interval, count).expect_err("it is out of bounds");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("give"), "{error}");
        }
        let timeout = |timeout| SocketOption::UserTimeout(Some(timeout)).check();
        assert!(timeout(ms(1)).is_ok() && timeout(ms(i32::MAX as u64)).is_ok());
        for out in [Duration::ZERO, Duration::from_nanos(999), ms(1 << 31), Duration::MAX] {
            assert_eq!(timeout(out).expect_err("out").kind(), io::ErrorKind::InvalidInput);
        }
        assert!(SocketOption::UserTimeout(None).check().is_ok());
        assert!(SocketOption::Keepalive(None).check().is_ok());
    }
}
