//! One task, many times, for callgrind to count: `instructions TASK TIMES`.
//!
//! `benches/instructions/run` compares the counts.

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener};

use bindaddr::interfaces::Interface;
use bindaddr::{BindOptions, Interfaces, ListenAddr};

const IPV4: &str = "127.0.0.1:8080";
const IPV6: &str = "[2001:db8::1]:8080";
const FREE: &str = "127.0.0.2:4712";

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
        "bind" => repeat(times, || {
            bindaddr::bind(black_box(FREE)).expect("a free port")
        }),
        "std-bind" => repeat(times, || {
            let addr: SocketAddr = black_box(FREE).parse().expect("an address");
            TcpListener::bind(addr).expect("a free port")
        }),
        "refuse-10k" => {
            let garbage = garbage(10_000);
            repeat(times, || black_box(&garbage).parse::<ListenAddr>());
        }
        "refuse-100k" => {
            let garbage = garbage(100_000);
            repeat(times, || black_box(&garbage).parse::<ListenAddr>());
        }
        _ => {
            let (task, size) = task.rsplit_once('-').expect("a task and its size");
            of_size(task, size.parse().expect("a size"), times);
        }
    }
}

/// Tasks whose work grows with the number of settings, sockets and addresses.
fn of_size(task: &str, size: usize, times: usize) {
    let host = host(size);
    let plan_on = |settings: &[String]| BindOptions::new().plan_on(settings, &host);
    let plan = |settings: &[String]| plan_on(settings).expect("they fit together");
    let each = |text: &dyn Fn(usize) -> String| -> Vec<String> { (0..size).map(text).collect() };
    match task {
        "diff-port-0" => {
            let plan = plan(&each(&|_| "127.0.0.1:0".to_owned()));
            let open = plan.bind().expect("free ports");
            repeat(times, || plan.diff(black_box(&open)));
        }
        // The same sockets, from a config with other texts.
        "diff-other-text" => {
            let open = bindaddr::bind(each(&|_| "127.0.0.1:0".to_owned())).expect("free ports");
            let plan = plan(&each(&|_| "ipv4@localhost:1-65535".to_owned()));
            repeat(times, || plan.diff(black_box(&open)));
        }
        // Every open port is one that another setting needs.
        "diff-in-the-way" => {
            let open = bindaddr::bind(each(&|_| "127.0.0.1:0".to_owned())).expect("free ports");
            let ports: Vec<u16> = open.iter().map(|one| one.local_addr().port()).collect();
            let mut settings = each(&|n| format!("0.0.0.0:{}", ports[n]));
            settings.extend(each(&|_| "127.0.0.1:0".to_owned()));
            let plan = plan(&settings);
            repeat(times, || plan.diff(black_box(&open)));
        }
        "diff-selector" => {
            let plan = plan(&["127.0.0.0/8:0".to_owned()]);
            let open = bindaddr::bind("127.0.0.1:0").expect("a free port");
            repeat(times, || plan.diff(black_box(&open)));
        }
        "plan-one-port" => {
            let settings = each(&|n| format!("127.0.{}.{}:80", n / 250, n % 250 + 1));
            repeat(times, || plan_on(black_box(&settings)));
        }
        "plan-conflicts" => {
            let mut settings = each(&|n| format!("127.0.{}.{}:80", n / 250, n % 250 + 1));
            settings.extend(each(&|n| format!("0.0.0.0:80-{}", 80 + n % 2)));
            repeat(times, || plan_on(black_box(&settings)));
        }
        "exposure" => {
            let plan = plan(&each(&|n| format!("0.0.0.0:{}", n + 1)));
            repeat(times, || plan.exposure(black_box(&host)));
        }
        _ => panic!("unknown task {task}"),
    }
}

/// A host with `size` addresses.
fn host(size: usize) -> Interfaces {
    let ips = (0..size).map(|n| format!("127.1.{}.{}", n / 250, n % 250 + 1));
    let lo = ips.fold(Interface::new("lo", 1), |lo, ip| {
        lo.with_addr(ip.parse().expect("an address"), 8)
    });
    [lo].into_iter().collect()
}

fn repeat<T>(times: usize, task: impl Fn() -> T) {
    for _ in 0..times {
        black_box(task());
    }
}
