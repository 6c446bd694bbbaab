//! The file of a Unix socket: claimed when a server starts, removed when it stops listening.
//!
//! A server that was killed leaves its file behind, and binding to a path fails where there is one. So a file in the way is asked
//! whether a socket is behind it, by connecting a *datagram* socket to it: to a listener that is an error of its own
//! (`EPROTOTYPE`), and the listener never learns of it. If nobody is there the file is stale, and is removed. What is not
//! a socket is never removed, nor is, when the server stops, a file that another server has put there meanwhile.
//!
//! Two servers that start at the same moment over the same stale file may both find it so; the one that binds last has the path.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use matou_unix::net::{UnixDatagram, UnixListener};

/// A socket file of this server. Dropped, it removes the file.
///
/// It has to be dropped before the listener: an open listener keeps the file's number from being given to the file of another server.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number, which tell whether it is still the same file.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, taking the place of a file that was left behind.
    pub(crate) fn listen(path: &Path) -> io::Result<(SocketFile, UnixListener)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path)?;
                UnixListener::bind(path)?
            }
            other => other?,
        };
        Ok((SocketFile { path: path.to_owned(), identity: identity(path)? }, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever may not remove it cannot be helped, and the next server finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a socket file behind which nobody is.
fn remove_stale(path: &Path) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(ErrorKind::AddrInUse, why));
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return in_use("it exists, and is not a socket"),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // Its server has just removed it.
        Err(error) => return Err(error),
    }
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => in_use("it is in use by another server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_another_server_is_not_removed() {
        let path = std::env::temp_dir().join(format!("matou-echo-successor-{}", std::process::id()));
        let (file, listener) = SocketFile::listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = SocketFile::listen(&path).unwrap();
        drop(file);
        assert!(path.exists(), "its number is not the one that the open listener keeps");
        drop(listener);
        drop(successor);
        assert!(!path.exists());
    }
}
