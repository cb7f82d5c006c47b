//! One task, many times, for callgrind to count: `instructions TASK TIMES`.
//!
//! `benches/instructions/run` compares the counts.

use std::hint::black_box;
use std::net::SocketAddr;

use bindaddr::ListenAddr;

const IPV4: &str = "127.0.0.1:8080";
const IPV6: &str = "[2001:db8::1]:8080";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().expect("a task");
    let times: usize = arguments
        .next()
        .and_then(|times| times.parse().ok())
        .expect("how many times");
    let garbage = |bytes: usize| "x:y:".repeat(bytes / 4);
    match task.as_str() {
        "parse-ipv4" => repeat(times, || black_box(IPV4).parse::<ListenAddr>()),
        "std-parse-ipv4" => repeat(times, || black_box(IPV4).parse::<SocketAddr>()),
        "parse-ipv6" => repeat(times, || black_box(IPV6).parse::<ListenAddr>()),
        "std-parse-ipv6" => repeat(times, || black_box(IPV6).parse::<SocketAddr>()),
        "refuse-10k" => {
            let garbage = garbage(10_000);
            repeat(times, || black_box(&garbage).parse::<ListenAddr>());
        }
        "refuse-100k" => {
            let garbage = garbage(100_000);
            repeat(times, || black_box(&garbage).parse::<ListenAddr>());
        }
        _ => panic!("there is no task called {task}"),
    }
}

fn repeat<T>(times: usize, task: impl Fn() -> T) {
    for _ in 0..times {
        black_box(task());
    }
}
