//! A list: what is read is written and read back, and each mistake has its place.
#![no_main]

use bindaddr::{ListenAddr, ListenAddrs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(addrs) = ListenAddrs::from_hosts(text, 443) {
        assert!(
            addrs.iter().all(|addr| addr.ports() == (443..=443)),
            "{text:?}"
        );
        assert_eq!(addrs.to_string().parse().as_ref(), Ok(&addrs), "{text:?}");
    }
    match text.parse::<ListenAddrs>() {
        Ok(addrs) => {
            assert!(!addrs.as_slice().is_empty());
            assert_eq!(
                addrs.to_string().parse::<ListenAddrs>().as_ref(),
                Ok(&addrs),
                "{text:?}"
            );
            // Each is read by itself as it is in the list.
            for addr in &addrs {
                assert_eq!(addr.to_string().parse::<ListenAddr>().as_ref(), Ok(addr));
            }
        }
        Err(err) => {
            assert!(!err.to_string().contains(char::is_control), "{err:?}");
            for fault in err.errors() {
                let end = fault.offset() + fault.error().text().len();
                assert_eq!(
                    text.get(fault.offset()..end),
                    Some(fault.error().text()),
                    "{text:?}"
                );
            }
        }
    }
});
