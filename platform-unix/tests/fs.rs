//! Files and directories: what `std::fs` does, and what is left when nobody waits for it any more.

#[macro_use]
mod support;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use matou_unix::fs::{self, File};
use matou_unix::{blocking, call, spawn, time, yield_now};
use support::{Setup, Watchdog, join, leak, pattern, waker_that_drops};

everywhere! {
    whole_files
    names_and_links
    directories
    errors_are_those_of_the_standard_library
    a_file_is_read_written_and_sought
    large_files_go_through_small_buffers
    how_a_file_is_opened
    reads_at_an_offset_side_by_side
    r45_a_file_moves_between_domains
    files_come_from_the_standard_library_and_go_back
    a_read_that_is_given_up_loses_no_byte
    a_read_that_was_given_up_is_made_again
    a_read_that_is_given_up_loses_nothing_that_has_no_position
    many_small_reads_to_the_end
    a_pipe_that_was_read_ahead_does_not_go_back
    a_write_that_is_given_up_comes_before_the_next
    what_had_not_begun_is_not_done
    an_entry_that_was_not_taken_is_not_lost
    a_file_outlives_a_read_that_was_forgotten
    a_read_that_is_forgotten_before_it_was_asked_for_keeps_nothing
}

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("matou-fs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A named pipe, and the file that is opened on both of its ends.
    async fn pipe(&self) -> io::Result<(File, std::fs::File)> {
        let path = self.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
        let file = File::options().read(true).write(true).open(&path).await?;
        let other = std::fs::File::options().read(true).write(true).open(&path)?;
        Ok((file, other))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Polls it once, as the current task.
async fn begin<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let mut future = Some(future);
    poll_fn(|cx| Poll::Ready(future.take().expect("polled once").poll(cx))).await
}

/// Waits until as many bytes are in a pipe. Meanwhile the processor is left to the thread that is to fill or empty it.
async fn holds(pipe: impl AsFd, bytes: impl Fn(u64) -> bool) {
    let mut looks = time::interval(Duration::from_millis(1));
    while !bytes(rustix::io::ioctl_fionread(&pipe).unwrap()) {
        looks.tick().await;
    }
}

fn whole_files(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(1, async move {
        let (one, two) = (scratch.path("one"), scratch.path("two"));
        fs::write(&one, "meow").await?;
        assert_eq!(fs::read(&one).await?, b"meow");
        assert_eq!(fs::copy(&one, &two).await?, 4);
        fs::write(&one, [0xff]).await?;
        assert_eq!(fs::read_to_string(&two).await?, "meow");
        assert_eq!(fs::read_to_string(&one).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(fs::metadata(&one).await?.len(), 1);
        fs::set_permissions(&one, fs::Permissions::from_mode(0o400)).await?;
        assert_eq!(fs::metadata(&one).await?.permissions().mode() & 0o777, 0o400);
        fs::remove_file(&one).await?;
        assert_eq!(fs::read(&one).await.unwrap_err().kind(), ErrorKind::NotFound);
        // From another domain, too.
        let elsewhere = call(move || async move { fs::read_to_string(two).await })?;
        assert_eq!(elsewhere.await?, "meow");
        io::Result::Ok(())
    });
}

fn names_and_links(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let (one, two, link) = (scratch.path("one"), scratch.path("two"), scratch.path("link"));
        fs::write(&one, "meow").await?;
        fs::rename(&one, &two).await?;
        fs::hard_link(&two, &one).await?;
        fs::symlink("two", &link).await?;
        assert_eq!(fs::read_link(&link).await?, Path::new("two"));
        assert!(fs::symlink_metadata(&link).await?.is_symlink());
        assert!(fs::metadata(&link).await?.is_file());
        assert_eq!(fs::canonicalize(&link).await?, fs::canonicalize(&two).await?);
        assert_eq!(fs::read(&one).await?, fs::read(&link).await?);
        io::Result::Ok(())
    });
}

