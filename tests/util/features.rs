//! Kernel features that a test depends on, probed instead of concluded from a version number.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Returns `true` if the size of `/proc/PID/fd` is the number of open descriptors, which is always
/// 0 before Linux 6.2 (`f1f1f2569901`).
pub(crate) fn counts_descriptors() -> bool {
    let fd = std::fs::metadata("/proc/self/fd").expect("/proc is mounted");
    fd.len() > 0
}

/// Returns `true` if the lowest address of an IPv4 subnet is a broadcast address, as before Linux
/// 5.14 (`58fee5fc8365`), and with it 127.0.0.0. Without `SO_BROADCAST` connect(2) refuses one.
pub(crate) fn lowest_is_broadcast() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let connected = socket.connect("127.0.0.0:9");
    connected.is_err_and(|err| err.raw_os_error() == Some(libc::EACCES))
}

/// Returns `true` if a `sock_diag` dump lists TCP sockets that are bound and neither listen nor
/// connect, as it does since Linux 6.8 (`91051f003948`).
pub(crate) fn lists_bound_sockets() -> bool {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const TCPF_BOUND_INACTIVE: u32 = 1 << 13;
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
    let any_port = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    bound.bind(&any_port.into()).expect("a free port");

    // struct nlmsghdr of linux/netlink.h, then struct inet_diag_req_v2 of linux/inet_diag.h,
    // whose filter by address and port is all zeros and matches every socket.
    let mut request = [0; 72];
    request[..4].copy_from_slice(&72_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    request[6..8].copy_from_slice(&u16::try_from(flags).expect("16 bits").to_ne_bytes());
    request[16] = u8::try_from(libc::AF_INET).expect("8 bits");
    request[17] = u8::try_from(libc::IPPROTO_TCP).expect("8 bits");
    request[20..24].copy_from_slice(&TCPF_BOUND_INACTIVE.to_ne_bytes());
    let netlink = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    );
    let mut netlink = netlink.expect("a netlink socket");
    netlink.send(&request).expect("sock_diag accepts a request");
    let mut response = [0; 4096];
    let len = netlink.read(&mut response).expect("sock_diag responds");
    // The type of the first message: a socket, or the end of an empty dump.
    response[..len].get(4..6) == Some(&SOCK_DIAG_BY_FAMILY.to_ne_bytes())
}
