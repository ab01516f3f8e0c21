//! The file of a Unix socket: taken over from a dead server, never from a live one, and removed in the end.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mio::net::UnixListener;
use socket2::{Domain, SockAddr, Socket, Type};

/// A file that goes with its listener, unless another server has put its own in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode; none where the file is to stay.
    id: Option<(u64, u64)>,
}

impl SocketFile {
    /// Moves the file to its place, in one step, whatever is there.
    pub(super) fn move_to(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.path = path.to_owned();
        Ok(())
    }

    /// Leaves the file to whoever is about to replace it.
    pub(super) fn leave(mut self) {
        self.id = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|data| Some(id(&data)) == self.id) {
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
    let (listener, mut file) = bind_beside(path, mode, backlog)?;
    file.move_to(path)?;
    Ok((listener, file))
}

/// The first half of [`bind`]: listens on a file beside its place, where nobody looks for it. What is in its place is no
/// hindrance if it is a socket.
pub(super) fn bind_beside(path: &Path, mode: u32, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
    // Of one process there may be several on their way at once.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    is_there(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_file_name(format!(".fanline.{}.{count}", std::process::id()));
    fs::remove_file(&beside).unwrap_or_default();
    socket.bind(&SockAddr::unix(&beside)?)?;
    let id = Some(id(&fs::symlink_metadata(&beside)?));
    let file = SocketFile { path: beside, id };
    fs::set_permissions(&file.path, Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    let listener = net::UnixListener::from(OwnedFd::from(socket));
    Ok((UnixListener::from_std(listener), file))
}

/// Whether there is a socket.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(false),
        Err(other) => Err(other),
        Ok(data) if data.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket")),
    }
}

fn make_sure_that_nobody_listens(path: &Path) -> io::Result<()> {
    if !is_there(path)? {
        return Ok(());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Somebody whose queue is full lives, and is not to be waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(refused) if matches!(refused.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            Ok(())
        }
        Err(denied) if denied.kind() == ErrorKind::PermissionDenied => Err(denied),
        Ok(()) | Err(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
    }
}
