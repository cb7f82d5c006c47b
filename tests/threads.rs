//! `threads::Follower`: a std server whose listeners come and go, each served by a thread.
#![cfg(target_os = "linux")]

mod util;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bindaddr::threads::{Connections, Follower, Handle, HandleError, Step};
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Plan};
use socket2::{Domain, Socket, Type};
use util::netns::{connects, in_namespace, ip, ip_batch};

/// How long a test waits for what has to happen.
const MINUTE: Duration = Duration::from_secs(60);

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).expect("a plan")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A server that has a thread for each listener.
struct Server {
    handle: Handle,
    steps: Receiver<Step>,
    iterating: JoinHandle<()>,
    log: String,
    /// The threads, by number.
    serving: HashMap<usize, JoinHandle<usize>>,
}

/// Answers each client, and returns how many there were.
fn serve(connections: Connections) -> usize {
    let answered = connections.map(|(mut client, _)| client.write_all(b"!"));
    answered.count()
}

impl Server {
    fn start(text: &str) -> Self {
        let plan = plan(text);
        let listeners = plan.bind().expect("free ports");
        let follower = Follower::new(plan, listeners).expect("netlink is there");
        let handle = follower.handle();
        let (sender, steps) = mpsc::channel();
        let iterating = thread::spawn(move || {
            for step in follower {
                let _ = sender.send(step);
            }
        });
        let (log, serving) = (String::new(), HashMap::new());
        Self {
            handle,
            steps,
            iterating,
            log,
            serving,
        }
    }

    /// Waits for the next listener.
    #[track_caller]
    fn opened(&mut self) -> Connections {
        loop {
            match self.steps.recv_timeout(MINUTE) {
                Ok(Step::Opened(connections)) => return connections,
                Ok(Step::Event(event)) => self.log += &event.to_string(),
                Ok(step) => panic!("{step:?}"),
                Err(error) => panic!("{error}, and the log is\n{}", self.log),
            }
        }
    }

    /// Serves the next listener on a thread of that number.
    #[track_caller]
    fn serve(&mut self, number: usize) {
        let connections = self.opened();
        let serving = thread::spawn(move || serve(connections));
        self.serving.insert(number, serving);
    }

    /// Waits until a line is logged.
    #[track_caller]
    fn logs(&mut self, line: &str) {
        while !self.log.contains(line) {
            match self.steps.recv_timeout(MINUTE) {
                Ok(Step::Event(event)) => self.log += &event.to_string(),
                other => panic!("{other:?}, and the log is\n{}", self.log),
            }
        }
    }

    /// Waits until a thread has ended, and returns how many clients it has served.
    #[track_caller]
    fn ends(&mut self, number: usize) -> usize {
        let serving = self.serving.remove(&number).expect("it serves");
        serving.join().expect("it does not panic")
    }
}

/// Asks a server, and returns whether it has answered.
fn is_answered(addr: &str) -> bool {
    let Ok(mut client) = TcpStream::connect(addr) else {
        return false;
    };
    client.set_read_timeout(Some(MINUTE)).expect("a socket");
    client.read_exact(&mut [0]).is_ok()
}

#[test]
fn threads_follow_addresses() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 10.0.0.1/24 dev eth0");
        let mut server = Server::start("ipv4@eth0:5000");
        server.serve(1);
        assert!(is_answered("10.0.0.1:5000"));
        for n in 2..5 {
            ip(&format!("addr add 10.0.0.{n}/24 dev eth0"));
            server.serve(n);
            assert!(is_answered(&format!("10.0.0.{n}:5000")));
            // A thread that waits for a client ends.
            ip(&format!("addr del 10.0.0.{n}/24 dev eth0"));
            assert_eq!(server.ends(n), 1);
        }
        server.logs("closed 10.0.0.4:5000\n");
        // A burst ends in the right state.
        let changes =
            (0..1000).map(|n| format!("addr add 10.1.{}.{}/32 dev eth0\n", n / 250, n % 250 + 1));
        let gone =
            (0..999).map(|n| format!("addr del 10.1.{}.{}/32 dev eth0\n", n / 250, n % 250 + 1));
        ip_batch(&changes.chain(gone).collect::<String>());
        let mut opened = Vec::new();
        let until = Instant::now() + MINUTE;
        while server.handle.local_addrs() != [addr("10.0.0.1:5000"), addr("10.1.3.250:5000")] {
            assert!(Instant::now() < until, "{:?}", server.handle);
            while let Ok(step) = server.steps.recv_timeout(Duration::from_millis(1)) {
                opened.push(step);
            }
        }
        assert_eq!(server.log.matches("cannot").count(), 0, "{}", server.log);
        server.handle.stop();
        assert_eq!(server.ends(1), 1);
        server.iterating.join().unwrap();
        assert!(!connects(addr("10.0.0.1:5000")));
    });
}

