//! Opening listening sockets.
//!
//! Holds: a unix socket's file has mode 0700 from its first moment; a file left behind by a
//! server that is gone is replaced, one of a living server or of another kind is not touched.

use super::ListenAddress;
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a server cannot listen somewhere.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {0}: another program listens there already; stop it, or choose \
         another address with --listen (of `dev`: --port)"
    )]
    InUse(ListenAddress),
    /// The path of a unix socket leads to something else.
    #[error(
        "cannot listen on unix:{0}: there is a file that is no socket; remove it or choose another path"
    )]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("cannot listen on {address}: {error}")]
    Io {
        /// Where.
        address: ListenAddress,
        /// What the operating system says.
        error: io::Error,
    },
}

impl BindError {
    /// What the operating system says.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::InUse(_) => io::ErrorKind::AddrInUse.into(),
            Self::NotASocket(_) => io::ErrorKind::AlreadyExists.into(),
            Self::Io { error, .. } => error,
        }
    }
}

/// A listening socket with its real address.
pub(crate) struct Bound {
    pub(crate) address: ListenAddress,
    pub(crate) socket: Socket,
    pub(crate) file: Option<SocketFile>,
    /// Whether it is for clients that know the cluster and ask each node for its own part.
    pub(crate) knows_cluster: bool,
}

/// A listening socket.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The file of a unix socket, removed when the server stops.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good as removed.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens at `address`.
///
/// # Errors
/// [`BindError`], a sentence that says what to do.
pub(crate) fn bind(address: &ListenAddress) -> Result<Bound, BindError> {
    let result = match address {
        ListenAddress::Tcp(at) => bind_tcp(*at),
        ListenAddress::Unix(path) => {
            make_room(path)?;
            bind_unix(path)
        }
    };
    result.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address.clone()),
        _ => BindError::Io { address: address.clone(), error },
    })
}

/// As [`bind`], for clients that know the cluster and ask each node for its own part: commands that
/// name no key answer only for the slots that this node leads.
///
/// # Errors
/// As [`bind`].
pub(crate) fn bind_for_cluster(address: &ListenAddress) -> Result<Bound, BindError> {
    Ok(Bound { knows_cluster: true, ..bind(address)? })
}

fn bind_tcp(at: SocketAddr) -> io::Result<Bound> {
    let socket = socket2::Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        // `[::]` next to `0.0.0.0` is two listeners, not a clash.
        socket.set_only_v6(true)?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    let address = ListenAddress::Tcp(listener.local_addr()?);
    Ok(Bound { address, socket: Socket::Tcp(listener), file: None, knows_cluster: false })
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux the file takes its mode from the socket, so that there is no moment at which
    // others could connect; elsewhere the mode is set right after.
    rustix::fs::fchmod(&socket, Mode::RWXU)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_owned());
    rustix::fs::chmod(path, Mode::RWXU)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let address = ListenAddress::Unix(path.to_owned());
    let socket = Socket::Unix(UnixListener::from(socket));
    Ok(Bound { address, socket, file: Some(file), knows_cluster: false })
}

/// Removes the socket file of a server that is gone.
fn make_room(path: &Path) -> Result<(), BindError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    let address = ListenAddress::Unix(path.to_owned());
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| BindError::Io { address, error })
        }
        Ok(_) | Err(_) => Err(BindError::InUse(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn port_zero_becomes_a_real_port_and_is_taken() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let bound = bind(&any).expect("a port is free");
        assert_ne!(bound.address, any);
        assert!(matches!(bind(&bound.address), Err(BindError::InUse(_))));
    }

    #[test]
    fn a_unix_socket_is_private_and_goes_with_its_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let address = ListenAddress::Unix(path.clone());
        let bound = bind(&address).expect("the path is free");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(matches!(bind(&address), Err(BindError::InUse(_))), "somebody listens");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let address = ListenAddress::Unix(path.clone());
        drop(UnixListener::bind(&path).expect("the path is free"));
        assert!(path.exists(), "the file outlives its socket");
        drop(bind(&address).expect("nobody listens"));
        std::fs::write(&path, b"mine").expect("the folder is ours");
        assert!(matches!(bind(&address), Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).expect("still there"), b"mine");
    }
}
