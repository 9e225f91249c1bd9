//! All that the command says: to standard output, or beside it to standard error.
//!
//! What cannot be written costs the command its success, and is told on standard error, once. A reader that has
//! gone away is no trouble: `scenarios list | head -1` ends as it does without `head`.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Something could not be written. The streams are the process's, and so is this.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Says a line on standard output.
macro_rules! say {
    ($($line:tt)*) => {
        $crate::output::to_stdout(format_args!("{}\n", format_args!($($line)*)))
    };
}

/// Says a line on standard error.
macro_rules! tell {
    ($($line:tt)*) => {
        $crate::output::to_stderr(format_args!("{}\n", format_args!($($line)*)))
    };
}

/// Writes to standard output.
pub(crate) fn to_stdout(text: fmt::Arguments<'_>) {
    heard("standard output", io::stdout().lock().write_fmt(text));
}

/// Writes to standard error.
pub(crate) fn to_stderr(text: fmt::Arguments<'_>) {
    let mut stderr = BufWriter::new(io::stderr().lock());
    let written = stderr.write_fmt(text).and_then(|()| stderr.flush());
    // What was not written is not tried again, and the stream is free for what is told of that.
    drop(stderr.into_parts());
    heard("standard error", written);
}

fn heard(stream: &str, written: io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() != io::ErrorKind::BrokenPipe && !UNWRITTEN.swap(true, Ordering::Relaxed) {
        // Where this cannot be written either, the exit code is left to say it.
        drop(writeln!(io::stderr(), "error: {stream} cannot be written: {error}"));
    }
}

/// Writes what is still held back. False if anything that was said could not be written.
pub(crate) fn finish() -> bool {
    heard("standard output", io::stdout().flush());
    !UNWRITTEN.load(Ordering::Relaxed)
}

/// Standard error, for what is logged there.
#[derive(Debug)]
pub(crate) struct Logged;

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        heard("standard error", io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
