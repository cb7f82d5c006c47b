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

/// Returns a file or an environment variable that a container engine has left; `None` if no trace is
/// visible, which does not mean that there is no container.
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
    fn container_marker_is_a_known_trace() {
        let markers = ["/.dockerenv", "/run/.containerenv", "container", KUBERNETES];
        assert!(container_marker().is_none_or(|marker| markers.contains(&marker)));
    }
}
