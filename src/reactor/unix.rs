//! The file of a Unix socket: taken over from a dead server, never from a live one, and removed in the end.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use socket2::{Domain, SockAddr, Socket, Type};

/// A file that goes with its listener, unless another server has put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|data| id(&data) == self.id) {
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

fn id(data: &Metadata) -> (u64, u64) {
    (data.dev(), data.ino())
}

/// Listens on a file that is made with these permissions.
///
/// It is made beside its place and then moved there: nobody sees it before it has its permissions and a listener behind
/// it, and the file of a server that died without removing it is replaced in one step.
pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    make_sure_that_nobody_listens(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let beside = path.with_file_name(format!(".fanline.{}", std::process::id()));
    fs::remove_file(&beside).unwrap_or_default();
    socket.bind(&SockAddr::unix(&beside)?)?;
    let placed = (|| {
        fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        let id = id(&fs::symlink_metadata(&beside)?);
        fs::rename(&beside, path)?;
        Ok(SocketFile { path: path.to_owned(), id })
    })();
    if placed.is_err() {
        fs::remove_file(&beside).unwrap_or_default();
    }
    let listener = net::UnixListener::from(OwnedFd::from(socket));
    placed.map(|file| (UnixListener::from_std(listener), file))
}

fn make_sure_that_nobody_listens(path: &Path) -> io::Result<()> {
    let error = |kind, what| Err(io::Error::new(kind, what));
    match fs::symlink_metadata(path) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(other),
        Ok(data) if !data.file_type().is_socket() => {
            return error(ErrorKind::AlreadyExists, "there is a file that is no socket");
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Somebody whose queue is full lives, and is not to be waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(refused) if matches!(refused.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            Ok(())
        }
        Err(denied) if denied.kind() == ErrorKind::PermissionDenied => Err(denied),
        Ok(()) | Err(_) => error(ErrorKind::AddrInUse, "another server listens there"),
    }
}
