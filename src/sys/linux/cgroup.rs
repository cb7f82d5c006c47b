//! The units of systemd, which are cgroups (cgroups(7), systemd.unit(5)).

use std::fs;
#[cfg(unix)]
use std::path::Path;

use crate::map::Map;

/// Returns the unit of each cgroup that is one, or is below one, by the number that the kernel has
/// for it.
#[cfg(unix)]
pub(crate) fn units() -> Map<u64, String> {
    let mut units = Map::new();
    // The second is used if cgroups of the first version are mounted as well.
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if Path::new(root).join("cgroup.controllers").exists() {
            add_units(Path::new(root), None, &mut units);
            break;
        }
    }
    units
}

/// No other system has cgroups.
#[cfg(not(unix))]
pub(crate) fn units() -> Map<u64, String> {
    Map::new()
}

#[cfg(unix)]
fn add_units(directory: &Path, above: Option<&str>, units: &mut Map<u64, String>) {
    use std::os::unix::fs::MetadataExt as _;

    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let unit = if is_unit(&name) { Some(&*name) } else { above };
    if let (Some(unit), Ok(metadata)) = (unit, fs::metadata(directory)) {
        units.insert(metadata.ino(), unit.to_owned());
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_units(&entry.path(), unit, units);
        }
    }
}

/// Returns the unit that a process belongs to; `None` if it belongs to none, or that cannot be
/// read.
pub(crate) fn unit_of(pid: u32) -> Option<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let paths = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2));
    let mut units = paths.filter_map(|path| path.split('/').rfind(|name| is_unit(name)));
    units.next().map(str::to_owned)
}

/// Returns `true` for the units that have processes; a slice has units below it, and systemd itself
/// is in `init.scope`.
fn is_unit(name: &str) -> bool {
    let of_processes = [".service", ".scope"];
    of_processes.iter().any(|kind| name.ends_with(kind)) && name != "init.scope"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_is_a_service_or_a_scope() {
        assert!(is_unit("nginx.service") && is_unit("docker-0123.scope"));
        assert!(!is_unit("system.slice") && !is_unit("init.scope") && !is_unit("nginx"));
    }
}
