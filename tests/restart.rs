//! Sockets that are handed over to the process that replaces a server, with real clients.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bindaddr::restart::{Handover, SuccessorError};
use bindaddr::update::Apply;
use bindaddr::{Activation, BindOptions, Listeners};
use util::rerun;

const MINUTE: Duration = Duration::from_secs(60);

/// Answers clients until `is_over` returns `true`.
fn serve(listeners: &Listeners, answer: [u8; 3], is_over: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_over() && began.elapsed() < MINUTE {
        for listener in listeners {
            listener.as_std().set_nonblocking(true).unwrap();
            if let Ok((mut client, _)) = listener.as_std().accept() {
                client.set_nonblocking(false).unwrap();
                client.write_all(&answer).unwrap();
            }
        }
        thread::sleep(Duration::from_micros(100));
    }
}

fn ask(addr: SocketAddr) -> std::io::Result<[u8; 3]> {
    let mut client = TcpStream::connect(addr)?;
    let mut answer = [0; 3];
    client.read_exact(&mut answer)?;
    Ok(answer)
}

#[test]
fn successor_takes_over_without_refusing_a_client() {
    let test = "successor_takes_over_without_refusing_a_client";
    if let Some(role) = rerun::role() {
        let addrs: Vec<SocketAddr> = role.split(' ').map(|addr| addr.parse().unwrap()).collect();
        let activation = Activation::from_env().unwrap();
        assert_eq!(activation.unused().collect::<Vec<_>>(), addrs);
        let control = activation.take("control").unwrap();
        assert_eq!(control.len(), 1);
        let options = BindOptions::new().activation(activation.clone());
        let listeners = options.bind(&addrs[..]).unwrap();
        assert_eq!(activation.take_rest().unwrap().len(), 0);
        activation.notify_ready().unwrap();
        let control = UnixListener::from(control.into_iter().next().unwrap());
        control.set_nonblocking(true).unwrap();
        return serve(&listeners, *b"new", || control.accept().is_ok());
    }
    let listeners = bindaddr::bind("127.0.0.1:0, -[::1]:0").unwrap();
    let addrs: Vec<SocketAddr> = listeners
        .iter()
        .map(bindaddr::Listener::local_addr)
        .collect();
    let path = std::env::temp_dir().join(format!("bindaddr-restart-{}", std::process::id()));
    let control = UnixListener::bind(&path).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let has_answer = Arc::new(AtomicBool::new(false));
    let (over, answered, all) = (is_over.clone(), has_answer.clone(), addrs.clone());
    let clients = thread::spawn(move || {
        let mut answers = Vec::new();
        for addr in all.iter().cycle() {
            if over.load(Ordering::Relaxed) {
                return answers;
            }
            answers.push(ask(*addr).expect("a server answers"));
            answered.store(true, Ordering::Relaxed);
        }
        answers
    });
    serve(&listeners, *b"old", || has_answer.load(Ordering::Relaxed));
    let mut handover = Handover::new();
    handover.add(&listeners).unwrap();
    handover.add_socket("control", &control).unwrap();
    let role: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    let command = rerun::command(test, &role.join(" "), &[]);
    let mut successor = handover.spawn(command).unwrap();
    let is_ready = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            successor.wait_until_ready(MINUTE).unwrap();
            is_ready.store(true, Ordering::Relaxed);
        });
        serve(&listeners, *b"old", || is_ready.load(Ordering::Relaxed));
    });
    drop(listeners);
    for addr in &addrs {
        assert_eq!(&ask(*addr).unwrap(), b"new");
    }
    is_over.store(true, Ordering::Relaxed);
    let answers = clients.join().expect("no client was refused or reset");
    assert!(answers.contains(b"old"));
    std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert!(successor.child().wait().unwrap().success());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn successor_that_is_not_ready_is_an_error() {
    let handed = || {
        let mut handover = Handover::new();
        let listeners = bindaddr::bind("127.0.0.1:0").unwrap();
        handover.add(&listeners).unwrap();
        handover
    };
    let mut ended = handed().spawn(Command::new("true")).unwrap();
    let err = ended.wait_until_ready(MINUTE).unwrap_err();
    assert!(matches!(err, SuccessorError::Ended), "{err}");
    ended.child().wait().unwrap();
    let mut command = Command::new("sleep");
    command.arg("100");
    let mut slow = handed().spawn(command).unwrap();
    let err = slow.wait_until_ready(Duration::ZERO).unwrap_err();
    assert!(matches!(err, SuccessorError::TimedOut), "{err}");
    slow.child().kill().unwrap();
    let err = slow.wait_until_ready(MINUTE).unwrap_err();
    assert_eq!(err.to_string(), "the new process ended before it was ready");
    slow.child().wait().unwrap();
    assert!(handed().spawn(Command::new("/no/such/program")).is_err());
}

