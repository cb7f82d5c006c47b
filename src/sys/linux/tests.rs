//! The parsers of responses and of files, on hand-written bytes.

use std::cell::Cell;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::slice;

use proptest::prelude::*;

use super::namespace::is_of_another;
use super::netlink::{self, Netlink};
use super::procfs::{found_in_order, in_order, ipv6_addr, maps, socket, sockets_in};
use super::rtnetlink::parse_link;
use super::sysctl::{ipv6_switch_in, routed_loopback_in, security_modules_in};
use super::{Capability, Ipv6Switch, Status, has_ipv6, sock_diag};
use crate::map::Set;
use crate::sys::{AddrFlags, Protocol, SocketFilter, SocketRow, SocketState};

/// Returns a netlink socket with these datagrams as responses, and the kernel's end of it.
fn answered(datagrams: &[Vec<u8>]) -> (Netlink, UnixDatagram) {
    let (here, kernel) = UnixDatagram::pair().expect("a pair of sockets");
    for datagram in datagrams {
        kernel.send(datagram).expect("writes succeed");
    }
    here.set_nonblocking(true).expect("it can be");
    (Netlink::on(OwnedFd::from(here).into(), 1 << 15), kernel)
}

/// A dump of the link `lo`, whose messages have these flags.
fn dump(flags: u16) -> Vec<u8> {
    // NLMSG_DONE
    [part(flags), netlink::message(3, flags, &[0; 4])].concat()
}

/// A dump that goes on in the next datagram.
fn part(flags: u16) -> Vec<u8> {
    // RTM_NEWLINK, with the index in the second word of struct ifinfomsg.
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&1u32.to_ne_bytes());
    netlink::message(16, flags, &body)
}

/// Returns what is found among descriptors, each of a socket with an inode or of a file, and how
/// many were read.
fn found_among(descriptors: &[Option<u64>], wanted: &[u64]) -> (Vec<u64>, u64) {
    let reads = Cell::new(0);
    let found = found_in_order(descriptors.len() as u64, wanted.to_vec(), |number| {
        reads.set(reads.get() + 1);
        descriptors[usize::try_from(number).expect("an index")]
    });
    (found, reads.get())
}

#[test]
fn sorted_sockets_are_found_in_few_reads() {
    let sorted: Vec<Option<u64>> = (1000..2000).map(Some).collect();
    for wanted in [1000, 1001, 1499, 1500, 1998, 1999] {
        let (found, reads) = found_among(&sorted, &[wanted]);
        assert_eq!(found, [wanted]);
        assert!(reads <= 10, "{wanted}: {reads}");
    }
    assert_eq!(found_among(&sorted, &[999]).0, [0; 0]);
    assert_eq!(found_among(&sorted, &[1999, 5, 1000]).0, [1999, 1000]);
    // Files lie between.
    let mixed = |files: u64| -> Vec<Option<u64>> {
        let inode = |n| (n % (files + 1) == 0).then_some(1000 + n);
        (0..1000).map(inode).collect()
    };
    assert_eq!(found_among(&mixed(7), &[1800]).0, [1800]);
    // Fewer are all read.
    assert_eq!(found_among(&sorted[..127], &[1050]), (vec![], 0));
}

proptest! {
    #[test]
    fn search_for_sockets_is_limited_and_right(
        descriptors in prop::collection::vec(prop::option::of(0_u64..400), 0..400),
        wanted in prop::collection::vec(0_u64..400, 0..50),
    ) {
        let (found, reads) = found_among(&descriptors, &wanted);
        prop_assert!(reads <= descriptors.len() as u64 / 4);
        prop_assert!(found.iter().all(|one| wanted.contains(one) && descriptors.contains(&Some(*one))));
    }
}

