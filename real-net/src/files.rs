//! Stores as files in a directory.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use sim_core::{Loop, Reading, Storage, Store};
use socket2::Socket;

/// A store's file.
pub(crate) struct StoreFile(Arc<File>);

/// A file that was opened elsewhere, for [`Loop::sendfile`] on a real loop, or to be read and written
/// as a [`Store`] is.
///
/// ```
/// use std::fs::File;
///
/// let lp = real_net::new_loop()?;
/// let file = real_net::file(&lp, File::open("Cargo.toml")?);
/// assert!(file.size()? > 0);
/// # std::io::Result::Ok(())
/// ```
pub fn file(lp: &Loop, file: File) -> Store {
    Store::new(lp, Rc::new(StoreFile(Arc::new(file))))
}

/// Has the kernel copy bytes of a file to a socket; `Unsupported` if it does not for these two.
///
/// A peer that is gone is `BrokenPipe`: `SIGPIPE` is ignored in every process of Rust's runtime.
pub(crate) fn send(
    socket: &Socket,
    file: &dyn Storage,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let Some(StoreFile(file)) = file.as_any().downcast_ref() else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut offset = offset;
    match rustix::fs::sendfile(socket, file, Some(&mut offset), count) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::SPIPE | Errno::OVERFLOW) => {
            let text = "the kernel does not send this file";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        sent => Ok(sent?),
    }
}

impl StoreFile {
    /// Opens `directory/host/name`, which is made if it is not there.
    pub(crate) fn open(directory: &Path, host: &str, name: &str) -> io::Result<Self> {
        let directory = directory.join(host);
        fs::create_dir_all(&directory)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(name))?;
        // A new file is durable only when its directory is.
        File::open(&directory)?.sync_all()?;
        Ok(Self(Arc::new(file)))
    }
}

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

impl Storage for StoreFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(self.size()?).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    fn begin_read(&self, offset: u64, length: usize) -> Reading {
        let file = Arc::clone(&self.0);
        Reading::Blocks(Box::new(move || {
            let (mut bytes, mut filled) = (Vec::new(), 0);
            // The buffer grows with what comes: the length may be that of no file.
            while filled < length {
                bytes.resize(filled + (length - filled).min(READ_BYTES), 0);
                let place = offset.checked_add(filled as u64);
                let Some(place) = place.filter(|&place| i64::try_from(place).is_ok()) else {
                    break;
                };
                match file.read_at(&mut bytes[filled..], place) {
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        }))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn begin_sync(&self) -> (u64, Duration) {
        (0, Duration::ZERO)
    }

    fn end_sync(&self, _state: u64) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use sim_core::World;

    use crate::Runner;

    #[test]
    fn what_a_run_wrote_the_next_one_reads() {
        let directory = std::env::temp_dir().join(format!("real-net-store-{}", std::process::id()));
        let runner = Runner::new().store_dir(&directory);
        for before in 0..3 {
            let seen = runner.run(move |world: World| async move {
                let (n1, n2) = (world.host("n1").store("log")?, world.host("n2").store("log")?);
                let seen = n1.read()?;
                n1.append(b"x")?;
                n2.set_size(9)?;
                n2.write_at(3, b"abc")?;
                n1.sync().await?;
                std::io::Result::Ok((seen, n1.size()?, n2.read()?))
            });
            let expected = (vec![b'x'; before], before as u64 + 1, b"\0\0\0abc\0\0\0".to_vec());
            assert_eq!(seen.unwrap(), expected);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn without_a_directory_there_are_no_stores() {
        let error = crate::run(|world: World| async move { world.host("n1").store("log") });
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let error = crate::run(|world: World| async move { world.host("n1").store("../x") });
        assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}
