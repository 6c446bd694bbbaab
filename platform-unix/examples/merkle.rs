//! The hash of a folder, computed while a server goes on answering; `matou_unix::tutorial::availability` tells the story.
//!
//! The hash is git's: that of a file covers its bytes, that of a folder covers the names and hashes of what is in it, and so the one of the
//! root covers everything (a Merkle tree). `git add` and `git write-tree` give the same one. As with git an
//! empty folder counts for nothing; symbolic links are left out.
//!
//! Files are hashed on the other domains, or on the server's own, with manners or without. Meanwhile one client asks the server, again
//! and again, how far the work is.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Care, Orphans, domain, parallel, spawn, time, yield_now};
use sha1_smol::Sha1;

/// What is hashed before others may run.
const BLOCK: usize = 4096;

type Hash = [u8; 20];

/// Where the files are hashed, and how.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// On the other domains.
    Parallel,
    /// On domain 0, which may do something else after each block.
    Polite,
    /// On domain 0, which may not.
    Greedy,
}

/// The files to hash, for all who take part.
struct Job {
    files: Vec<PathBuf>,
    manner: Manner,
    /// The next file that nobody has begun.
    next: AtomicUsize,
    done: AtomicUsize,
}

/// The hash of a file.
async fn hash_file(path: &Path, manner: Manner) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hash = Sha1::from(format!("blob {}\0", file.metadata()?.len()));
    let mut block = [0; BLOCK];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.digest().bytes()),
            n => hash.update(&block[..n]),
        }
        if manner != Manner::Greedy {
            yield_now().await;
        }
    }
}

/// Hashes one file after the other, until each has been begun. The hashes come with the number of their file.
async fn hash_some(job: Arc<Job>) -> io::Result<Vec<(usize, Hash)>> {
    let mut hashes = Vec::new();
    loop {
        let number = job.next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = job.files.get(number) else { return Ok(hashes) };
        hashes.push((number, hash_file(file, job.manner).await?));
        job.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hashes all files: by one task on each of the other domains, or by one on this.
async fn hash_all(job: Arc<Job>) -> io::Result<Vec<Hash>> {
    let shares = if job.manner == Manner::Parallel {
        // One at least: where there is no other domain, `parallel` says so.
        let parts = (0..domain::available().max(1)).map(|_| Arc::clone(&job));
        parallel(hash_some, parts).await?
    } else {
        vec![spawn(hash_some(Arc::clone(&job))).await]
    };
    let mut hashes = vec![Hash::default(); job.files.len()];
    for share in shares {
        for (number, hash) in share? {
            hashes[number] = hash;
        }
    }
    Ok(hashes)
}

/// Accepts whoever wants to know how far the work is.
async fn server(listener: TcpListener, job: Arc<Job>) -> io::Result<()> {
    let orphans = Orphans::new();
    loop {
        while let Care::Ready(promise) = orphans.care() {
            // One that hung up is of no interest.
            let _ended = promise.await;
        }
        let (stream, _peer) = listener.accept().await?;
        orphans.spawn(handler(stream, Arc::clone(&job)));
    }
}

/// Answers whatever arrives.
async fn handler(stream: TcpStream, job: Arc<Job>) -> io::Result<()> {
    let mut question = [0; 0x100];
    while stream.read(&mut question).await? > 0 {
        let answer = format!("{} of {} files\n", job.done.load(Ordering::Relaxed), job.files.len());
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// What the client sees of the server.
struct Seen {
    answers: Cell<u32>,
    /// When it asked last.
    asked: Cell<time::Instant>,
    longest: Cell<Duration>,
}

impl Seen {
    /// Has waited for an answer until now.
    fn waited(&self) {
        self.longest.set(self.longest.get().max(self.asked.get().elapsed()));
    }
}

/// Asks again as soon as there is an answer.
async fn client(stream: TcpStream, seen: Rc<Seen>) -> io::Result<()> {
    let mut answer = [0; 0x100];
    loop {
        seen.asked.set(time::now());
        stream.write_all(b"how far?\n").await?;
        if stream.read(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.answers.set(seen.answers.get() + 1);
        seen.waited();
    }
}

/// What is in a folder, and below.
enum Entry {
    /// With git's number for the kind of file.
    File(&'static str),
    Folder(Vec<(PathBuf, Entry)>),
}

/// Looks at a folder; the files are added to `files` in the order in which their hashes are wanted.
fn look(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<Entry> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| !path.is_symlink() && !path.ends_with(".git"));
    // Git's order: a folder counts as if its name ended in a slash.
    paths.sort_by_cached_key(|path| [path.as_os_str().as_bytes(), if path.is_dir() { b"/" } else { b"" }].concat());
    let mut entries = Vec::new();
    for path in paths {
        let entry = if path.is_dir() {
            look(&path, files)?
        } else {
            files.push(path.clone());
            Entry::File(if fs::metadata(&path)?.permissions().mode() & 0o100 == 0 { "100644" } else { "100755" })
        };
        entries.push((path, entry));
    }
    Ok(Entry::Folder(entries))
}

/// The hash of a folder, from those of the files in it; none if there is no file.
fn fold(entries: &[(PathBuf, Entry)], hashes: &mut impl Iterator<Item = Hash>) -> Option<Hash> {
    let mut content = Vec::new();
    for (path, entry) in entries {
        let (mode, hash) = match entry {
            Entry::File(mode) => (mode, hashes.next()),
            Entry::Folder(entries) => (&"40000", fold(entries, hashes)),
        };
        if let Some(hash) = hash {
            let name = path.file_name().unwrap_or_default().as_bytes();
            content.extend([mode.as_bytes(), b" ", name, b"\0", &hash].concat());
        }
    }
    let mut hash = Sha1::from(format!("tree {}\0", content.len()));
    hash.update(&content);
    (!content.is_empty()).then(|| hash.digest().bytes())
}

async fn main_task(manner: Manner, folder: PathBuf) -> io::Result<()> {
    let mut files = Vec::new();
    let Entry::Folder(root) = look(&folder, &mut files)? else { unreachable!("it is a folder") };
    let job = Arc::new(Job { files, manner, next: AtomicUsize::new(0), done: AtomicUsize::new(0) });

    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    let server = spawn(server(listener, Arc::clone(&job)));
    let seen = Rc::new(Seen { answers: Cell::new(0), asked: Cell::new(time::now()), longest: Cell::new(Duration::ZERO) });
    let client = spawn(client(TcpStream::connect(address).await?, Rc::clone(&seen)));

    let begun = time::now();
    let hashes = hash_all(Arc::clone(&job)).await?;
    let took = begun.elapsed();
    let answers = seen.answers.get();
    seen.waited();
    client.cancel().await;
    server.cancel().await;

    let Some(root) = fold(&root, &mut hashes.into_iter()) else { return Err(io::Error::other("there is no file in this folder")) };
    println!("{}", root.map(|byte| format!("{byte:02x}")).concat());
    println!("{} files in {took:.1?}; meanwhile {answers} answers, the longest wait {:.1?}", job.files.len(), seen.longest.get());
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let manner = match args.first().map(String::as_str) {
        Some("parallel") => Some(Manner::Parallel),
        Some("polite") => Some(Manner::Polite),
        Some("greedy") => Some(Manner::Greedy),
        _ => None,
    };
    let (Some(manner), [_, folder]) = (manner, args.as_slice()) else {
        eprintln!("usage: merkle parallel|polite|greedy FOLDER");
        return ExitCode::from(2);
    };
    match matou_unix::run(main_task(manner, folder.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