#[test]
fn exec_passes_the_sockets_to_the_new_image() {
    let test = "exec_passes_the_sockets_to_the_new_image";
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    match rerun::role().as_deref() {
        None => {
            rerun::run(test, "old", &[]);
        }
        Some("old") => {
            let listeners = bindaddr::bind("127.0.0.1:0, 127.0.0.2:0").unwrap();
            // Descriptors in between, so that a block has to be found.
            let between: Vec<std::fs::File> = (0..20)
                .map(|_| std::fs::File::open("/dev/null").unwrap())
                .collect();
            let free: Vec<_> = between.into_iter().step_by(2).collect();
            let _waiting = TcpStream::connect(listeners[1].local_addr()).unwrap();
            let handed = || {
                let mut handover = Handover::new();
                handover.add(&listeners).unwrap();
                handover
            };
            let before = files();
            let err = handed().exec(&mut Command::new("/no/such/program"));
            assert_eq!(err.kind(), std::io::ErrorKind::NotFound);
            assert_eq!(files(), before, "nothing is left of it");
            assert!(listeners[0].as_std().local_addr().is_ok());
            let addrs: Vec<String> = listeners.iter().map(ToString::to_string).collect();
            let err = handed().exec(&mut rerun::command(test, &addrs.join(" "), &[]));
            panic!("{err} with {} files", free.len());
        }
        Some(role) => {
            let pid = std::env::var("LISTEN_PID").unwrap();
            assert_eq!(pid, std::process::id().to_string());
            let addrs: Vec<SocketAddr> =
                role.split(' ').map(|addr| addr.parse().unwrap()).collect();
            let activation = Activation::from_env().unwrap();
            let options = BindOptions::new().activation(activation.clone());
            let listeners = options.bind(&addrs[..]).unwrap();
            assert_eq!(activation.unused().count(), 0);
            // Its client was reset when the old image ended, or its connection is still in the
            // queue.
            assert!(listeners[1].as_std().accept().is_ok());
            rerun::done();
        }
    }
}

