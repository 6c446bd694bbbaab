//! The echo servers of the tutorial: what each is able to, and what the one before was not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;

use crate::program::{PATIENCE, Program};

const STEPS: [&str; 6] = ["sequential", "concurrent", "owned", "orphans", "parallel", "multi"];

struct Client(TcpStream);

impl Client {
    fn new(server: SocketAddr) -> Client {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    fn say(&mut self, words: &[u8]) {
        self.0.write_all(words).unwrap();
    }

    #[track_caller]
    fn hear(&mut self, words: &[u8]) {
        let mut heard = vec![0; words.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, words);
    }

    #[track_caller]
    fn echoes(&mut self, words: &[u8]) {
        self.say(words);
        self.hear(words);
    }

    /// Ends with a reset instead of an end of stream.
    fn reset(self) {
        set_socket_linger(&self.0, Some(Duration::ZERO)).unwrap();
    }
}

fn start(step: &str, connections: &str) -> (Program, SocketAddr) {
    let program = Program::start("echo_steps", [step, "127.0.0.1:0", connections]);
    let address = program.address();
    (program, address)
}

#[test]
fn each_serves_and_ends() {
    for step in STEPS {
        let (program, address) = start(step, "3");
        for round in 0..3 {
            let mut client = Client::new(address);
            client.echoes(b"meow");
            client.echoes(&vec![round; 10_000]);
        }
        assert_eq!(program.end().success(), [""; 0], "{step}");
    }
}

/// The problem with the first step.
#[test]
fn the_first_serves_one_after_the_other() {
    let (program, address) = start("sequential", "2");
    let (mut first, mut second) = (Client::new(address), Client::new(address));
    second.say(b"anybody there?");
    first.echoes(b"meow");
    second.0.set_nonblocking(true).unwrap();
    assert_eq!(second.0.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    second.0.set_nonblocking(false).unwrap();
    drop(first);
    second.hear(b"anybody there?");
    drop(second);
    program.end().success();
}

#[test]
fn the_others_serve_many_at_a_time() {
    for step in &STEPS[1..] {
        let (program, address) = start(step, "10");
        let mut clients: Vec<_> = (0..10).map(|_| Client::new(address)).collect();
        for client in clients.iter_mut().rev() {
            client.echoes(b"meow");
        }
        drop(clients);
        assert_eq!(program.end().success(), [""; 0], "{step}");
    }
}

/// A connection that fails ends the first server, and in the others itself alone.
#[test]
fn a_reset_is_reported_and_does_no_harm() {
    for step in STEPS {
        let (program, address) = start(step, "2");
        let mut broken = Client::new(address);
        broken.echoes(b"meow");
        broken.reset();
        let reset = io::Error::from(Errno::CONNRESET).to_string();
        if step == "sequential" {
            let end = program.end();
            assert_eq!((end.status.code(), end.lines), (Some(1), vec![reset]));
            continue;
        }
        Client::new(address).echoes(b"meow");
        assert_eq!(program.end().success(), [format!("a connection ended abnormally: {reset}")], "{step}");
    }
}

#[test]
fn ctrl_c_closes_the_connections_and_ends() {
    for step in STEPS {
        let (program, address) = start(step, "1000");
        let mut client = Client::new(address);
        client.echoes(b"meow");
        program.interrupt();
        assert_eq!(client.0.read_to_end(&mut Vec::new()).unwrap(), 0, "{step}");
        assert_eq!(program.end().success(), [""; 0], "{step}");
    }
}