fn directories(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let dir = scratch.path("dir");
        fs::create_dir(&dir).await?;
        assert_eq!(fs::create_dir(&dir).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let deep = dir.join("a/b/c");
        assert_eq!(fs::create_dir(&deep).await.unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(&deep).await?;
        fs::remove_dir(&deep).await?;
        for number in 0..200 {
            std::fs::write(dir.join(number.to_string()), [0; 3])?;
        }
        let mut expected: BTreeSet<_> = (0..200).map(|number| number.to_string()).collect();
        let mut entries = fs::read_dir(&dir).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(entry.path(), dir.join(&name));
            let file_type = entry.file_type().await?;
            let metadata = entry.metadata().await?;
            assert_eq!(file_type, metadata.file_type());
            assert_eq!(entry.ino(), std::os::unix::fs::MetadataExt::ino(&metadata));
            assert_eq!(format!("{entry:?}"), format!("DirEntry({:?})", dir.join(&name)));
            if name == "a" {
                assert!(file_type.is_dir());
            } else {
                assert!(file_type.is_file() && metadata.len() == 3);
                assert!(expected.remove(&name), "{name} twice");
            }
        }
        assert!(entries.next_entry().await?.is_none(), "the end stays");
        assert_eq!(expected, BTreeSet::new());
        assert_eq!(fs::remove_dir(&dir).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(&dir).await?;
        assert_eq!(fs::read_dir(&dir).await.unwrap_err().kind(), ErrorKind::NotFound);
        io::Result::Ok(())
    });
}

fn errors_are_those_of_the_standard_library(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let none = scratch.path("none");
        let same = |ours: io::Error, theirs: io::Error| {
            assert_eq!((ours.kind(), ours.to_string()), (theirs.kind(), theirs.to_string()));
        };
        same(fs::read(&none).await.unwrap_err(), std::fs::read(&none).unwrap_err());
        same(fs::copy(&none, &none).await.unwrap_err(), std::fs::copy(&none, &none).unwrap_err());
        same(fs::remove_dir_all(&none).await.unwrap_err(), std::fs::remove_dir_all(&none).unwrap_err());
        same(fs::read_link(&scratch.0).await.unwrap_err(), std::fs::read_link(&scratch.0).unwrap_err());
        same(fs::read("a\0b").await.unwrap_err(), std::fs::read("a\0b").unwrap_err());
        same(File::open(&none).await.unwrap_err(), std::fs::File::open(&none).unwrap_err());
        same(File::options().open(&none).await.unwrap_err(), std::fs::File::options().open(&none).unwrap_err());
        let mut file = File::create(&none).await?;
        same(file.read(&mut [0]).await.unwrap_err(), std::fs::File::create(&none)?.read(&mut [0]).unwrap_err());
        same(file.seek(SeekFrom::Current(-1)).await.unwrap_err(), std::fs::File::create(&none)?.seek(SeekFrom::Current(-1)).unwrap_err());
        io::Result::Ok(())
    });
}

fn a_file_is_read_written_and_sought(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let mut file = File::create_new(scratch.path("file")).await?;
        assert_eq!(file.write(b"0123456789").await?, 10);
        file.write_all(b"abcdef").await?;
        assert_eq!(file.stream_position().await?, 16);
        assert_eq!(file.seek(SeekFrom::Start(4)).await?, 4);
        let mut buf = [0; 4];
        assert_eq!(file.read(&mut buf).await?, 4);
        assert_eq!((&buf, file.stream_position().await?), (b"4567", 8));
        assert_eq!(file.read(&mut []).await?, 0);
        file.write_all(b"-").await?;
        file.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"9abc");
        let mut rest = String::from("rest: ");
        assert_eq!(file.read_to_string(&mut rest).await?, 3);
        assert_eq!(rest, "rest: def");
        assert_eq!(file.read(&mut buf).await?, 0, "the end");
        assert_eq!(file.read_exact(&mut buf).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.set_len(3).await?;
        file.sync_all().await?;
        file.sync_data().await?;
        assert_eq!(file.metadata().await?.len(), 3);
        file.seek(SeekFrom::End(0)).await?;
        file.write_all(&[0xff]).await?;
        file.seek(SeekFrom::Start(0)).await?;
        let mut text = String::from("as it was");
        assert_eq!(file.read_to_string(&mut text).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(text, "as it was");
        file.set_permissions(fs::Permissions::from_mode(0o600)).await?;
        io::Result::Ok(())
    });
}

fn large_files_go_through_small_buffers(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let (path, bytes) = (scratch.path("file"), pattern(3 * (1 << 20) + 7));
        let mut file = File::create_new(&path).await?;
        file.write_all(&bytes).await?;
        assert_eq!(std::fs::read(&path)?, bytes);
        file.write_all_at(&bytes[..2 << 20], 5).await?;
        file.write_all_at(&bytes, 0).await?;
        file.seek(SeekFrom::Start(1)).await?;
        let mut read = vec![0; bytes.len() - 1];
        assert_eq!(file.read(&mut read).await?, 1 << 20, "a buffer's worth at a time");
        file.seek(SeekFrom::Start(1)).await?;
        file.read_exact(&mut read).await?;
        assert_eq!(read, bytes[1..]);
        file.seek(SeekFrom::Start(2)).await?;
        let mut read = vec![1, 2];
        assert_eq!(file.read_to_end(&mut read).await?, bytes.len() - 2);
        assert_eq!((&read[..2], &read[2..]), (&[1, 2][..], &bytes[2..]));
        io::Result::Ok(())
    });
}