#[test]
fn update_leaves_a_shared_socket_listening_elsewhere() {
    if !util::is_like_linux("update_leaves_a_shared_socket_listening_elsewhere") {
        return;
    }
    let mut listeners = bindaddr::bind("127.0.0.1:0").unwrap();
    let addr = listeners[0].local_addr();
    let mut handover = Handover::new();
    handover.add(&listeners).unwrap();
    // As the other process would have it.
    let mut command = Command::new("sleep");
    command.arg("100");
    handover.pass_to(&mut command).unwrap();
    let mut other = command.spawn().unwrap();
    drop(command);
    let plan = |text: String| BindOptions::new().plan(text).unwrap();
    let wider = plan(format!("0.0.0.0:{}", addr.port()));
    let err = wider.apply(&mut listeners, Apply::AllOrNone).unwrap_err();
    assert_eq!(err.cause().name(), "in-use");
    let update = plan("127.0.0.2:0".to_owned())
        .apply(&mut listeners, Apply::AllOrNone)
        .unwrap();
    assert_eq!(update.open_elsewhere(), [addr]);
    let closed = format!("closed {addr}, which another process has open as well\n");
    assert!(update.to_string().ends_with(&closed), "{update}");
    TcpStream::connect(addr).expect("it listens there");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn fd_names_follow_protocol() {
    let mut handover = Handover::new();
    let socket = UnixListener::bind(
        std::env::temp_dir().join(format!("bindaddr-names-{}", std::process::id())),
    );
    let socket = socket.unwrap();
    for name in ["", "a:b", "a\nb", &"x".repeat(256)] {
        let err = handover.add_socket(name, &socket).unwrap_err();
        assert!(
            err.to_string()
                .starts_with("a descriptor cannot be called "),
            "{err}"
        );
    }
    handover.add_socket("control", &socket).unwrap();
    let path = socket
        .local_addr()
        .unwrap()
        .as_pathname()
        .unwrap()
        .to_owned();
    std::fs::remove_file(path).unwrap();
}

/// Node takes the first socket as descriptor 3.
#[test]
fn node_serves_what_is_passed_to_it() {
    if Command::new("node").arg("--version").output().is_err() {
        rerun::skip(
            "node_serves_what_is_passed_to_it",
            "no node",
            "BINDADDR_REQUIRE_NODE",
        );
        return;
    }
    let listeners = bindaddr::bind("127.0.0.1:0").unwrap();
    let addr = listeners[0].local_addr();
    let mut handover = Handover::new();
    handover.add(&listeners).unwrap();
    let mut command = Command::new("node");
    let script = "require('net').createServer(c => c.end('new')).listen({fd: 3})";
    command.args(["-e", script]);
    handover.pass_to(&mut command).unwrap();
    let mut node = command.spawn().unwrap();
    drop(listeners);
    // Clients wait in the queue until it accepts them.
    assert_eq!(&ask(addr).unwrap(), b"new");
    node.kill().unwrap();
    node.wait().unwrap();
}

/// gunicorn takes only what is for its own process number, which a shell sets.
#[test]
fn gunicorn_serves_what_is_passed_to_it() {
    if Command::new("gunicorn").arg("--version").output().is_err() {
        let test = "gunicorn_serves_what_is_passed_to_it";
        return rerun::skip(test, "no gunicorn", "BINDADDR_REQUIRE_GUNICORN");
    }
    let dir = std::env::temp_dir().join(format!("bindaddr-gunicorn-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'new']\n";
    std::fs::write(dir.join("app.py"), app).unwrap();
    let listeners = bindaddr::bind("127.0.0.1:0, 127.0.0.2:0").unwrap();
    let addrs: Vec<SocketAddr> = listeners
        .iter()
        .map(bindaddr::Listener::local_addr)
        .collect();
    let mut handover = Handover::new();
    handover.add(&listeners).unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "LISTEN_PID=$$ exec \"$0\" \"$@\"",
        "gunicorn",
        "app:app",
    ]);
    command
        .args(["--workers", "1", "--log-level", "error"])
        .current_dir(&dir);
    handover.pass_to(&mut command).unwrap();
    let mut gunicorn = command.spawn().unwrap();
    drop((listeners, command));
    for addr in addrs {
        // Clients wait in the queue until it accepts them.
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nnew"), "{addr}: {answer}");
    }
    // It ends its workers.
    let status = Command::new("kill").arg(gunicorn.id().to_string()).status();
    assert!(status.unwrap().success());
    gunicorn.wait().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn listeners_are_found_by_their_names() {
    let test = "listeners_are_found_by_their_names";
    if rerun::role().is_some() {
        let names = std::env::var("LISTEN_FDNAMES").unwrap();
        assert_eq!(names, "listen-0:http:http:control");
        let activation = Activation::from_env().unwrap();
        let addrs: Vec<SocketAddr> = activation.unused().collect();
        let http = activation.take("http").unwrap().into_iter();
        let http = http.map(|fd| TcpListener::from(fd).local_addr().unwrap());
        assert_eq!(http.collect::<Vec<_>>(), addrs[1..3]);
        assert_eq!(activation.unused().count(), 2);
        return rerun::done();
    }
    let first = bindaddr::bind("127.0.0.1:0").unwrap();
    let http = bindaddr::bind("127.0.0.2:0, 127.0.0.3:0").unwrap();
    let mut handover = Handover::new();
    handover.add(&first).unwrap();
    handover.add_named("http", &http).unwrap();
    assert!(handover.add_named("127.0.0.1:80", &http).is_err());
    handover.add_socket("control", &first[0]).unwrap();
    let mut command = rerun::command(test, "new", &[]);
    handover.pass_to(&mut command).unwrap();
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains(rerun::DONE),
        "{stdout}"
    );
}

#[cfg(feature = "tokio")]
#[test]
fn acceptor_hands_over_while_running() {
    use bindaddr::accept::{Acceptor, HandleError};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut acceptor = Acceptor::new(bindaddr::bind("127.0.0.1:0").unwrap()).unwrap();
        let addr = acceptor.local_addrs()[0];
        let handle = acceptor.handle();
        let mut handover = Handover::new();
        handle.hand_over(&mut handover).unwrap();
        let mut command = Command::new("sleep");
        command.arg("100");
        handover.pass_to(&mut command).unwrap();
        let mut other = command.spawn().unwrap();
        drop(command);
        let client = TcpStream::connect(addr).unwrap();
        let (_, peer) = acceptor.accept().await;
        assert_eq!(peer, client.local_addr().unwrap());
        drop(handle.stop().unwrap());
        TcpStream::connect(addr).expect("the other process has it");
        let error = handle.hand_over(&mut Handover::new()).unwrap_err();
        assert!(matches!(error, HandleError::Stopped));
        assert_eq!(error.to_string(), "the server has stopped");
        other.kill().unwrap();
        other.wait().unwrap();
    });
}
