//! What the kernel knows: CPU time, memory, cores, limits.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// CPU time used so far by all threads of a process, user and system together, in the scheduler's own nanoseconds.
///
/// The kernel brings the figure up to date when a thread is switched out and at each timer tick: of a process that runs it is
/// up to a tick old, of one that sleeps it is exact. Threads that have ended are not in it.
pub fn cpu_time(process: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A thread that ended since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        nanoseconds += text
            .split_whitespace()
            .next()
            .and_then(|field| field.parse::<u64>().ok())
            .ok_or_else(|| io::Error::other(format!("{}: not understood: {text}", path.display())))?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// [`cpu_time`] once it stands still, which it does as soon as the process sleeps; after a tenth of a second as it is then.
pub fn settled_cpu_time(process: u32) -> io::Result<Duration> {
    let deadline = Instant::now() + Duration::from_millis(100);
    let mut last = cpu_time(process)?;
    loop {
        thread::sleep(Duration::from_millis(2));
        let now = cpu_time(process)?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// Bytes of memory a process has in use (its resident set), counted page by page: the cheaper figure in `/proc/PID/status` is
/// allowed to be off by some hundred kilobytes.
pub fn resident(process: u32) -> io::Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    fs::read_to_string(&path)?
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB")?.trim().parse().ok())
        .map(|kilobytes: u64| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("{path}: no resident set size")))
}

/// Keeps the calling thread, and what it starts from now on, on these cores.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("no core {core}")));
        }
        cpus.set(core);
    }
    sched_setaffinity(None, &cpus).map_err(|error| io::Error::other(format!("cores {cores:?} cannot be had: {error}")))
}

/// CPU time that this process has used so far, all threads, to the nanosecond.
pub fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// How often the threads of this process have gone to sleep so far, each time to be woken. Threads that have ended are not in it.
pub fn own_sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let sleeps = |path: PathBuf| {
        let text = fs::read_to_string(path.join("status")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    threads.filter_map(|thread| sleeps(thread.path())).sum()
}

/// How many cores the calling thread may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// How many processors the machine has, whatever this thread may use of them.
pub fn processors() -> usize {
    fs::read_to_string("/proc/cpuinfo").map_or(1, |text| text.lines().filter(|line| line.starts_with("processor")).count())
}

/// 1, 2, 4, and so on, and the most itself: over how many threads something is measured.
pub fn doubled(most: usize) -> Vec<usize> {
    (0..).map(|power| 1 << power).take_while(|threads| *threads < most).chain([most]).collect()
}

/// Lets the process open as many files as it may without asking anyone.
pub fn raise_file_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// One line about this machine, to stand above a table.
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()));
    // All that there are, and not only those that this thread keeps to.
    let cores = processors();
    let system = rustix::system::uname();
    format!(
        "{} {} {}, {}, {cores} cores",
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        system.machine().to_string_lossy(),
        model.unwrap_or("unknown CPU"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_are_counted() {
        let before = own_sleeps();
        for _ in 0..10 {
            thread::sleep(Duration::from_micros(100));
        }
        assert!(own_sleeps() >= before + 10);
    }

    #[test]
    fn doubling_ends_with_the_most() {
        assert_eq!(doubled(1), [1]);
        assert_eq!(doubled(8), [1, 2, 4, 8]);
        assert_eq!(doubled(15), [1, 2, 4, 8, 15]);
    }
}
