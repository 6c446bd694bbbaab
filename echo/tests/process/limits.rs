//! Limits: of connections, of silence, of descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::server::{Server, Setup, again, echo, free_address, read_to_end, until};

/// Whether a byte sent comes back within a while. It fails only where the server ended the connection.
fn answers(mut stream: &TcpStream, within: Duration) -> std::io::Result<bool> {
    stream.write_all(b"!")?;
    awaits_answer(stream, within)
}

/// Whether a byte comes back within a while.
fn awaits_answer(mut stream: &TcpStream, within: Duration) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(within))?;
    let mut byte = [0];
    match again(|| stream.read(&mut byte)) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// Beyond the limit connections wait in the backlog, until one of those let in has ended.
fn max_connections(setup: Setup) {
    let server = setup.start(&["--max-connections", "3"]);
    let mut inside: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    assert!(inside.iter().all(|stream| answers(stream, LONG).unwrap()));
    let outside = server.connect();
    assert!(!answers(&outside, SHORT).unwrap());
    drop(inside.pop());
    assert!(awaits_answer(&outside, LONG).unwrap());
    assert!(inside.iter().all(|stream| answers(stream, LONG).unwrap()));
    drop((inside, outside));
    assert_eq!(server.stop().totals().accepted, 4);
}

in_every_mode!(max_connections: concurrent owned parallel);

/// The limit is shared out over the domains: there are never more than that, and no domain is left with connections
/// and without a share.
fn max_connections_over_domains(setup: Setup) {
    for limit in ["1", "2", "5"] {
        let server = setup.start(&["--max-connections", limit, "--stats", "1ms"]);
        Crowd::new(server.address, vec![3_000; 60]).finish().unwrap();
        let end = server.stop();
        let open = end.lines.iter().filter_map(|line| line.strip_prefix("open ")?.split(',').next()?.parse().ok());
        let most: u32 = open.max().unwrap_or_default();
        assert!(most <= limit.parse().unwrap(), "{most} connections open, and at most {limit} asked for");
        assert_eq!(end.totals().accepted, 60);
    }
}

in_every_mode!(max_connections_over_domains: multi);

/// Gives a connection on which a byte went there and back every few milliseconds, so many times, and the moment before the last; and how many
/// there were before on which this took as long, once, as a server with this timeout may be kept waiting: on a busy machine that is nobody's fault.
pub(crate) fn trickles<S>(connect: impl Fn() -> S, times: u32, timeout: Duration) -> (S, Instant, u64)
where
    for<'a> &'a S: Read + Write,
{
    for late in 0.. {
        let mut last = Instant::now();
        let stream = connect();
        let ended = (0..times).find_map(|time| {
            if time > 0 {
                thread::sleep(Duration::from_millis(10));
            }
            let before = std::mem::replace(&mut last, Instant::now());
            let answered = (&stream).write_all(b"!").and_then(|()| (&stream).read_exact(&mut [0]));
            answered.is_err().then(|| before.elapsed())
        });
        match ended {
            None => return (stream, last, late),
            Some(silence) => assert!(silence >= timeout, "one that was silent for {silence:?} was ended"),
        }
    }
    unreachable!("they cannot be counted")
}

/// A silent connection is ended, and so is one whose peer does not read; one that trickles is not.
fn idle_timeout(setup: Setup) {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let server = setup.start(&["--idle-timeout", "150ms"]);
    let before = server.descriptors();
    let connect = || server.connect();
    let (silent, last, late) = trickles(connect, 1, TIMEOUT);
    assert_eq!(read_to_end(&silent), b"");
    let lasted = last.elapsed();
    assert!(lasted > TIMEOUT - SHORT, "{lasted:?}");

    let (trickling, last, later) = trickles(connect, 30, TIMEOUT);
    let _ended_already = trickling.shutdown(Shutdown::Write);
    read_to_end(&trickling);
    // Its end was in time, or may have been too late, too.
    let at_last = u64::from(last.elapsed() >= TIMEOUT);

    let mut deaf = server.connect();
    deaf.set_write_timeout(Some(LONG)).unwrap();
    // The server stops reading when it cannot write, and then gives the connection up.
    let ended = (0..1_000_000).find_map(|_| deaf.write_all(&[0; 64 << 10]).err()).expect("an end");
    assert!(matches!(ended.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended}");

    server.await_descriptors(before);
    let totals = server.stop().totals();
    let (late, idle) = (late + later, totals.of("idle"));
    assert_eq!((totals.accepted, totals.failures), (3 + late, idle), "{totals:?}");
    assert!((2 + late..=2 + late + at_last).contains(&idle), "{late} or {at_last} more were late: {totals:?}");
}

in_every_mode!(idle_timeout);

/// A server that may have few descriptors, not yet started.
pub(crate) fn with_few_descriptors(setup: Setup, count: u32, listen: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.env_remove("MATOU_DOMAINS").env_remove("MATOU_QUANTA");
    shell.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\"")]);
    shell.arg(echo().get_program()).args(["--listen", listen, "--domains", "2"]);
    shell.args(["--mode", setup.mode, "--reactor", setup.reactor]);
    shell
}