fn how_a_file_is_opened(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let path = scratch.path("file");
        let mut options = File::options();
        let error = options.append(true).open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let mut log = options.create(true).mode(0o640).open(&path).await?;
        assert_eq!(log.metadata().await?.permissions().mode() & 0o700, 0o600);
        let mut other = options.open(&path).await?;
        log.write_all(b"one ").await?;
        other.write_all(b"two ").await?;
        log.write_all(b"three").await?;
        assert_eq!(fs::read_to_string(&path).await?, "one two three");
        let error = File::options().write(true).create_new(true).open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        drop(File::options().write(true).truncate(true).open(&path).await?);
        assert_eq!(fs::metadata(&path).await?.len(), 0);
        let mut std = std::fs::OpenOptions::new();
        std.read(true);
        let mut file = fs::OpenOptions::from(std).custom_flags(0).open(&path).await?;
        assert!(file.write(b"x").await.is_err());
        io::Result::Ok(())
    });
}

fn reads_at_an_offset_side_by_side(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let (path, bytes) = (scratch.path("file"), pattern(10_000));
        fs::write(&path, &bytes).await?;
        let mut file = File::open(&path).await?;
        let (mut one, mut other) = (vec![0; 4000], vec![0; 7000]);
        let (first, second) = join(file.read_exact_at(&mut one, 100), file.read_exact_at(&mut other, 3000)).await;
        first.and(second)?;
        assert_eq!((&one[..], &other[..]), (&bytes[100..4100], &bytes[3000..]));
        assert_eq!(file.read_at(&mut one, 9_990).await?, 10);
        assert_eq!(file.read_exact_at(&mut one, 9_990).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(file.stream_position().await?, 0);
        let writes = File::options().write(true).open(&path).await?;
        assert_eq!(writes.write_at(b"meow", 4).await?, 4);
        file.read_exact_at(&mut one[..4], 4).await?;
        assert_eq!(&one[..4], b"meow");
        io::Result::Ok(())
    });
}

fn r45_a_file_moves_between_domains(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(2, async move {
        let path = scratch.path("file");
        fs::write(&path, "0123456789").await?;
        let mut file = File::open(&path).await?;
        file.read_exact(&mut [0; 2]).await?;
        let elsewhere = call(move || async move {
            let mut buf = [0; 3];
            file.read_exact(&mut buf).await?;
            io::Result::Ok((file, buf))
        })?;
        let (mut file, buf) = elsewhere.await?;
        assert_eq!(&buf, b"234");
        let mut rest = String::new();
        file.read_to_string(&mut rest).await?;
        assert_eq!(rest, "56789");
        io::Result::Ok(())
    });
}

fn files_come_from_the_standard_library_and_go_back(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let path = scratch.path("file");
        fs::write(&path, "0123456789").await?;
        let mut file = File::from(std::fs::File::open(&path)?);
        assert_eq!(format!("{file:?}"), format!("File {{ fd: {}, .. }}", file.as_fd().as_raw_fd()));
        let mut clone = file.try_clone().await?;
        file.read_exact(&mut [0; 2]).await?;
        clone.read_exact(&mut [0; 2]).await?;
        let mut std = file.into_std().await?;
        let mut rest = String::new();
        std.read_to_string(&mut rest)?;
        assert_eq!(rest, "456789", "they share the position");
        io::Result::Ok(())
    });
}

fn a_read_that_is_given_up_loses_no_byte(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let (mut file, mut pipe) = scratch.pipe().await?;
        let mut buf = [0; 16];
        {
            let mut read = pin!(file.read(&mut buf));
            assert!(begin(read.as_mut()).await.is_pending());
            pipe.write_all(b"0123456789")?;
            holds(&pipe, |bytes| bytes == 0).await; // It was read, by the pool.
        }
        assert_eq!(buf, [0; 16], "a buffer is not touched when its future is gone");
        let mut few = [0; 4];
        assert_eq!(file.read(&mut few).await?, 4);
        assert_eq!(&few, b"0123");
        file.write_all(b"abc").await?; // A pipe has no position to go back to.
        assert_eq!(file.read(&mut buf).await?, 6);
        assert_eq!(&buf[..6], b"456789");
        assert_eq!(file.read(&mut buf).await?, 3);
        assert_eq!(&buf[..3], b"abc");
        io::Result::Ok(())
    });
}

