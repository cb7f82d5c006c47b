//! The processes of a running server, by what an operator calls it.

use std::collections::HashSet;
use std::fs;
use std::io;

use bindaddr::check::RunningServer;

/// A process, as far as it matters here.
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    /// Whether a cgroup above it is the unit.
    is_of_unit: bool,
}

/// Reads the sockets of the servers called `names`: by process id, by unit or by the name of a
/// process.
pub(crate) fn servers(names: &[String]) -> Result<Option<RunningServer>, String> {
    if names.is_empty() {
        return Ok(None);
    }
    // A process may end while it is looked at.
    let mut attempts = 3;
    loop {
        let mut pids = HashSet::new();
        for name in names {
            let found =
                processes(name).map_err(|err| format!("cannot list the processes: {err}"))?;
            if found.is_empty() {
                return Err(match name.parse::<u32>() {
                    Ok(pid) => format!("no process has the id {pid}"),
                    Err(_) if is_unit(name) => format!("no process of `{name}` is running"),
                    Err(_) => format!("no process is named `{name}`"),
                });
            }
            pids.extend(found);
        }
        attempts -= 1;
        match RunningServer::of_processes(pids) {
            Ok(server) => return Ok(Some(server)),
            Err(err) if err.kind() == io::ErrorKind::NotFound && attempts > 0 => {}
            Err(err) => {
                let names = names.join("`, `");
                return Err(match err.kind() {
                    io::ErrorKind::PermissionDenied => {
                        format!("only root can see which sockets `{names}` has open")
                    }
                    _ => format!("cannot read which sockets `{names}` has open: {err}"),
                });
            }
        }
    }
}

fn is_unit(name: &str) -> bool {
    let kinds = [".service", ".scope", ".slice"];
    kinds.iter().any(|kind| name.ends_with(kind))
}

/// Returns the processes with a name, and those that descend from them.
fn processes(name: &str) -> io::Result<HashSet<u32>> {
    let own = std::process::id();
    let pid: Option<u32> = name.parse().ok();
    let is_unit = is_unit(name);
    let all = read_all(is_unit.then_some(name))?;
    let is_named = |process: &Process| match pid {
        Some(pid) => process.pid == pid,
        None if is_unit => process.is_of_unit,
        // The kernel keeps 15 bytes of it.
        None => process.name == name.get(..15).unwrap_or(name),
    };
    let named = all
        .iter()
        .filter(|process| is_named(process) && process.pid != own);
    let mut found: HashSet<u32> = named.map(|process| process.pid).collect();
    // Parents have a smaller number than their children only as long as numbers are not used again.
    loop {
        let is_new =
            |process: &&Process| found.contains(&process.parent) && !found.contains(&process.pid);
        let children: Vec<u32> = all
            .iter()
            .filter(is_new)
            .map(|process| process.pid)
            .collect();
        if children.is_empty() {
            // This command may descend from what it is asked about.
            found.remove(&own);
            return Ok(found);
        }
        found.extend(children);
    }
}

fn read_all(unit: Option<&str>) -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended by now.
        all.extend(read(pid, unit));
    }
    Ok(all)
}

fn read(pid: u32, unit: Option<&str>) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name is in parentheses and may have any character, in any encoding (proc_pid_stat(5)).
    let (head, fields) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // A process that has ended has no sockets.
    if ["Z", "X"].contains(&state) {
        return None;
    }
    let is_of_unit = unit.is_some_and(|unit| {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let mut paths = cgroups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2));
        paths.any(|path| path.split('/').any(|name| name == unit))
    });
    Some(Process {
        pid,
        parent,
        name: name.to_owned(),
        is_of_unit,
    })
}
