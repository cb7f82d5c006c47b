//! To look into another network namespace.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Moves the only thread of this process into the network namespace of a process, or into one of
/// `ip netns`.
pub(crate) fn enter(name: &str) -> Result<(), String> {
    let path = match name.parse::<u32>() {
        Ok(pid) => format!("/proc/{pid}/ns/net"),
        // The directory of ip-netns(8). A name is not a path.
        Err(_) if !name.contains('/') => format!("/run/netns/{name}"),
        Err(_) => {
            return Err(format!(
                "`{name}` is neither a process id nor a name of `ip netns`"
            ));
        }
    };
    let failed =
        |err: std::io::Error| format!("cannot enter the network namespace `{name}`: {err}");
    let file = File::open(path).map_err(failed)?;
    let entered = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
    entered.map_err(|err| failed(err.into()))
}
