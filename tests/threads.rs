//! `threads::Follower`: a std server whose listeners come and go, each served by a thread.
#![cfg(target_os = "linux")]

mod util;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bindaddr::threads::{Connections, Follower, Handle, HandleError, Step};
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Plan};
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
    in_namespace("threads_follow_addresses", || {
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
        let until = std::time::Instant::now() + MINUTE;
        while server.handle.local_addrs() != [addr("10.0.0.1:5000"), addr("10.1.3.250:5000")] {
            assert!(std::time::Instant::now() < until, "{:?}", server.handle);
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
    in_namespace("update_moves_threads_without_losing_a_client", || {
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
        // What fails changes nothing, and wakes no thread.
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

#[test]
fn partial_update_is_tried_again() {
    in_namespace("partial_update_is_tried_again", || {
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

    in_namespace("socket_of_another_process_is_not_shut_down", || {
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
        // Its thread serves one client more, and the socket goes on elsewhere.
        assert!(is_answered("127.0.0.1:7000"));
        assert_eq!(server.ends(7000), 1);
        let again = options.bind("127.0.0.1:7000").unwrap();
        let _client = TcpStream::connect("127.0.0.1:7000").unwrap();
        assert!(again[0].as_std().accept().is_ok());
        assert!(is_answered("127.0.0.1:6000"));
        drop(handover);
    });
}

#[test]
fn dropped_follower_leaves_sockets_open() {
    in_namespace("dropped_follower_leaves_sockets_open", || {
        let plan = plan("127.0.0.1:5000");
        let listeners = plan.bind().unwrap();
        let mut follower = Follower::new(plan, listeners).unwrap();
        let Some(Step::Opened(connections)) = follower.next() else {
            panic!("the first step is its listener")
        };
        let handle = follower.handle();
        drop(follower);
        let serving = thread::spawn(move || serve(connections));
        assert!(is_answered("127.0.0.1:5000"));
        handle.stop();
        assert_eq!(serving.join().unwrap(), 1);
        assert!(!connects(addr("127.0.0.1:5000")));
    });
}
