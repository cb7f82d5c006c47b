//! `bind` against the Linux kernel, in situations that only a namespace of one's own has.
#![cfg(target_os = "linux")]

mod classes;
mod interfaces;
mod ports;
mod properties;
#[path = "../util/mod.rs"]
mod util;
mod v6only;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use bindaddr::addr::Family;
use bindaddr::diagnosis::Step;
use bindaddr::interfaces::Interface;
use bindaddr::target::GroupAddr;
use bindaddr::update::StdSocket;
use bindaddr::{
    BindError, BindOptions, BindTarget, Cause, Exposure, Interfaces, ListenAddr, Listeners, bind,
    bind_udp,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use socket2::Socket;
use util::netns::{in_namespace, in_namespace_of, ip, ip_batch, set};
use util::{features, rerun, sandbox};

/// An interface `eth0` with a cable, so that its addresses are usable.
fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

#[track_caller]
fn fails(text: &str) -> BindError {
    bind(text).expect_err(text)
}

/// The whole sentence, and the code of the system's error behind it.
#[track_caller]
fn assert_fails(text: &str, code: Option<i32>, cause: &str) {
    let err = fails(text);
    assert_eq!(err.to_string(), format!("cannot listen on {text}: {cause}"));
    assert_eq!(err.raw_os_error(), code, "{text}");
    assert_eq!(err.source().is_some(), code.is_some());
}

const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;