#[test]
fn dump_is_consistent() {
    // NLM_F_DUMP_INTR
    let changed = 0x10;
    for (dumps, questions) in [
        (vec![dump(0)], 1),
        // A dump in one datagram is consistent.
        (vec![dump(changed)], 1),
        (vec![part(changed), dump(changed), dump(0)], 2),
        (
            vec![part(0), dump(changed), part(changed), dump(0), dump(0)],
            3,
        ),
    ] {
        let (mut netlink, kernel) = answered(&dumps);
        let links = netlink
            .all(b"request", parse_link)
            .expect("a consistent dump");
        let indices: Vec<u32> = links.iter().map(|link| link.index).collect();
        assert_eq!(indices.iter().collect::<Set<_>>().len(), 1);
        kernel.set_nonblocking(true).expect("it can be");
        let asked = std::iter::from_fn(|| kernel.recv(&mut [0; 64]).ok());
        assert_eq!(asked.count(), questions);
    }
}

#[test]
fn inconsistent_dump_is_an_error() {
    // NLM_F_DUMP_INTR
    let (mut netlink, _kernel) = answered(&vec![[part(0x10), dump(0x10)]; 64].concat());
    let err = netlink.all(b"request", parse_link).expect_err("it changes");
    assert_eq!(err.kind(), io::ErrorKind::ResourceBusy);
}

