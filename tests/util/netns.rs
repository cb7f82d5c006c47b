//! Tests in network namespaces that they make themselves.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::rerun;

const REQUIRED: &str = "BINDADDR_REQUIRE_NETNS";

/// Runs `body`, a closure of the test function, in a fresh network namespace with `lo` up.
///
/// If the machine forbids namespaces, the test reports that it is skipped, and fails under
/// `BINDADDR_REQUIRE_NETNS=1`.
#[track_caller]
pub(crate) fn in_namespace<F: Fn()>(body: F) {
    in_namespace_of(test_of::<F>(), body);
}

/// Returns the name of the test function that has a closure: of `field::name::{{closure}}`, `name`.
fn test_of<F>() -> &'static str {
    let closure = std::any::type_name::<F>();
    let function = closure.strip_suffix("::{{closure}}").expect("a closure");
    let (_, name) = function.split_once("::").expect("a function of a crate");
    name
}

/// Does the same for a function that several tests call; `test` is the name of the test function.
#[track_caller]
pub(crate) fn in_namespace_of(test: &str, body: impl Fn()) {
    match rerun::role().as_deref() {
        None => match unshare() {
            Some(wrapper) => {
                rerun::run(test, "namespace", wrapper);
            }
            None => rerun::skip(test, "no network namespace can be made here", REQUIRED),
        },
        Some("namespace") => {
            settle();
            body();
            rerun::done();
        }
        Some("host") => {
            settle();
            Host::serve();
        }
        Some(other) => panic!("no such role: {other}"),
    }
}

/// Runs `body` where no other process takes ports: in a namespace where Linux has them, and
/// elsewhere as it is.
#[track_caller]
pub(crate) fn alone<F: Fn()>(body: F) {
    if cfg!(target_os = "linux") {
        in_namespace(body);
    } else {
        body();
    }
}

/// Makes a fresh namespace an ordinary host.
fn settle() {
    // Linux binds every IPv4 address until lo has been up once.
    ip("link set lo up");
    // An IPv6 address is usable at once, without looking for duplicates of it.
    set("net/ipv6/conf/default/accept_dad", "0");
}

/// Sets a sysctl of this namespace.
#[track_caller]
pub(crate) fn set(sysctl: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{sysctl}"), value)
        .unwrap_or_else(|err| panic!("{sysctl} = {value}: {err}"));
}

/// The words that start a program in a new network namespace: as root, else in
/// a user namespace where this user is root.
fn unshare() -> Option<&'static [&'static str]> {
    static WRAPPER: OnceLock<Option<&[&str]>> = OnceLock::new();
    *WRAPPER.get_or_init(|| {
        let ways: [&[&str]; 2] = [
            &["unshare", "--net", "--"],
            &["unshare", "--user", "--map-root-user", "--net", "--"],
        ];
        ways.into_iter().find(|way| {
            // A kernel that only resembles Linux, as gVisor, may lack what the tests are about.
            let script = "ip link set lo up && ip link add name probe0 type veth peer name probe1";
            let mut probe = Command::new(way[0]);
            probe.args(&way[1..]).args(["sh", "-c", script]);
            let output = probe.stdin(Stdio::null()).output();
            output.is_ok_and(|output| output.status.success())
        })
    })
}

/// Runs `ip` in this namespace.
#[track_caller]
pub(crate) fn ip(args: &str) {
    let mut command = Command::new("ip");
    command.args(args.split_whitespace()).stdin(Stdio::null());
    let output = command.output().expect("iproute2 is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {stderr}");
    if args.starts_with("link") {
        wait_until_reported();
    }
    wait_until_usable();
}

/// Runs the lines of `batch` as `ip -batch` does.
#[track_caller]
pub(crate) fn ip_batch(batch: &str) {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped());
    let mut ip = command.spawn().expect("iproute2 is installed");
    let mut stdin = ip.stdin.take().expect("it is piped");
    stdin.write_all(batch.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(ip.wait().expect("it ends").success());
    wait_until_reported();
    wait_until_usable();
}

/// Waits until no IPv6 address is tentative any more: without a look for duplicates,
/// too, the kernel makes a new one usable a moment later. A test that wants them tentative
/// has switched the look on.
pub(crate) fn wait_until_usable() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let is_usable = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(4);
        let flags = fields.next().unwrap_or_default();
        // IFA_F_TENTATIVE of linux/if_addr.h
        let is_tentative = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 0x40 != 0);
        let device = fields.next().unwrap_or_default();
        // Without the look it is 0, and on lo -1; lo's addresses wait for the work queue as others
        // do.
        let look = || read(&format!("/proc/sys/net/ipv6/conf/{device}/accept_dad"));
        !is_tentative || look().trim().parse().is_ok_and(|look: i32| look > 0)
    };
    wait_until("each IPv6 address is usable", || {
        let addrs = read("/proc/thread-self/net/if_inet6");
        addrs.lines().all(is_usable)
    });
}

/// Waits until the kernel has reported each carrier: whether an interface is running follows the
/// carrier at once on a quiet machine, and up to a second later on a busy one
/// (`net/core/link_watch.c`).
fn wait_until_reported() {
    // `ip` writes NO-CARRIER for what is up and not running, and LOWER_UP for the carrier itself.
    let is_reported = |line: &str| {
        let flags = line.split(['<', '>']).nth(1).unwrap_or_default();
        let has = |name: &str| flags.split(',').any(|flag| flag == name);
        !has("UP") || has("NO-CARRIER") != has("LOWER_UP")
    };
    wait_until("each carrier is reported", || {
        let mut links = Command::new("ip");
        let links = links.args(["-oneline", "link", "show"]).output();
        let links = links.expect("iproute2 is installed").stdout;
        String::from_utf8_lossy(&links).lines().all(is_reported)
    });
}

