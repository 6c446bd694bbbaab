//! `load`: puts load on one echo server, and prints rates and latencies.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Load, Waiting, Window};
use crate::Failure;
use crate::args::Args;
use crate::kernel;

/// What it accepts.
pub fn usage() -> String {
    "\
load ADDRESS: puts load on one echo server

  --connections N (50)  --size BYTES (64)  --seconds N (5)  --warm-up MS (500)  --window MS (1000)
  --pid PID: the server's, for its CPU time and memory  --cpu N: the core to stay on  --spin: asks again and again, never sleeps"
        .to_owned()
}

/// What `load` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let connections = args.option("--connections")?.unwrap_or(50);
    let size = args.option("--size")?.unwrap_or(64);
    let seconds: f64 = args.option("--seconds")?.unwrap_or(5.0);
    let warm_up = Duration::from_millis(args.option("--warm-up")?.unwrap_or(500));
    let window = Duration::from_millis(args.option("--window")?.unwrap_or(1000));
    let server: Option<u32> = args.option("--pid")?;
    let cpu: Option<usize> = args.option("--cpu")?;
    let waiting = if args.flag("--spin") { Waiting::Spin } else { Waiting::Sleep };
    let address: SocketAddr = args.next("ADDRESS")?.parse()?;
    args.finish()?;

    kernel::raise_file_limit()?;
    if let Some(cpu) = cpu {
        kernel::pin(&[cpu])?;
    }
    let mut load = Load::new(address, size, waiting)?;
    load.open(connections)?;
    load.run(warm_up)?;

    let cpu_time = |server: Option<u32>| server.map(kernel::settled_cpu_time).transpose();
    let before = cpu_time(server)?;
    let mut total = Window::default();
    let left = |total: &Window| Duration::try_from_secs_f64(seconds).map(|all| all.saturating_sub(total.elapsed));
    while !left(&total)?.is_zero() {
        let one = load.run(window.min(left(&total)?))?;
        println!("{}", line(&one));
        total.merge(&one);
    }
    println!("\ntotal\n{}", line(&total));
    if let (Some(before), Some(after), Some(server)) = (before, cpu_time(server)?, server) {
        let cpu = (after - before).as_secs_f64();
        println!(
            "server: {:.2} µs CPU per round trip, {:.0} % busy, {} KiB resident",
            cpu * 1e6 / total.latency.total() as f64,
            cpu * 100.0 / total.elapsed.as_secs_f64(),
            kernel::resident(server)? / 1024,
        );
    }
    Ok(())
}

fn line(window: &Window) -> String {
    let quantile = |part| window.latency.quantile(part) as f64 / 1e3;
    format!(
        "{:>9} round trips in {:.2} s: {:>7.0}/s, p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, longest {:.1} µs",
        window.latency.total(),
        window.elapsed.as_secs_f64(),
        window.rate(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        window.latency.max() as f64 / 1e3,
    )
}
