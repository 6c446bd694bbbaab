//! An open file.
//!
//! The system's file is shared with the jobs of the pool. What moves its position goes through the buffer, which is lent to one job at a
//! time: so these jobs follow each other in order, also behind one whose future was dropped. What names its place (`read_at`, `set_len`, and
//! so on) goes its own way, as many at a time as are asked for.
//!
//! # Invariant
//!
//! *Unread*: the file's position for its user is that of the system less the bytes in the buffer that were read and not handed out yet. There
//! are some only after a read that was dropped while it ran. Whatever depends on the position goes back by them first.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::loan::Lender;
use super::{Metadata, OpenOptions, Permissions, at};
use crate::blocking;

/// How many bytes are moved by one job, and thereby the most that a file's buffer holds.
const MOST: usize = 1 << 20;

/// An open file, with the conventions of [`std::fs::File`].
///
/// It is closed where it is dropped. That may wait for a disk where it was the last name of a large file, or for a network file system: drop
/// such a file in [`blocking`](crate::blocking()).
///
/// A write has been taken by the system when its future is ready: there is nothing to flush, and [`sync_all`](File::sync_all) is what makes it
/// last. The file keeps a buffer as large as its largest read, at most 1 MiB.
///
/// ```
/// use matou_unix::fs::{self, File};
/// use std::io::SeekFrom;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let path = std::env::temp_dir().join(format!("matou-doc-file-{}", std::process::id()));
///     let mut file = File::options().read(true).write(true).create_new(true).open(&path).await?;
///     file.write_all(b"a cat says meow").await?;
///     file.seek(SeekFrom::End(-4)).await?;
///     let mut said = [0; 4];
///     file.read_exact(&mut said).await?;
///     assert_eq!(&said, b"meow");
///     fs::remove_file(&path).await
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct File {
    file: Arc<std::fs::File>,
    buffer: Lender<Buffer>,
}

/// What was read. The bytes from `next` on are *Unread*.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    next: usize,
}

impl Buffer {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.next..]
    }

    /// Hands out what fits.
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let taken = self.unread().len().min(buf.len());
        buf[..taken].copy_from_slice(&self.unread()[..taken]);
        self.next += taken;
        taken
    }

    /// Reads once, unless there is something to hand out.
    fn fill(&mut self, mut file: &std::fs::File, most: usize) -> io::Result<()> {
        if self.unread().is_empty() {
            self.next = 0;
            self.bytes.resize(most, 0);
            let read = retried(|| file.read(&mut self.bytes));
            self.bytes.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(())
    }

    /// Brings the system's position to where it is for the user.
    fn settle(&mut self, mut file: &std::fs::File) -> io::Result<()> {
        let back = self.unread().len() as u64;
        if back == 0 {
            return Ok(());
        }
        match file.stream_position() {
            // A pipe has no position: what was read is kept for the next read.
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => Ok(()),
            // Nor has an `eventfd` or an `inotify`, which the system lets go back, and does nothing.
            Ok(position) if position < back && !file.metadata()?.is_file() => Ok(()),
            // Where another handle has moved the shared position so that there is no way back, that is told once.
            _ => {
                self.next = self.bytes.len();
                file.seek_relative(-(back as i64))
            }
        }
    }
}