#[test]
fn truncated_message_is_an_error() {
    let whole = dump(0);
    // A datagram of which recv(2) dropped the end, and one that fills the buffer to the last byte.
    let mut full = whole[..32].repeat(1 << 10);
    full.truncate(1 << 15);
    for cut in [
        whole[..whole.len() - 1].to_vec(),
        whole[..40].to_vec(),
        full,
    ] {
        let (mut netlink, _kernel) = answered(slice::from_ref(&cut));
        let all = netlink.all(b"request", parse_link);
        assert_eq!(all.expect_err("cut").kind(), io::ErrorKind::InvalidData);
    }
    let (mut netlink, _kernel) = answered(&[whole[..20].to_vec()]);
    let one = netlink.one(b"request", parse_link);
    assert_eq!(one.expect_err("cut").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn netlink_refusal_is_an_error() {
    let refusal = |kind, code: i32| netlink::message(kind, 0, &(-code).to_ne_bytes());
    // NLMSG_ERROR and NLMSG_DONE.
    for kind in [2, 3] {
        let (mut netlink, _kernel) = answered(&[refusal(kind, 13)]);
        let err = netlink.all(b"request", parse_link).expect_err("refused");
        assert_eq!(err.raw_os_error(), Some(13));
    }
    let (mut netlink, _kernel) = answered(&[]);
    let err = netlink.all(b"request", parse_link).expect_err("no answer");
    assert_eq!(err.kind(), io::ErrorKind::WouldBlock);
    // An empty datagram is not a response either.
    let (mut netlink, _kernel) = answered(&[Vec::new()]);
    let err = netlink.all(b"request", parse_link).expect_err("no answer");
    assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn if_inet6_lines_have_address_flags() {
    for (line, flags) in [
        (
            "20010db8000100000000000000000010 02 40 00 40     eth0",
            0x40,
        ),
        (
            "20010db8000100000000000000000010 02 40 00 c0     eth0",
            0xc0,
        ),
        (
            "20010db8000100000000000000000010 02 40 00 c8     eth0",
            0xc8,
        ),
        (
            "20010db8000100000000000000000010 02 40 00 c4     eth0",
            0xc4,
        ),
        (
            "20010db8000100000000000000000010 02 40 00 80     eth0",
            0x80,
        ),
    ] {
        let ip: Ipv6Addr = "2001:db8:1::10".parse().expect("an address");
        assert_eq!(
            ipv6_addr(line.as_bytes()),
            Some(((ip, 2), AddrFlags(flags))),
            "{line}"
        );
    }
    // A name may be in any encoding, and is not needed.
    assert!(ipv6_addr(b"fe800000000000000000000000000077 1f40 40 20 80 \xff\xfe").is_some());
    for line in [
        &b""[..],
        b"fe80",
        b"fe800000000000000000000000000077",
        b"fe800000000000000000000000000077 02 40 20",
        b"fe800000000000000000000000000077 02 40 20 8",
        b"fe800000000000000000000000000077 zz 40 20 80 eth0",
        b"\xff\xff\xff\xff 02 40 20 80 eth0",
        "fe8000000000000000000000000000é7 02 40 20 80 eth0".as_bytes(),
    ] {
        assert_eq!(ipv6_addr(line), None, "{line:?}");
    }
}

#[test]
fn proc_net_lines_are_parsed() {
    let row = |line: &str| socket(Protocol::Tcp, line).expect(line);
    let word = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
    let ip = word([127, 0, 0, 1]);
    let listening = row(&format!(
        "   0: {ip}:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0000000000000000 100 0 0 10 0"
    ));
    assert_eq!(
        listening,
        SocketRow {
            protocol: Protocol::Tcp,
            state: SocketState::Listening,
            ip: [127, 0, 0, 1].into(),
            port: 8080,
            only_v6: None,
            device: None,
            uid: Some(33),
            inode: 4711,
            cgroup: None,
        }
    );
    let zero = "0".repeat(8);
    let mapped = format!("{zero}{zero}{}{ip}", word([0, 0, 0xff, 0xff]));
    let time_wait = row(&format!(
        "   1: {mapped}:0050 {mapped}:C350 06 00000000:00000000 03:00000F2B 00000000     0        0 0 3 0000000000000000"
    ));
    assert_eq!(
        time_wait.ip,
        IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1])
    );
    assert_eq!(
        (time_wait.state, time_wait.uid),
        (SocketState::TimeWait, None)
    );
    for line in [
        "",
        "sl",
        "  0: 0100007F:1F90",
        "  0: 0100007F 0:0 0A",
        "  0: zz:1 0:0 0A 0 0 0 0 0 0",
    ] {
        assert_eq!(socket(Protocol::Tcp, line), None, "{line:?}");
    }
}

/// A directory for files of a test, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn of(test: &str) -> Self {
        let name = format!("bindaddr-{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("it is new");
        Self(directory)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        let directory = path.parent().expect("it is in this one");
        fs::create_dir_all(directory).expect("writes succeed");
        fs::write(path, content).expect("writes succeed");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn route_localnet_is_read_per_interface() {
    let settings = Directory::of("route-localnet");
    let switch = |interface: &str, value: &str| {
        settings.write(&format!("{interface}/route_localnet"), value);
        let found = routed_loopback_in(&settings.0, |name| name == "lo");
        found.expect("it can be read")
    };
    assert_eq!(switch("all", "0\n"), None);
    for name in ["default", "lo"] {
        assert_eq!(switch(name, "1\n"), None, "{name}");
    }
    // The interface is gone by now.
    fs::create_dir(settings.0.join("eth1")).expect("it is new");
    assert_eq!(switch("eth0", "0\n"), None);
    assert_eq!(switch("eth0", "1\n").as_deref(), Some("eth0"));
    assert_eq!(switch("all", "1\n").as_deref(), Some("all"));
    // A switch that cannot be read is an error.
    switch("all", "0\n");
    switch("eth0", "0\n");
    fs::create_dir(settings.0.join("eth1/route_localnet")).expect("it is new");
    assert!(routed_loopback_in(&settings.0, |_| false).is_err());
}

#[test]
fn security_modules_are_read_with_and_without_securityfs() {
    let settings = Directory::of("security-modules");
    let modules = || security_modules_in(&settings.0);
    assert_eq!(modules(), [""; 0]);
    settings.write("module/apparmor/parameters/enabled", "N\n");
    assert_eq!(modules(), [""; 0]);
    settings.write("module/apparmor/parameters/enabled", "Y\n");
    assert_eq!(modules(), ["apparmor"]);
    settings.write("fs/selinux/enforce", "0");
    assert_eq!(modules(), ["selinux", "apparmor"]);
    settings.write("kernel/security/lsm", "capability,apparmor");
    assert_eq!(modules(), ["capability", "apparmor", "selinux"]);
}

#[test]
fn disable_ipv6_is_read_per_interface() {
    let settings = Directory::of("switches");
    let switch = |interface: &str, value: &str, is_off| {
        settings.write(&format!("{interface}/disable_ipv6"), &format!("{value}\n"));
        let Ipv6Switch { of_lo, of_all } = ipv6_switch_in(&settings.0, is_off);
        (of_lo, of_all)
    };
    assert_eq!(switch("all", "0", false), (None, None));
    assert_eq!(switch("default", "0", false), (None, None));
    assert_eq!(switch("eth0", "0", false), (None, None));
    assert_eq!(switch("lo", "1", true), (Some("lo"), None));
    assert_eq!(switch("eth0", "1", true), (Some("lo"), Some("*")));
    assert_eq!(switch("default", "1", true), (Some("lo"), Some("default")));
    assert_eq!(switch("lo", "0", true), (None, None));
    assert_eq!(switch("lo", "1", false), (Some("lo"), None));
    assert_eq!(switch("all", "1", true), (Some("all"), Some("all")));
    // Any number but 0.
    assert_eq!(switch("all", "2", true), (Some("all"), Some("all")));
}

#[test]
fn socket_tables_are_read_from_proc() {
    let directory = Directory::of("tables");
    let rows = |protocol| {
        let rows = sockets_in(&directory.0, protocol).ok()?;
        Some(
            rows.iter()
                .map(|row| (row.port, row.state))
                .collect::<Vec<_>>(),
        )
    };
    let write = |table: &str, ip: &str| {
        let line = format!(
            "heading\n 0: {ip}:0050 {ip}:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 1\n"
        );
        fs::write(directory.0.join(table), line).expect("writes succeed");
    };
    assert_eq!(rows(Protocol::Tcp), None, "nothing is there");
    write("tcp6", &"0".repeat(32));
    assert_eq!(
        rows(Protocol::Tcp),
        None,
        "who is hidden on IPv4 may have the port"
    );
    write("tcp", &"0".repeat(8));
    assert_eq!(rows(Protocol::Tcp), Some(vec![(80, SocketState::Bound); 2]));
    write("udp", &"0".repeat(8));
    assert_eq!(
        rows(Protocol::Udp),
        Some(vec![(80, SocketState::Bound)]),
        "of a kernel without IPv6"
    );
    symlink("udp6", directory.0.join("udp6")).expect("writes succeed");
    assert_eq!(
        rows(Protocol::Udp),
        None,
        "who cannot be read may have the port"
    );
}

#[test]
fn processes_with_few_descriptors_are_searched_first() {
    let order = |processes: &[(u64, &str)]| -> Vec<String> {
        let processes = processes
            .iter()
            .map(|(count, name)| (*count, (*name).to_owned()));
        in_order(processes.collect(), "7").collect()
    };
    assert_eq!(
        order(&[(9, "1"), (1, "2"), (0, "3"), (1000, "7")]),
        ["7", "2", "1"]
    );
    assert_eq!(
        order(&[(1001, "7"), (9, "1"), (2000, "2")]),
        ["1", "7", "2"]
    );
    // Before Linux 6.2, which does not count.
    assert_eq!(order(&[(0, "7"), (0, "1")]), ["7", "1"]);
}

#[test]
fn effective_capability_is_read() {
    let capability = |status: &str| Status(status.to_owned()).capability();
    let has_seccomp_filter = |status: &str| Status(status.to_owned()).has_seccomp_filter();
    assert_eq!(
        capability("Name:\tx\nCapEff:\t0000000000000000\n"),
        Some(Capability::Missing)
    );
    // Bit 9 and bit 11 are others.
    assert_eq!(
        capability("CapEff:\t0000000000000a00\n"),
        Some(Capability::Missing)
    );
    for status in [
        "",
        "CapEff",
        "CapEff:",
        "CapEff:\tmany",
        "CapPrm:\t0000000000000000",
    ] {
        assert_eq!(capability(status), None, "{status:?}");
    }
    assert_eq!(has_seccomp_filter("Seccomp:\t2\n"), Some(true));
    assert_eq!(
        has_seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t0\n"),
        Some(false)
    );
    assert_eq!(has_seccomp_filter("Seccomp_filters:\t2\n"), None);
}

#[test]
fn user_namespace_maps_uids() {
    let rootless = "         0       1000          1\n         1     100000      65536\n";
    assert!(maps(rootless, 0) && maps(rootless, 1) && maps(rootless, 65_536));
    assert!(!maps(rootless, 65_537));
    assert!(maps("0 0 4294967295", 65_534));
    let single = "1000 65534 1";
    assert!(maps(single, 1000) && !maps(single, 0) && !maps(single, 1001) && !maps(single, 65_534));
    for map in ["", "0", "0 0", "zero 0 1", "0 0 many"] {
        assert!(!maps(map, 0), "{map:?}");
    }
}

#[test]
fn foreign_network_namespace_owner_is_unnamed() {
    let (rootless, unknown) = ("0 1000 1", Some(65_534));
    assert!(is_of_another(65_534, rootless, unknown));
    assert!(!is_of_another(0, rootless, unknown));
    // The number is another's as well where so many are mapped.
    let many = "0 100000 65536";
    assert!(is_of_another(65_534, many, unknown));
    assert!(!is_of_another(0, many, unknown) && !is_of_another(1000, many, unknown));
    // Without the number that stands in for unmapped users.
    assert!(is_of_another(65_534, rootless, None) && !is_of_another(0, rootless, None));
    // A root is what owns a network namespace.
    assert!(!is_of_another(65_534, "1000 1000 1", unknown));
}

#[test]
fn kernel_without_ipv6_lacks_ipv6_tables() {
    let error = |kind| Err::<(), _>(io::Error::from(kind));
    assert_eq!(has_ipv6(&Ok(())), Some(true));
    assert_eq!(has_ipv6(&error(io::ErrorKind::NotFound)), Some(false));
    assert_eq!(has_ipv6(&error(io::ErrorKind::PermissionDenied)), None);
}

#[test]
fn sock_diag_request_has_kernel_size() {
    let request = sock_diag::request(true, Protocol::Tcp, SocketFilter::AcceptClients, 8080);
    // struct nlmsghdr and struct inet_diag_req_v2.
    assert_eq!(request.len(), 16 + 56);
    let (asked, cookie) = request[16..].split_at(48);
    assert_eq!(asked[..4], [10, 6, 0, 0]);
    assert_eq!(asked[4..8], (1u32 << 10).to_ne_bytes());
    assert_eq!(asked[8..10], 8080u16.to_be_bytes());
    assert!(asked[10..].iter().all(|byte| *byte == 0));
    assert!(cookie.iter().all(|byte| *byte == 0xff));
}

#[test]
fn dump_that_ends_in_error_fails() {
    let done = |error: i32| {
        let mut message = 20u32.to_ne_bytes().to_vec();
        message.extend(3u16.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(error.to_ne_bytes());
        message
    };
    let answers = |datagram: &[u8]| -> Vec<bool> {
        let messages = netlink::messages(datagram);
        messages
            .map(|(message, _)| matches!(message, netlink::Message::Done))
            .collect()
    };
    assert_eq!(answers(&done(0)), [true]);
    // ENOENT, where the kernel has no table of the protocol.
    assert_eq!(answers(&done(-2)), [false]);
}

proptest! {
    #[test]
    fn truncated_line_is_dropped(cut in 0..150usize) {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 4711 1 0";
        let cut = line.get(..cut.min(line.len())).expect("ASCII");
        if let Some(row) = socket(Protocol::Tcp, cut) {
            prop_assert_eq!((row.port, row.uid, row.inode), (8080, Some(33), 4711));
        }
    }
}
