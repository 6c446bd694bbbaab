//! What is in a directory.
//!
//! The entries are read by the pool, many at a time, and handed out one by one.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::loan::Lender;
use super::{FileType, Metadata, at};
use crate::blocking;

/// How many entries are read at a time.
const BATCH: usize = 64;

/// Begins to read a directory.
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// let mut entries = matou_unix::fs::read_dir("/etc").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     println!("{}", entry.path().display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`std::fs::read_dir`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let batch = at(path.as_ref(), |path| {
        let mut batch = Batch { source: std::fs::read_dir(path)?, read: VecDeque::new(), ended: false };
        batch.fill();
        Ok(batch)
    })
    .await?;
    Ok(ReadDir(Lender::new(batch)))
}

/// The entries of a directory, in no order, without `.` and `..`. Made by [`read_dir`].
pub struct ReadDir(Lender<Batch>);

struct Batch {
    source: std::fs::ReadDir,
    read: VecDeque<io::Result<DirEntry>>,
    ended: bool,
}

impl Batch {
    fn fill(&mut self) {
        while self.read.len() < BATCH && !self.ended {
            match self.source.next() {
                Some(entry) => self.read.push_back(entry.map(DirEntry::new)),
                None => self.ended = true,
            }
        }
    }
}

impl ReadDir {
    /// The next entry; `None` when there is none left.
    ///
    /// # Errors
    /// As those of [`std::fs::ReadDir`]. What follows may be asked for still.
    ///
    /// # Cancellation
    /// Dropped early it has taken no entry.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        let batch = self.0.here().await;
        if batch.read.is_empty() && !batch.ended {
            self.0.lend(Batch::fill).await?;
        }
        self.0.here().await.read.pop_front().transpose()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").finish_non_exhaustive()
    }
}

/// An entry of a directory.
pub struct DirEntry {
    entry: Arc<std::fs::DirEntry>,
    /// Most systems tell it with the name.
    file_type: Option<FileType>,
}

impl DirEntry {
    /// On a thread of the pool.
    fn new(entry: std::fs::DirEntry) -> DirEntry {
        let file_type = entry.file_type().ok();
        DirEntry { entry: Arc::new(entry), file_type }
    }

    /// The directory's path, as it was given, with the name.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// The name.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// The number of its inode.
    pub fn ino(&self) -> u64 {
        std::os::unix::fs::DirEntryExt::ino(&*self.entry)
    }

    /// What the system knows of it; of a symbolic link itself, not of what it leads to.
    ///
    /// # Errors
    /// As [`std::fs::DirEntry::metadata`].
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = Arc::clone(&self.entry);
        blocking(move || entry.metadata()).await?
    }

    /// Whether it is a file, a directory, a symbolic link. It was told with the name, on most systems, and then is here at once.
    ///
    /// # Errors
    /// As [`std::fs::DirEntry::file_type`].
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(file_type) => Ok(file_type),
            None => {
                let entry = Arc::clone(&self.entry);
                blocking(move || entry.file_type()).await?
            }
        }
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}
