//! Files and directories, with the conventions of [`std::fs`].
//!
//! The functions and methods are those of `std::fs`, made `async`: each is done by the system on a thread of the run's pool
//! ([`blocking`](crate::blocking())), while other tasks of the domain run. The errors are those of `std::fs`. Anything missing is one line:
//! `blocking(|| std::fs::...).await?`.
//!
//! ```
//! use matou_unix::fs;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let path = std::env::temp_dir().join(format!("matou-doc-fs-{}", std::process::id()));
//!     fs::write(&path, "meow").await?;
//!     assert_eq!(fs::read_to_string(&path).await?, "meow");
//!     fs::remove_file(&path).await
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Cancellation
//!
//! What was begun on a disk cannot be called back. A future of this module that is dropped early has done nothing if its turn on the pool had not
//! come. Else the system finishes what it was asked for, though nobody hears of it: a file may be written, in whole or in part, renamed,
//! removed, now or a moment later, but before `run` returns. Where that matters, let the future finish, in a task of its own that is not cancelled.
//!
//! A [`File`] and a [`ReadDir`] stay whole: what follows waits for what was given up, and a read that was given up loses no byte.
//!
//! A pipe, a terminal or a device may keep a thread of the pool, and so the end of the run, waiting for ever. Those are for
//! [`Async`](crate::Async).
//!
//! # Buffers
//!
//! A thread of the pool never sees a caller's buffer: a future that is forgotten would free it under the system's hand. What is read or
//! written is copied through a buffer that belongs to the file.

mod dir;
mod file;
mod loan;
mod options;

use std::io;
use std::path::{Path, PathBuf};

pub use std::fs::{FileType, Metadata, Permissions};

pub use self::dir::{DirEntry, ReadDir, read_dir};
pub use self::file::File;
pub use self::options::OpenOptions;

use crate::blocking;

/// Has `work` done with a path.
async fn at<T: Send + 'static>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let path = path.to_owned();
    blocking(move || work(&path)).await?
}

/// Has `work` done with two paths.
async fn between<T: Send + 'static>(
    one: &Path,
    other: &Path,
    work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (one, other) = (one.to_owned(), other.to_owned());
    blocking(move || work(&one, &other)).await?
}

/// Reads a whole file.
///
/// # Errors
/// As [`std::fs::read`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    at(path.as_ref(), |path| std::fs::read(path)).await
}

/// Reads a whole file of text.
///
/// # Errors
/// As [`std::fs::read_to_string`]: `InvalidData` if it is not UTF-8.
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    at(path.as_ref(), |path| std::fs::read_to_string(path)).await
}

/// Makes a file of these bytes, in the place of one that may be there. The bytes are copied.
///
/// # Errors
/// As [`std::fs::write`].
///
/// # Cancellation
/// Dropped early it may have happened, in whole or in part, or may still happen: see the [module](self#cancellation).
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let contents = contents.as_ref().to_owned();
    at(path.as_ref(), move |path| std::fs::write(path, contents)).await
}

/// Copies a file with its permissions, and gives how many bytes it has.
///
/// # Errors
/// As [`std::fs::copy`].
///
/// # Cancellation
/// Dropped early it may have happened, in whole or in part, or may still happen: see the [module](self#cancellation).
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    between(from.as_ref(), to.as_ref(), |from, to| std::fs::copy(from, to)).await
}

/// What the system knows of a file; of the one a symbolic link leads to.
///
/// # Errors
/// As [`std::fs::metadata`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
#[doc(alias = "stat")]
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    at(path.as_ref(), |path| std::fs::metadata(path)).await
}

/// What the system knows of a file, or of a symbolic link itself.
///
/// # Errors
/// As [`std::fs::symlink_metadata`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
#[doc(alias = "lstat")]
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    at(path.as_ref(), |path| std::fs::symlink_metadata(path)).await
}

/// The absolute path of a file, without symbolic links.
///
/// # Errors
/// As [`std::fs::canonicalize`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
#[doc(alias = "realpath")]
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    at(path.as_ref(), |path| std::fs::canonicalize(path)).await
}

/// Makes a directory.
///
/// # Errors
/// As [`std::fs::create_dir`]: `AlreadyExists`, `NotFound` without its parent.
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
#[doc(alias = "mkdir")]
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::create_dir(path)).await
}

/// Makes a directory and those above it, where they are not there yet.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
///
/// # Cancellation
/// Dropped early it may have happened, in whole or in part, or may still happen: see the [module](self#cancellation).
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::create_dir_all(path)).await
}

/// Removes a file, or a symbolic link.
///
/// # Errors
/// As [`std::fs::remove_file`].
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
#[doc(alias = "unlink")]
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::remove_file(path)).await
}

/// Removes an empty directory.
///
/// # Errors
/// As [`std::fs::remove_dir`]: `DirectoryNotEmpty`.
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
#[doc(alias = "rmdir")]
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::remove_dir(path)).await
}

/// Removes a directory and all that is in it. It follows no symbolic link.
///
/// # Errors
/// As [`std::fs::remove_dir_all`].
///
/// # Cancellation
/// Dropped early it may have happened, in whole or in part, or may still happen: see the [module](self#cancellation).
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::remove_dir_all(path)).await
}

/// Gives a file or directory another name on the same file system, in the place of a file that has it.
///
/// # Errors
/// As [`std::fs::rename`].
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    between(from.as_ref(), to.as_ref(), |from, to| std::fs::rename(from, to)).await
}

/// Gives a file one more name.
///
/// # Errors
/// As [`std::fs::hard_link`].
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
#[doc(alias = "link")]
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    between(original.as_ref(), link.as_ref(), |original, link| std::fs::hard_link(original, link)).await
}

/// Makes `link` a symbolic link that leads to `original`.
///
/// # Errors
/// As [`std::os::unix::fs::symlink`].
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    between(original.as_ref(), link.as_ref(), |original, link| std::os::unix::fs::symlink(original, link)).await
}

/// Where a symbolic link leads.
///
/// # Errors
/// As [`std::fs::read_link`]: `InvalidInput` if it is none.
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
#[doc(alias = "readlink")]
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    at(path.as_ref(), |path| std::fs::read_link(path)).await
}

/// Sets who may do what with a file.
///
/// # Errors
/// As [`std::fs::set_permissions`].
///
/// # Cancellation
/// Dropped early it may have happened, or may still happen: see the [module](self#cancellation).
#[doc(alias = "chmod")]
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    at(path.as_ref(), |path| std::fs::set_permissions(path, permissions)).await
}
