//! Addresses of Unix sockets.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest path, in bytes: `sun_path` less the NUL behind it.
const PATH_MAX: usize = 107;
/// The longest abstract name with the NUL before it.
const ABSTRACT_MAX: usize = 108;

/// The address of a Unix socket: a path, an abstract name, or none at all.
///
/// A path names a file of the host, which stays when its socket is closed. An abstract name, which
/// begins with a NUL byte, names no file and goes with its socket. A socket that was never bound is
/// unnamed: asyncio's empty string.
///
/// Cheap to clone. It prints as its path, as `@name` if it is abstract, and as `(unnamed)`.
///
/// ```
/// use sim_core::UnixAddr;
///
/// let path = UnixAddr::new("/run/app.sock")?;
/// assert_eq!((path.to_string().as_str(), path.is_path()), ("/run/app.sock", true));
/// let hidden = UnixAddr::new("\0app")?;
/// assert_eq!((hidden.to_string().as_str(), hidden.is_path()), ("@app", false));
/// assert!(UnixAddr::new("").is_err() && UnixAddr::new("x".repeat(108)).is_err());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixAddr(Option<Arc<[u8]>>);

impl UnixAddr {
    /// The address of a socket that was never bound.
    pub const UNNAMED: Self = Self(None);

    /// The path or, if it begins with a NUL byte, the abstract name `name`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is nothing in it, or nothing but the NUL byte; if it is longer than 107
    /// bytes; if a path has a NUL byte in it.
    pub fn new(name: impl AsRef<[u8]>) -> io::Result<Self> {
        let name = name.as_ref();
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let (length, shown) = (name.len(), Shown(name));
        match name.first() {
            None => invalid("a Unix socket's path is empty: name a file, or \"\\0name\"".into()),
            Some(0) if length == 1 => invalid("a Unix socket's abstract name is empty".into()),
            Some(0) if length > ABSTRACT_MAX => invalid(format!(
                "the abstract name {shown} of a Unix socket has {length} bytes with its NUL: at \
                 most {ABSTRACT_MAX} fit"
            )),
            Some(&first) if first != 0 && length > PATH_MAX => invalid(format!(
                "the path {shown} of a Unix socket has {length} bytes: at most {PATH_MAX} fit"
            )),
            Some(&first) if first != 0 && name.contains(&0) => {
                invalid(format!("the path {shown} of a Unix socket has a NUL byte in it"))
            }
            Some(_) => Ok(Self(Some(name.into()))),
        }
    }

    /// The bytes: the path, the abstract name with its NUL byte, or none.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// True if it is a path.
    pub fn is_path(&self) -> bool {
        self.as_bytes().first().is_some_and(|&first| first != 0)
    }

    /// True if it is an abstract name.
    pub fn is_abstract(&self) -> bool {
        self.as_bytes().first() == Some(&0)
    }

    /// True if there is none.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_none()
    }
}

/// A name as it is printed.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("(unnamed)"),
            [0, name @ ..] => write!(f, "@{}", String::from_utf8_lossy(name)),
            path => f.write_str(&String::from_utf8_lossy(path)),
        }
    }
}

impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixAddr({self})")
    }
}

/// What names a Unix socket: a [`UnixAddr`], a path, or text that is one of the two.
pub trait ToUnixAddr {
    /// The address.
    ///
    /// # Errors
    ///
    /// As [`UnixAddr::new`].
    fn to_unix_addr(self) -> io::Result<UnixAddr>;
}

impl ToUnixAddr for UnixAddr {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        Ok(self)
    }
}

impl ToUnixAddr for &UnixAddr {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        Ok(self.clone())
    }
}

impl ToUnixAddr for &str {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        UnixAddr::new(self)
    }
}

impl ToUnixAddr for &String {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        UnixAddr::new(self)
    }
}

impl ToUnixAddr for &Path {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        UnixAddr::new(self.as_os_str().as_encoded_bytes())
    }
}

impl ToUnixAddr for &PathBuf {
    fn to_unix_addr(self) -> io::Result<UnixAddr> {
        self.as_path().to_unix_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_takes_is_refused_with_a_reason() {
        for (name, reason) in [
            ("", "empty"),
            ("\0", "empty"),
            ("a\0b", "NUL"),
            (&"x".repeat(108), "108 bytes: at most 107"),
        ] {
            let error = UnixAddr::new(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
        for name in ["a", "\0\0", "\0a\0b", &"x".repeat(107)] {
            assert_eq!(UnixAddr::new(name).unwrap().as_bytes(), name.as_bytes());
        }
    }

    #[test]
    fn paths_abstract_names_and_unnamed_sockets_are_told_apart() {
        let kinds = |addr: &UnixAddr| (addr.is_path(), addr.is_abstract(), addr.is_unnamed());
        assert_eq!(kinds(&Path::new("/run/a").to_unix_addr().unwrap()), (true, false, false));
        assert_eq!(kinds(&"\0a".to_unix_addr().unwrap()), (false, true, false));
        assert_eq!(kinds(&UnixAddr::UNNAMED), (false, false, true));
        assert_eq!(UnixAddr::UNNAMED.to_string(), "(unnamed)");
    }
}