/// Waits for a change that a work queue of the kernel or another process makes, which may take
/// seconds on a busy machine.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(90), "until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a TCP connection from this namespace to `to` comes about: a work queue of the kernel
/// makes an IPv6 address usable, with the route or after it.
#[track_caller]
pub(crate) fn wait_until_connects(to: SocketAddr) {
    wait_until("a connection comes about", || connects(to));
}

/// Returns `true` if a TCP connection from this namespace to `to` succeeds.
pub(crate) fn connects(to: SocketAddr) -> bool {
    TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok()
}

/// Returns, for each address, whether a TCP connection from this namespace to it succeeds. All are
/// tried at once, because an attempt whose packets are dropped takes the whole timeout.
pub(crate) fn connects_each(to: &[SocketAddr]) -> Vec<bool> {
    let timeout = Duration::from_millis(1500);
    std::thread::scope(|scope| {
        let tries: Vec<_> = to
            .iter()
            .map(|to| scope.spawn(move || TcpStream::connect_timeout(to, timeout).is_ok()))
            .collect();
        let came = tries.into_iter().map(std::thread::ScopedJoinHandle::join);
        came.map(|came| came.expect("it does not panic")).collect()
    })
}

/// Another host: a process in a network namespace of its own.
pub(crate) struct Host {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Starts a host from within the namespace of `test`.
    pub(crate) fn start(test: &str) -> Self {
        let mut command = rerun::command(test, "host", &["unshare", "--net", "--"]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a namespace within the namespace");
        let orders = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut host = Self {
            process,
            orders,
            answers,
        };
        // Its namespace is there once it answers.
        host.ip("link show lo");
        host
    }

    /// Returns the process of the host, in whose namespace others can run.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Joins this namespace and the host's by a cable: `here` is its end here, `there` the other.
    pub(crate) fn cable(&mut self, here: &str, there: &str) {
        let pid = self.process.id();
        ip(&format!(
            "link add name {here} type veth peer name {there} netns {pid}"
        ));
        ip(&format!("link set {here} up"));
        self.ip(&format!("link set {there} up"));
        // The carrier of the end here comes with the other end.
        wait_until_reported();
    }

    /// Joins this host and `other` by a cable: `here` is its end here, `there` the other.
    pub(crate) fn cable_to(&mut self, here: &str, other: &mut Self, there: &str) {
        let pid = other.process.id();
        self.ip(&format!(
            "link add name {here} type veth peer name {there} netns {pid}"
        ));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
        // The carrier of the end here comes with the other end.
        self.ip("link show");
    }

    /// Sets a sysctl of the host.
    #[track_caller]
    pub(crate) fn set(&mut self, sysctl: &str, value: &str) {
        assert_eq!(self.ask(&format!("set {sysctl} {value}")), "done");
    }

    /// Returns the index of an interface of the host.
    #[track_caller]
    pub(crate) fn zone(&mut self, interface: &str) -> u32 {
        let answer = self.ask(&format!("zone {interface}"));
        answer.parse().expect("an index")
    }

    /// Runs `ip` on the host.
    #[track_caller]
    pub(crate) fn ip(&mut self, args: &str) {
        assert_eq!(self.ask(&format!("ip {args}")), "done");
    }

    /// Returns `true` if a TCP connection from the host to `to` succeeds.
    #[track_caller]
    pub(crate) fn connects(&mut self, to: SocketAddr) -> bool {
        self.ask(&format!("connect {to}")) == "true"
    }

    /// Lets the host try to connect to each address; [`connected`](Self::connected) has what came
    /// of it.
    pub(crate) fn connect_each(&mut self, to: &[SocketAddr]) {
        let to: Vec<String> = to.iter().map(SocketAddr::to_string).collect();
        self.tell(&format!("connect-each {}", to.join(" ")));
    }

    #[track_caller]
    pub(crate) fn connected(&mut self) -> Vec<bool> {
        let answer = self.answer("connect-each");
        answer.split(' ').map(|one| one == "true").collect()
    }

    fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the host listens");
    }

    #[track_caller]
    fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer(order)
    }

    #[track_caller]
    fn answer(&mut self, order: &str) -> String {
        let mut answer = String::new();
        loop {
            answer.clear();
            let read = self
                .answers
                .read_line(&mut answer)
                .expect("the host answers");
            assert_ne!(read, 0, "the host died of: {order}");
            // libtest writes lines of its own.
            if let Some((_, answer)) = answer.split_once("answer: ") {
                return answer.trim().to_owned();
            }
        }
    }

    /// The host's side.
    fn serve() {
        for order in std::io::stdin().lines() {
            let order = order.expect("orders are text");
            let answer = match order.split_once(' ') {
                Some(("ip", args)) => {
                    ip(args);
                    "done".to_owned()
                }
                Some(("set", assignment)) => {
                    let (sysctl, value) = assignment.split_once(' ').expect("a value");
                    set(sysctl, value);
                    "done".to_owned()
                }
                Some(("zone", name)) => {
                    let host = bindaddr::Interfaces::system().expect("netlink is there");
                    let index = host
                        .by_name(name)
                        .and_then(bindaddr::interfaces::Interface::index);
                    index.expect("it has an index").to_string()
                }
                Some(("connect-each", to)) => {
                    let to = to.split(' ').map(|to| to.parse().expect("an address"));
                    let came = connects_each(&to.collect::<Vec<_>>());
                    let came: Vec<String> = came.iter().map(bool::to_string).collect();
                    came.join(" ")
                }
                Some(("connect", to)) => connects(to.parse().expect("an address")).to_string(),
                _ => panic!("no such order: {order}"),
            };
            println!("answer: {answer}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It ends when its orders do; this is for one that hangs.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