/// The system lets such files go back, and does nothing.
#[cfg(target_os = "linux")]
fn a_read_that_is_given_up_loses_nothing_that_has_no_position(setup: &Setup) {
    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
    use rustix::fs::inotify;

    /// Gives up a read that has taken what comes of this, and makes it again.
    async fn read_twice(fd: OwnedFd, buf: &mut [u8], come: impl FnOnce() -> io::Result<()>) -> io::Result<usize> {
        let same = fd.try_clone()?;
        let mut file = File::from_std(fd.into());
        {
            let mut read = pin!(file.read(buf));
            assert!(begin(read.as_mut()).await.is_pending());
            come()?;
            let mut looks = time::interval(Duration::from_millis(1));
            while poll(&mut [PollFd::new(&same, PollFlags::IN)], Some(&Timespec::default()))? > 0 {
                looks.tick().await; // It is read, by the pool.
            }
        }
        file.read(buf).await
    }

    let scratch = Scratch::new();
    setup.run(0, async move {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        let same = event.try_clone()?;
        let mut buf = [0; 8];
        let read = read_twice(event, &mut buf, || Ok(rustix::io::write(&same, &5_u64.to_ne_bytes()).map(|_| ())?)).await?;
        assert_eq!((read, u64::from_ne_bytes(buf)), (8, 5));

        let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &scratch.0, inotify::WatchFlags::CREATE)?;
        let mut buf = [0; 4096];
        let read = read_twice(watch, &mut buf, || std::fs::write(scratch.path("meow"), b"")).await?;
        assert!(buf[..read].windows(5).any(|part| part == b"meow\0"));
        io::Result::Ok(())
    });
}

#[cfg(not(target_os = "linux"))]
fn a_read_that_is_given_up_loses_nothing_that_has_no_position(_setup: &Setup) {}

/// Begins to read while the pool's only thread is taken, and gives that up once the bytes have been read.
async fn read_and_give_up(file: &mut File) {
    let (go, gone) = channel();
    let mut before = Box::pin(blocking(move || gone.recv().unwrap()));
    assert!(begin(before.as_mut()).await.is_pending());
    let mut buf = [0; 4];
    let mut read = Box::pin(file.read(&mut buf));
    assert!(begin(read.as_mut()).await.is_pending());
    go.send(()).unwrap();
    // The one thread has done it when it has come to what was asked for after it.
    blocking(|| ()).await.unwrap();
    drop(read);
}

fn a_read_that_was_given_up_is_made_again(setup: &Setup) {
    let scratch = Scratch::new();
    let ran = setup.builder(0).blocking_threads(1).run(async move {
        let path = scratch.path("file");
        fs::write(&path, "old!").await?;
        let mut file = File::options().read(true).write(true).open(&path).await?;
        let mut buf = [0; 4];
        read_and_give_up(&mut file).await;
        file.write_all_at(b"new!", 0).await?;
        assert_eq!((file.read(&mut buf).await?, &buf), (4, b"new!"));
        file.seek(SeekFrom::Start(0)).await?;
        read_and_give_up(&mut file).await;
        file.set_len(0).await?;
        assert_eq!(file.read(&mut buf).await?, 0, "what is no more is not read");
        io::Result::Ok(())
    });
    ran.unwrap();
}

/// More than a count that doubles has bits.
fn many_small_reads_to_the_end(setup: &Setup) {
    setup.run(0, async move {
        let (reader, mut writer) = io::pipe()?;
        let watched = reader.try_clone()?;
        let mut file = File::from_std(std::fs::File::from(OwnedFd::from(reader)));
        let write = async move {
            for _ in 0..70 {
                writer.write_all(b"x")?;
                holds(&watched, |bytes| bytes == 0).await;
            }
            io::Result::Ok(())
        };
        let mut bytes = Vec::new();
        let (read, written) = join(file.read_to_end(&mut bytes), write).await;
        written?;
        assert_eq!((read?, bytes.len()), (70, 70));
        io::Result::Ok(())
    });
}