/// Interrupted by a signal, the call is made again.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`std::fs::File::open`].
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        at(path.as_ref(), |path| std::fs::File::open(path)).await.map(File::from_std)
    }

    /// Opens a file for writing. It is made, or else emptied.
    ///
    /// # Errors
    /// As [`std::fs::File::create`].
    ///
    /// # Cancellation
    /// Dropped early it may have been made or emptied, or may still be: see the [module](super#cancellation).
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        at(path.as_ref(), |path| std::fs::File::create(path)).await.map(File::from_std)
    }

    /// Makes a file, which must not be there, for reading and writing.
    ///
    /// # Errors
    /// As [`std::fs::File::create_new`].
    ///
    /// # Cancellation
    /// Dropped early it may have been made, or may still be: see the [module](super#cancellation).
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        at(path.as_ref(), |path| std::fs::File::create_new(path)).await.map(File::from_std)
    }

    /// How to open one with more to say.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Reads at the file's position, at most the length of `buf` and 1 MiB, and gives how many bytes that were. 0 is the end of the
    /// file, or an empty `buf`.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it has taken no byte: the next one gives them.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        Ok(self.filled(buf.len()).await?.take(buf))
    }

    /// The buffer, with something in it unless the file has ended.
    async fn filled(&mut self, most: usize) -> io::Result<&mut Buffer> {
        let (file, most) = (Arc::clone(&self.file), most.min(MOST));
        let filled = move |buffer: &mut Buffer| {
            // What a read that was given up has left may be stale by now: only what has no position keeps it.
            buffer.settle(&file)?;
            buffer.fill(&file, most)
        };
        self.buffer.lend(filled).await??;
        Ok(self.buffer.here().await)
    }

    /// Reads until `buf` is full.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; what `buf` holds then is not said. Else what the system says.
    ///
    /// # Cancellation
    /// Dropped early it may have taken bytes, which are then in `buf`, and how many is not known: [`stream_position`](File::stream_position)
    /// tells.
    pub async fn read_exact(&mut self, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read(buf).await? {
                0 => return Err(ended()),
                read => buf = &mut buf[read..],
            }
        }
        Ok(())
    }

    /// Reads to the end of the file, into the end of `buf`, and gives how many bytes that were.
    ///
    /// # Errors
    /// What the system says; `buf` holds what was read before.
    ///
    /// # Cancellation
    /// Dropped early, `buf` holds what was taken.
    pub async fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let (before, mut most) = (buf.len(), 1 << 15);
        loop {
            let buffer = self.filled(most).await?;
            if buffer.unread().is_empty() {
                return Ok(buf.len() - before);
            }
            buf.extend_from_slice(buffer.unread());
            buffer.next = buffer.bytes.len();
            most = MOST.min(2 * most); // A small file needs a small buffer, and a large one few jobs.
        }
    }

    /// Reads text to the end of the file, into the end of `buf`, and gives how many bytes that were.
    ///
    /// # Errors
    /// `InvalidData` if it is not UTF-8; `buf` is left alone then. Else what the system says.
    ///
    /// # Cancellation
    /// Dropped early it may have taken bytes, which are lost.
    pub async fn read_to_string(&mut self, buf: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).await?;
        let text = String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        buf.push_str(&text);
        Ok(text.len())
    }

    /// Reads at this offset and leaves the position alone, at most the length of `buf` and 1 MiB. Several may be under way.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    #[doc(alias = "pread")]
    pub async fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (file, most) = (Arc::clone(&self.file), buf.len().min(MOST));
        let work = move || {
            let mut bytes = vec![0; most];
            let read = retried(|| file.read_at(&mut bytes, offset))?;
            bytes.truncate(read);
            io::Result::Ok(bytes)
        };
        let bytes = blocking(work).await??;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Reads at this offset until `buf` is full, and leaves the position alone.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; else what the system says.
    ///
    /// # Cancellation
    /// Dropped early, what `buf` holds is not said.
    pub async fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset).await? {
                0 => return Err(ended()),
                read => (buf, offset) = (&mut buf[read..], offset + read as u64),
            }
        }
        Ok(())
    }

    /// Has `work` done with the file, at the position it has for the user.
    async fn at_position<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        let settled = move |buffer: &mut Buffer| {
            buffer.settle(&file)?;
            work(&file)
        };
        self.buffer.lend(settled).await?
    }

    /// Writes from `buf` at the file's position what the system takes at once, at most 1 MiB, and gives how many bytes that were.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it may have happened, or may still happen; what follows on this file comes after it.
    pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let bytes = buf[..buf.len().min(MOST)].to_owned();
        self.at_position(move |mut file| retried(|| file.write(&bytes))).await
    }

    /// Writes all of `buf` at the file's position.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    ///
    /// # Cancellation
    /// Dropped early it may have happened, in whole or in part, or may still happen; what follows on this file comes after it.
    pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        for part in buf.chunks(MOST) {
            let bytes = part.to_owned();
            self.at_position(move |mut file| file.write_all(&bytes)).await?;
        }
        Ok(())
    }

    /// Writes at this offset what the system takes at once, at most 1 MiB, and leaves the position alone. Several may be under way.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it may have happened, or may still happen: see the [module](super#cancellation).
    #[doc(alias = "pwrite")]
    pub async fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let bytes = buf[..buf.len().min(MOST)].to_owned();
        self.shared(move |file| retried(|| file.write_at(&bytes, offset))).await
    }

    /// Writes all of `buf` at this offset, and leaves the position alone.
    ///
    /// # Errors
    /// What the system says; a part may have been written.
    ///
    /// # Cancellation
    /// Dropped early it may have happened, in whole or in part, or may still happen: see the [module](super#cancellation).
    pub async fn write_all_at(&self, buf: &[u8], mut offset: u64) -> io::Result<()> {
        for part in buf.chunks(MOST) {
            let bytes = part.to_owned();
            self.shared(move |file| file.write_all_at(&bytes, offset)).await?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Moves the file's position, and gives it, counted from the start.
    ///
    /// # Errors
    /// What the system says: a position before the start, a file that has none.
    ///
    /// # Cancellation
    /// Dropped early it may have happened, or may still happen; what follows on this file comes after it.
    #[doc(alias = "lseek")]
    pub async fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.at_position(move |mut file| file.seek(position)).await
    }

    /// The file's position, counted from the start.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn stream_position(&mut self) -> io::Result<u64> {
        self.seek(SeekFrom::Current(0)).await
    }

    /// Has `work` done with the file, whatever its position is.
    async fn shared<T: Send + 'static>(&self, work: impl FnOnce(&std::fs::File) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let file = Arc::clone(&self.file);
        blocking(move || work(&file)).await?
    }

    /// Cuts the file to this length, or fills it up with zeros.
    ///
    /// # Errors
    /// As [`std::fs::File::set_len`].
    ///
    /// # Cancellation
    /// Dropped early it may have happened, or may still happen: see the [module](super#cancellation).
    #[doc(alias = "ftruncate")]
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        self.shared(move |file| file.set_len(length)).await
    }

    /// Waits until all that was written, and what the system knows of the file, is on the disk.
    ///
    /// # Errors
    /// As [`std::fs::File::sync_all`]: an error of the disk may show here for the first time.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    #[doc(alias = "fsync")]
    pub async fn sync_all(&self) -> io::Result<()> {
        self.shared(std::fs::File::sync_all).await
    }

    /// Waits until all that was written is on the disk, and of what the system knows of the file only what is needed to read it.
    ///
    /// # Errors
    /// As [`sync_all`](File::sync_all).
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    #[doc(alias = "fdatasync")]
    pub async fn sync_data(&self) -> io::Result<()> {
        self.shared(std::fs::File::sync_data).await
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    /// As [`std::fs::File::metadata`].
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    #[doc(alias = "fstat")]
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.shared(std::fs::File::metadata).await
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    /// As [`std::fs::File::set_permissions`].
    ///
    /// # Cancellation
    /// Dropped early it may have happened, or may still happen: see the [module](super#cancellation).
    #[doc(alias = "fchmod")]
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.shared(|file| file.set_permissions(permissions)).await
    }

    /// Another handle on the same open file. They share the position.
    ///
    /// It takes `&mut self`, unlike the standard library's, as it waits for what was given up. After a later read of one handle that is
    /// dropped while it runs, the shared position is not said until that handle's next operation, which moves it back by what that read
    /// took: keep to one of them until then, or use what names its place.
    ///
    /// # Errors
    /// As [`std::fs::File::try_clone`].
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    #[doc(alias = "dup")]
    pub async fn try_clone(&mut self) -> io::Result<File> {
        self.at_position(std::fs::File::try_clone).await.map(File::from_std)
    }

    /// Takes over a file of the standard library. Also outside a run.
    pub fn from_std(file: std::fs::File) -> File {
        File { file: Arc::new(file), buffer: Lender::new(Buffer::default()) }
    }

    /// Gives the file to the standard library, when everything that was begun has ended.
    ///
    /// # Errors
    /// If the position cannot be put right after a read that was given up: `NotSeekable` where that read has taken bytes from a pipe, or
    /// whatever else has no position; they are lost with the error. Read them before.
    ///
    /// # Cancellation
    /// Dropped early the file is closed.
    pub async fn into_std(mut self) -> io::Result<std::fs::File> {
        if !self.buffer.here().await.unread().is_empty() {
            self.at_position(|_| Ok(())).await?;
            let unread = self.buffer.here().await.unread().len();
            if unread > 0 {
                let text = format!(
                    "a read that was given up has taken {unread} bytes from what has no position, and they cannot be put back: read them first"
                );
                return Err(io::Error::new(io::ErrorKind::NotSeekable, text));
            }
        }
        // A job that names its place, and was given up, may have it still.
        Arc::try_unwrap(self.file).or_else(|file| file.try_clone())
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file ended before the buffer was full")
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File::from_std(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn what_was_read_and_not_handed_out_is_before_the_position() {
        let mut file = std::fs::File::from(rustix::fs::memfd_create("unread", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"0123456789").unwrap();
        file.rewind().unwrap();
        let mut buffer = Buffer::default();
        buffer.fill(&file, 8).unwrap();
        let mut buf = [0; 3];
        assert_eq!((buffer.take(&mut buf), &buf), (3, b"012"));
        assert_eq!(file.stream_position().unwrap(), 8);
        buffer.fill(&file, 8).unwrap();
        assert_eq!(buffer.unread(), b"34567", "not read again while there is something");
        buffer.settle(&file).unwrap();
        assert_eq!((file.stream_position().unwrap(), buffer.unread()), (3, &b""[..]));
        buffer.fill(&file, 2).unwrap();
        assert_eq!(buffer.unread(), b"34");
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn where_there_is_no_way_back_that_is_told_once() {
        let mut file = std::fs::File::from(rustix::fs::memfd_create("back", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all(b"0123456789").unwrap();
        file.rewind().unwrap();
        let mut buffer = Buffer::default();
        buffer.fill(&file, 8).unwrap();
        file.rewind().unwrap(); // As through another handle.
        buffer.settle(&file).unwrap_err();
        buffer.settle(&file).unwrap();
        buffer.fill(&file, 2).unwrap();
        assert_eq!(buffer.unread(), b"01");
    }

    #[test]
    fn a_pipe_keeps_what_was_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"meow").unwrap();
        let file = std::fs::File::from(std::os::fd::OwnedFd::from(reader));
        let mut buffer = Buffer::default();
        buffer.fill(&file, 8).unwrap();
        buffer.settle(&file).unwrap();
        assert_eq!(buffer.unread(), b"meow");
    }
}
