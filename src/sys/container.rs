//! The traces that container engines leave.

use std::env;
use std::fs;

/// Kubernetes sets it in every container (its documentation, "Service", under "Discovering
/// services").
const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Returns `true` if this process runs in a container of a Kubernetes pod.
pub(crate) fn is_pod() -> bool {
    env::var_os(KUBERNETES).is_some()
}

/// Returns `true` if this process runs in a container that is like a host of its own, with an init
/// and services: LXC and what is built on it, systemd-nspawn, `OpenVZ`.
pub(crate) fn is_system_container() -> bool {
    // systemd's container interface: the variable of PID 1 and what systemd keeps of it.
    let variable = env::var("container").ok();
    let files = ["/run/systemd/container", "/run/host/container-manager"];
    let kept = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let systems = [
        "lxc",
        "lxc-libvirt",
        "systemd-nspawn",
        "openvz",
        "lxd",
        "incus",
    ];
    variable
        .into_iter()
        .chain(kept)
        .any(|kind| systems.contains(&kind.trim()))
}

/// Returns `true` if this is WSL2, whose kernel is Microsoft's.
pub(crate) fn is_wsl() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.is_ok_and(|release| release.contains("microsoft"))
}

/// Returns a file or an environment variable that a container engine has left; `None` if no trace
/// is visible, which does not mean that there is no container.
pub(crate) fn container_marker() -> Option<&'static str> {
    // Docker, Podman.
    let files = ["/.dockerenv", "/run/.containerenv"];
    let file = files
        .into_iter()
        .find(|file| fs::exists(file).unwrap_or(false));
    // systemd's container interface, which engines implement, and Kubernetes.
    let variables = ["container", KUBERNETES];
    let is_set = |variable: &&str| env::var_os(variable).is_some();
    file.or_else(|| variables.into_iter().find(is_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_marker_is_recognized() {
        let markers = ["/.dockerenv", "/run/.containerenv", "container", KUBERNETES];
        assert!(container_marker().is_none_or(|marker| markers.contains(&marker)));
    }
}
