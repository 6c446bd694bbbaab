//! The hash of a folder, in each manner.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use crate::program::{PATIENCE, Program};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    /// Two files, a script, an empty folder, a link, names that sort otherwise with git, and so many bytes more.
    fn new(name: &str, bytes: u64) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("matou-merkle-{name}-{}", std::process::id())));
        fs::create_dir_all(folder.0.join("a/empty")).unwrap();
        fs::create_dir_all(folder.0.join(".git")).unwrap();
        for (file, content) in [("a/deep", "deep"), ("a.txt", "text"), ("script", "#!/bin/sh\n"), (".git/config", "not hashed")] {
            fs::write(folder.0.join(file), content).unwrap();
        }
        fs::set_permissions(folder.0.join("script"), Permissions::from_mode(0o755)).unwrap();
        symlink("a.txt", folder.0.join("link")).unwrap();
        if bytes > 0 {
            File::create(folder.0.join("zeros")).unwrap().set_len(bytes).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The hash, and how many answers there were meanwhile.
fn hash(manner: &str, folder: &Path, environment: &[(&str, &str)]) -> (String, u32) {
    let args = [manner.as_ref(), folder.as_os_str()];
    let lines = Program::start_with("merkle", args, environment).end().success();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let (_, meanwhile) = lines[2].split_once("; meanwhile ").unwrap();
    let (answers, _) = meanwhile.split_once(" answers, ").unwrap();
    (lines[1].clone(), answers.parse().unwrap())
}

/// What `git add --all; git write-tree` gives, the link left out.
const SMALL: &str = "244ac0cce727e5fcd9cdb7b175f1b797de4656a1";
/// The same with eight megabytes of zeros.
const LARGE: &str = "8dd33b13d6c8934e43211300f19334bd85b30e7b";

#[test]
fn the_hash_is_that_of_git() {
    let folder = Folder::new("small", 0);
    for manner in ["parallel", "polite", "greedy"] {
        assert_eq!(hash(manner, &folder.0, &[]).0, SMALL, "{manner}");
    }
}

#[test]
fn who_has_manners_lets_the_server_answer() {
    let folder = Folder::new("large", 8 << 20);
    let (hashed, seldom) = hash("polite", &folder.0, &[]);
    assert_eq!(hashed, LARGE);
    assert_ne!(seldom, 0);
    let (hashed, often) = hash("polite", &folder.0, &[("MATOU_QUANTA", "1")]);
    assert_eq!(hashed, LARGE);
    assert!(often > seldom, "{often} answers when events are looked at after each step, else {seldom}");
    assert_eq!(hash("greedy", &folder.0, &[]), (LARGE.into(), 0));
    assert_ne!(hash("parallel", &folder.0, &[]).1, 0);
}

/// The server answers others than the example's own client: here while a worker is stuck, in the midst of a file.
#[test]
fn the_server_answers_however_long_the_work_takes() {
    let folder = Folder::new("fifo", 0);
    let fifo = folder.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let program = Program::start("merkle", ["parallel".as_ref(), folder.0.as_os_str()]);
    let mut stream = TcpStream::connect(program.address()).unwrap();
    // Opened when the worker opens it, on a thread of its own in case that it never does: from then on it waits for us.
    let (opened, opening) = channel();
    thread::spawn(move || opened.send(File::options().write(true).open(fifo).unwrap()));
    let stuck = opening.recv_timeout(PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for _ in 0..3 {
        stream.write_all(b"and now?\n").unwrap();
        let answer = answers.next().unwrap().unwrap();
        assert!(answer.ends_with(" of 4 files") && !answer.starts_with('4'), "{answer}");
    }
    drop(stuck);
    program.end().success();
}
