//! The decision: from what the host says to the causes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bindaddr::fuzzing::causes(bytes));
