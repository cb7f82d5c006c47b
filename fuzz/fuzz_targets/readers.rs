//! Parses data from the kernel: netlink responses and the tables of `/proc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindaddr::fuzzing::readers(bytes));