#[test]
fn update_moves_threads_without_losing_a_client() {
    in_namespace(|| {
        let mut server = Server::start("127.0.0.1:5000, 127.0.0.1:6000");
        let unserved = server.opened();
        server.serve(6000);
        assert!(is_answered("127.0.0.1:6000"));
        // Nobody accepts it before the socket is closed.
        let mut waiting = TcpStream::connect("127.0.0.1:5000").unwrap();
        let moved = plan("0.0.0.0:5000, 127.0.0.1:6000");
        let update = server.handle.apply(&moved, Apply::AllOrNone).unwrap();
        assert_eq!((update.kept(), update.opened().len()), (1, 1));
        assert_eq!(serve(unserved), 1);
        waiting.read_exact(&mut [0]).unwrap();
        server.serve(5000);
        assert!(is_answered("127.0.0.1:5000"));
        assert!(is_answered("127.0.0.1:6000"));
        // An update that fails changes nothing, and wakes no thread.
        let failing = plan("127.0.0.1:6000, 198.51.100.1:80");
        let error = server.handle.apply(&failing, Apply::AllOrNone).unwrap_err();
        assert!(matches!(error, HandleError::Bind(_)));
        assert!(is_answered("127.0.0.1:5000"));
        assert!(is_answered("127.0.0.1:6000"));
        server.handle.stop();
        assert_eq!((server.ends(5000), server.ends(6000)), (2, 3));
        server.iterating.join().unwrap();
        let error = server.handle.apply(&failing, Apply::AllOrNone).unwrap_err();
        assert!(matches!(error, HandleError::Stopped));
    });
}

/// A listener that had to stop for an update which failed then goes on, and so do the clients that
/// waited at it.
#[test]
fn failed_update_keeps_waiting_clients() {
    in_namespace(|| {
        let first = plan("127.0.0.1:5000");
        let listeners = first.bind().unwrap();
        // As after a privilege drop.
        if std::os::unix::fs::fchown(listeners[0].as_std(), Some(65534), None).is_err() {
            let test = "failed_update_keeps_waiting_clients";
            return util::rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
        }
        // It does not listen, so only bind(2) finds it.
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        other.bind(&addr("127.0.0.2:5000").into()).unwrap();
        let mut follower = Follower::new(first, listeners).unwrap();
        let Some(Step::Opened(mut connections)) = follower.next() else {
            panic!("the first step is its listener")
        };
        let waiting = TcpStream::connect("127.0.0.1:5000").unwrap();
        let handle = follower.handle();
        let failing = handle.apply(&plan("0.0.0.0:5000"), Apply::AllOrNone);
        assert!(matches!(failing.unwrap_err(), HandleError::Bind(_)));
        let (_, peer) = connections.next().unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        let late = TcpStream::connect("127.0.0.1:5000").unwrap();
        let (_, peer) = connections.next().unwrap();
        assert_eq!(peer, late.local_addr().unwrap());
    });
}

/// Each listener gets its own clients back, whichever thread waits.
#[test]
fn failed_update_leaves_clients_with_their_listener() {
    in_namespace(|| {
        let first = plan("[::1]:5000, 127.0.0.1:5000");
        let listeners = first.bind().unwrap();
        for listener in &listeners {
            if std::os::unix::fs::fchown(listener.as_std(), Some(65534), None).is_err() {
                let test = "failed_update_leaves_clients_with_their_listener";
                return util::rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
            }
        }
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        other.bind(&addr("127.0.0.2:5000").into()).unwrap();
        let follower = Follower::new(first, listeners).unwrap();
        let handle = follower.handle();
        let mut opened = follower.take(2).filter_map(|step| match step {
            Step::Opened(connections) => Some(connections),
            _ => None,
        });
        let (ipv6, ipv4) = (opened.next().unwrap(), opened.next().unwrap());
        for connections in [ipv6, ipv4] {
            // It takes its time for each client, so that another one waits.
            thread::spawn(move || {
                for (mut client, _) in connections {
                    thread::sleep(Duration::from_millis(3));
                    let _ = client.write_all(b"!");
                }
            });
        }
        let failing = plan("0.0.0.0:5000, [::1]:5000");
        for round in 0..100 {
            let mut clients = ["127.0.0.1:5000", "127.0.0.1:5000", "[::1]:5000"]
                .map(|addr| TcpStream::connect(addr).unwrap());
            thread::sleep(Duration::from_micros(500));
            let failed = handle.apply(&failing, Apply::AllOrNone).unwrap_err();
            // The socket of this process is closed.
            let text = failed.to_string();
            assert!(!text.contains("this process listens"), "{text}");
            for client in &mut clients {
                client.set_read_timeout(Some(MINUTE)).unwrap();
                let answer = client.read_exact(&mut [0]);
                assert!(answer.is_ok(), "round {round}: {answer:?}");
            }
        }
    });
}