/// Out of descriptors the server turns connections away, serves those it has, uses no processor time, and takes new
/// ones as soon as there are descriptors again.
fn out_of_descriptors(setup: Setup) {
    let server = Server::launch(&mut with_few_descriptors(setup, 48, &free_address()));
    let before = server.descriptors();
    let all: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    // Every one is answered, turned away, or waits because another domain has the last descriptor; none of
    // those inside is harmed by it.
    // Whoever was turned away already may be told so here.
    let (mut waiting, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|mut stream| stream.write_all(b"!").is_ok());
    let (mut inside, mut away) = (Vec::new(), gone.len());
    until(
        || {
            for stream in std::mem::take(&mut waiting) {
                match awaits_answer(&stream, SHORT) {
                    Ok(true) => inside.push(stream),
                    Ok(false) => waiting.push(stream),
                    Err(_) => away += 1,
                }
            }
            inside.len() >= 20 && away > 0
        },
        || String::from("twenty of a hundred should be let in, and some be turned away"),
    );

    assert!(inside.iter().all(|stream| answers(stream, LONG).unwrap()));
    server.assert_idle(Duration::from_millis(100));

    let served = inside.len() as u64;
    drop((inside, waiting));
    server.await_descriptors(before);
    Crowd::new(server.address, vec![5_000; 10]).finish().unwrap();
    server.await_descriptors(before);
    let end = server.stop();
    let said: Vec<_> = end.lines.iter().filter(|line| line.contains("out of descriptors")).collect();
    assert!(matches!(said[..], [line] if line.contains("ulimit -n")), "it is said once: {said:?}");
    let totals = end.totals();
    assert!(totals.accepted >= served + 10, "{totals:?}");
    assert!(totals.of("shed") >= 1, "{totals:?}");
}

in_every_mode!(out_of_descriptors: concurrent owned parallel multi);

/// The reserve is given up before anybody knocks, since the system wants a descriptor before it looks: the next
/// connection must still be let in when descriptors are back, without anybody being turned away for it.
fn descriptors_come_back(setup: Setup) {
    let server = Server::launch(&mut with_few_descriptors(setup, 48, &free_address()));
    for _ in 0..3 {
        let mut streams: Vec<TcpStream> = Vec::new();
        // Until one is turned away.
        until(
            || {
                let stream = server.connect();
                let inside = answers(&stream, SHORT);
                streams.push(stream);
                inside.is_err()
            },
            || String::from("nobody was turned away"),
        );
        drop(streams);
        until(|| answers(&server.connect(), LONG).is_ok_and(|answered| answered), || String::from("nobody is let in any more"));
    }
}

in_every_mode!(descriptors_come_back: concurrent multi);

/// The limit falls below what is open, so that giving the reserve up helps nothing: whoever connects waits, without any
/// processor time, until the limit rises.
fn no_descriptor_at_all(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    let limit = server.limit_descriptors(Some(3));
    let outside = server.connect();
    assert!(!answers(&outside, SHORT).unwrap());
    server.assert_idle(Duration::from_millis(30));
    assert!(!awaits_answer(&outside, SHORT).unwrap());
    server.limit_descriptors(limit);
    assert!(awaits_answer(&outside, LONG).unwrap());
    drop(outside);
    Crowd::new(server.address, vec![5_000; 10]).finish().unwrap();
    server.await_descriptors(before);
    assert_eq!(server.stop().totals().failures, 0);
}

in_every_mode!(no_descriptor_at_all);

/// With too few descriptors to start at all it says so, in one line, whichever it is that there is none for.
fn too_few_descriptors(setup: Setup) {
    for count in 4.. {
        let mut server = Server::attempt(&mut with_few_descriptors(setup, count, &free_address()));
        let greeting = std::mem::take(&mut server.greeting);
        if greeting.starts_with("listening on ") {
            server.stop().totals();
            return;
        }
        let end = server.wait();
        assert!(greeting.starts_with("echo: ") && end.lines.is_empty() && end.status.code() == Some(1), "{greeting:?} {end:?}");
    }
}

in_every_mode!(too_few_descriptors: concurrent multi);
