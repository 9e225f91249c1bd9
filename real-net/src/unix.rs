//! Unix sockets and pipes of the kernel.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags};
use sim_core::UnixAddr;
use sim_core::driver::{READ_MAX, ReceivedUnix, SocketKind, Source, UnixSockets, lengthen};
use socket2::{Domain, Socket, Type};

use crate::MioDriver;
use crate::sockets::{Descriptor, Reads};

impl UnixSockets for MioDriver {
    fn open(&self, kind: SocketKind) -> io::Result<Source> {
        let kind = match kind {
            SocketKind::Stream => Type::STREAM,
            SocketKind::Datagram => Type::DGRAM,
        };
        self.insert_unix(Socket::new(Domain::UNIX, kind.nonblocking(), None)?)
    }

    fn pair(&self) -> io::Result<(Source, Source)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        Ok((self.insert_unix(one)?, self.insert_unix(other)?))
    }

    fn pipe(&self) -> io::Result<(Source, Source)> {
        let (reader, writer) = io::pipe()?;
        let insert = |end: OwnedFd| {
            rustix::io::ioctl_fionbio(&end, true)?;
            self.insert_descriptor(Descriptor::Pipe { end, is_shared: false }, Reads::Bytes)
        };
        Ok((insert(reader.into())?, insert(writer.into())?))
    }

    fn bind(&self, source: Source, local: &UnixAddr) -> io::Result<()> {
        let local = to_kernel(local)?;
        self.with(source, |socket| Ok(rustix::net::bind(socket, &local)?))
    }

    fn connect(&self, source: Source, remote: &UnixAddr) -> io::Result<()> {
        let remote = to_kernel(remote)?;
        self.with(source, |socket| Ok(rustix::net::connect(socket, &remote)?))
    }

    fn accept(&self, listener: Source) -> io::Result<(Source, UnixAddr)> {
        let (descriptor, peer) = self.with(listener, |socket| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            Ok(rustix::net::acceptfrom_with(socket, flags)?)
        })?;
        let peer = from_kernel(peer)?;
        Ok((self.insert_unix(Socket::from(descriptor))?, peer))
    }

    fn send_to(&self, source: Source, data: &[u8], to: &UnixAddr) -> io::Result<usize> {
        let to = to_kernel(to)?;
        let sent =
            self.with(source, |s| Ok(rustix::net::sendto(s, data, SendFlags::NOSIGNAL, &to)?));
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            // A full receiver tells those alone that are connected to it when it has room.
            self.tell_readiness_of(source);
        }
        sent
    }

    fn receive_available(&self, source: Source, buffer: &mut Vec<u8>) -> io::Result<ReceivedUnix> {
        lengthen(buffer, READ_MAX);
        self.with(source, |socket| {
            let (bytes, _, sender) =
                rustix::net::recvfrom(socket, &mut buffer[..], RecvFlags::empty())?;
            Ok(ReceivedUnix { bytes, from: from_kernel(sender)?, more: true })
        })
    }

    fn local_addr(&self, source: Source) -> io::Result<UnixAddr> {
        self.with(source, |socket| from_kernel(Some(rustix::net::getsockname(socket)?)))
    }

    fn peer_addr(&self, source: Source) -> io::Result<UnixAddr> {
        self.with(source, |socket| from_kernel(rustix::net::getpeername(socket)?))
    }

    fn socket_file(&self, path: &UnixAddr) -> io::Result<Option<u64>> {
        match fs::metadata(file_path(path)) {
            Ok(file) => Ok(Some(file.ino()).filter(|_| file.file_type().is_socket())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove_file(&self, path: &UnixAddr) -> io::Result<()> {
        fs::remove_file(file_path(path))
    }
}

fn file_path(path: &UnixAddr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// The address as the kernel takes it. An unnamed one names nobody.
fn to_kernel(addr: &UnixAddr) -> io::Result<SocketAddrUnix> {
    match addr.as_bytes() {
        [] => Err(Errno::INVAL.into()),
        [0, name @ ..] => Ok(SocketAddrUnix::new_abstract_name(name)?),
        path => Ok(SocketAddrUnix::new(path)?),
    }
}

/// How many bytes of a kernel's address say that it is one of a Unix socket, and how many are its path.
const FAMILY_BYTES: usize = 2;
const PATH_BYTES: usize = 108;

/// The address that the kernel gave; it gives none for a sender that was never bound. A path that fills its
/// place, with no room for a NUL, cannot be sent to and is taken for none.
fn from_kernel(addr: Option<SocketAddrAny>) -> io::Result<UnixAddr> {
    let Some(addr) = addr else {
        return Ok(UnixAddr::UNNAMED);
    };
    if addr.addr_len() as usize > FAMILY_BYTES + PATH_BYTES {
        return Ok(UnixAddr::UNNAMED);
    }
    let addr = SocketAddrUnix::try_from(addr)?;
    // What is unnamed is read as an empty abstract name.
    if let Some(name) = addr.abstract_name().filter(|name| !name.is_empty()) {
        return UnixAddr::new([&[0], name].concat());
    }
    addr.path_bytes().map_or(Ok(UnixAddr::UNNAMED), UnixAddr::new)
}