#[test]
fn partial_update_is_retried() {
    in_namespace(|| {
        let mut server = Server::start("127.0.0.1:5000");
        server.serve(5000);
        let other = TcpListener::bind("127.0.0.1:6000").unwrap();
        let changed = plan("127.0.0.1:5000, 127.0.0.1:6000");
        let update = server.handle.apply(&changed, Apply::BestEffort).unwrap();
        assert_eq!((update.kept(), update.errors().len()), (1, 1));
        server.logs("cannot listen on 127.0.0.1:6000: port 6000 is in use");
        // Nothing of the host changes.
        drop(other);
        server.serve(6000);
        assert!(is_answered("127.0.0.1:6000"));
        assert_eq!(
            server.log.matches("cannot listen").count(),
            1,
            "{}",
            server.log
        );
    });
}

#[cfg(feature = "restart")]
#[test]
fn socket_of_another_process_is_not_shut_down() {
    use bindaddr::Activation;
    use bindaddr::restart::Handover;

    in_namespace(|| {
        let mut server = Server::start("127.0.0.1:5000, 127.0.0.1:6000");
        server.serve(5000);
        server.serve(6000);
        let mut handover = Handover::new();
        server.handle.hand_over(&mut handover).unwrap();
        // Another process has it as well, here this one.
        let other = TcpListener::bind("127.0.0.1:7000").unwrap();
        let activation = Activation::from_sockets([("web".to_owned(), other.into())]);
        let options = BindOptions::new().activation(activation);
        let with_other = options.plan("127.0.0.1:6000, 127.0.0.1:7000").unwrap();
        let update = server.handle.apply(&with_other, Apply::AllOrNone).unwrap();
        assert_eq!(update.open_elsewhere(), [addr("127.0.0.1:5000")]);
        server.serve(7000);
        let update = server
            .handle
            .apply(&plan("127.0.0.1:6000"), Apply::AllOrNone);
        assert_eq!(update.unwrap().open_elsewhere(), [addr("127.0.0.1:7000")]);
        // The socket stays open in another process; its thread ends after at most one client,
        // whichever process accepts the others.
        let again = options.nonblocking(true).bind("127.0.0.1:7000").unwrap();
        let begun = Instant::now();
        while !server.serving[&7000].is_finished() {
            let _client = TcpStream::connect("127.0.0.1:7000").unwrap();
            let _ = again[0].as_std().accept();
            assert!(begun.elapsed() < MINUTE);
            thread::sleep(Duration::from_millis(1));
        }
        assert!(server.ends(7000) <= 1);
        let late = TcpStream::connect("127.0.0.1:7000").unwrap();
        let is_late = |(_, peer)| peer == late.local_addr().unwrap();
        while !again[0].as_std().accept().is_ok_and(is_late) {
            assert!(begun.elapsed() < MINUTE);
            thread::sleep(Duration::from_millis(1));
        }
        assert!(is_answered("127.0.0.1:6000"));
        drop(handover);
    });
}

#[test]
fn dropped_follower_leaves_sockets_open() {
    in_namespace(|| {
        let plan = plan("127.0.0.1:5000");
        let listeners = plan.bind().unwrap();
        let mut follower = Follower::new(plan, listeners).unwrap();
        let Some(Step::Opened(connections)) = follower.next() else {
            panic!("the first step is its listener")
        };
        let handle = follower.handle();
        drop(follower);
        // A new listener would have no thread.
        let more = crate::plan("127.0.0.1:5000, 127.0.0.1:6000");
        let error = handle.apply(&more, Apply::AllOrNone).unwrap_err();
        assert!(matches!(error, HandleError::Stopped));
        assert!(!connects(addr("127.0.0.1:6000")));
        let serving = thread::spawn(move || serve(connections));
        assert!(is_answered("127.0.0.1:5000"));
        handle.stop();
        assert_eq!(serving.join().unwrap(), 1);
        assert!(!connects(addr("127.0.0.1:5000")));
    });
}