fn a_pipe_that_was_read_ahead_does_not_go_back(setup: &Setup) {
    let ran = setup.builder(0).blocking_threads(1).run(async move {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(b"meow")?;
        let mut file = File::from_std(std::fs::File::from(OwnedFd::from(reader)));
        read_and_give_up(&mut file).await;
        let error = file.into_std().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSeekable);
        assert!(error.to_string().contains("4 bytes"), "{error}");
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn a_write_that_is_given_up_comes_before_the_next(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        let (mut file, mut pipe) = scratch.pipe().await?;
        let first = pattern(300_000);
        {
            let mut write = pin!(file.write_all(&first));
            assert!(begin(write.as_mut()).await.is_pending());
            holds(&pipe, |bytes| bytes > 0).await; // It has begun, and the pipe is too small for it.
        }
        let second = spawn(async move { file.write_all(b"second").await });
        let drained = blocking(move || {
            let mut bytes = vec![0; 300_006];
            pipe.read_exact(&mut bytes).map(|()| bytes)
        });
        let bytes = drained.await??;
        second.await?;
        assert!(bytes[..300_000] == first, "the first one whole");
        assert_eq!(&bytes[300_000..], b"second");
        io::Result::Ok(())
    });
}

fn what_had_not_begun_is_not_done(setup: &Setup) {
    let scratch = Scratch::new();
    let ran = setup.builder(0).blocking_threads(1).run(async move {
        let path = scratch.path("file");
        let mut file = File::create(scratch.path("other")).await?;
        let (release, held) = channel::<()>();
        let busy = spawn(async move { blocking(move || _ = held.recv()).await.map_err(io::Error::from) });
        yield_now().await;
        assert!(begin(pin!(fs::write(&path, "meow"))).await.is_pending());
        assert!(begin(pin!(file.write_all(b"meow"))).await.is_pending());
        drop(release);
        busy.await?;
        assert_eq!(fs::read(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((file.metadata().await?.len(), file.stream_position().await?), (0, 0));
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn an_entry_that_was_not_taken_is_not_lost(setup: &Setup) {
    let scratch = Scratch::new();
    setup.run(0, async move {
        for number in 0..150 {
            std::fs::write(scratch.path(&number.to_string()), "")?;
        }
        let (mut entries, mut seen) = (fs::read_dir(&scratch.0).await?, BTreeSet::new());
        loop {
            // Given up when it had to wait: in the queue or on a thread.
            let polled = begin(pin!(entries.next_entry())).await;
            let entry = match polled {
                Poll::Ready(entry) => entry?,
                Poll::Pending => entries.next_entry().await?,
            };
            match entry {
                Some(entry) => assert!(seen.insert(entry.file_name())),
                None => break,
            }
        }
        assert_eq!(seen.len(), 150);
        io::Result::Ok(())
    });
}

fn a_file_outlives_a_read_that_was_forgotten(setup: &Setup) {
    let scratch = Scratch::new();
    let path = scratch.path("file");
    std::fs::write(&path, "meow").unwrap();
    let (mut kept, mut buf) = (None, [0; 4]);
    let ran = setup.builder(0).blocking_threads(1).run(async {
        let mut file = File::open(&path).await?;
        let (release, held) = channel::<()>();
        let mut busy = Box::pin(blocking(move || _ = held.recv()));
        assert!(begin(busy.as_mut()).await.is_pending());
        let mut read = Box::pin(file.read(&mut buf));
        // It is told of at the end of the run.
        assert!(read.as_mut().poll(&mut Context::from_waker(&waker_that_drops(release))).is_pending());
        leak(read);
        leak(busy);
        kept = Some(file);
        io::Result::Ok(())
    });
    ran.unwrap();
    let mut file = kept.unwrap();
    setup.run(0, async {
        let mut buf = [0; 8];
        assert_eq!(file.read(&mut buf).await?, 4);
        assert_eq!(&buf[..4], b"meow");
        io::Result::Ok(())
    });
}

/// With a budget of one, a file's first poll may have to wait before its job is the pool's.
fn a_read_that_is_forgotten_before_it_was_asked_for_keeps_nothing(setup: &Setup) {
    let scratch = Scratch::new();
    let ran = setup.builder(0).quanta(1).run(async move {
        let path = scratch.path("file");
        std::fs::write(&path, "meow")?;
        let mut file = File::open(&path).await?;
        for _ in 0..4 {
            let mut buf = [0; 4];
            let mut read = Box::pin(file.read(&mut buf));
            assert!(begin(read.as_mut()).await.is_pending());
            leak(read);
        }
        file.stream_position().await?; // Never ready, were the file's buffer with one of them.
        io::Result::Ok(())
    });
    ran.unwrap();
}

#[test]
fn r19_outside_a_run_it_is_an_error() {
    let _watchdog = Watchdog::new("outside");
    let polled = pin!(fs::read("Cargo.toml")).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = polled else { panic!("{polled:?}") };
    assert!(error.to_string().starts_with("blocking work was asked for outside `matou_unix::run`"), "{error}");
    // A file that is dropped there is closed there.
    drop(File::from_std(std::fs::File::open("Cargo.toml").unwrap()));
}
