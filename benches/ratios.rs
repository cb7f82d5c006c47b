//! Writes the medians of the last run of the benchmarks as a table, each row of ours beside its
//! peers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn main() {
    let root = std::env::args().nth(1);
    let root = PathBuf::from(root.unwrap_or_else(|| "target/criterion".to_owned()));
    let mut medians = BTreeMap::new();
    collect(&root, &mut medians);
    println!("| | ours | beside it | ratio |\n|---|---|---|---|");
    for (id, ours) in &medians {
        let parts: Vec<&str> = id.split('/').collect();
        let Some(at) = parts.iter().position(|part| *part == "ours") else {
            continue;
        };
        let peers = medians.iter().filter_map(|(other, median)| {
            let theirs: Vec<&str> = other.split('/').collect();
            let differs: Vec<usize> = (0..parts.len())
                .filter(|n| theirs.get(*n) != Some(&parts[*n]))
                .collect();
            let is_peer = theirs.len() == parts.len() && differs == [at];
            is_peer.then(|| (theirs[at].to_owned(), *median))
        });
        let (names, ratios): (Vec<String>, Vec<String>) = peers
            .map(|(name, median)| {
                (
                    format!("{name}: {}", time(median)),
                    format!("{:.2}", ours / median),
                )
            })
            .unzip();
        let row = parts
            .iter()
            .filter(|part| **part != "ours")
            .copied()
            .collect::<Vec<_>>();
        let (names, ratios) = (names.join("; "), ratios.join("; "));
        println!(
            "| {} | {} | {names} | {ratios} |",
            row.join(", "),
            time(*ours)
        );
    }
}

/// Reads the median of each benchmark below `dir`, in nanoseconds, by its full name.
fn collect(dir: &Path, medians: &mut BTreeMap<String, f64>) {
    let read = |name: &str| -> Option<Value> {
        let text = fs::read_to_string(dir.join(name)).ok()?;
        serde_json::from_str(&text).ok()
    };
    if dir.ends_with("new") {
        let id = read("benchmark.json").and_then(|id| Some(id["full_id"].as_str()?.to_owned()));
        let estimates = read("estimates.json");
        let median = estimates.and_then(|found| found["median"]["point_estimate"].as_f64());
        medians.extend(id.zip(median));
        return;
    }
    let entries = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map_while(Result::ok);
    for path in entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
    {
        collect(&path, medians);
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
