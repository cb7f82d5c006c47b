//! The names of interfaces: how alike two are, and how several are listed.

use std::fmt;

/// The number of bytes to insert, delete or replace (Levenshtein).
pub(super) fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A clause that lists names, the first eight of them.
pub(crate) struct Listing<'a>(pub(crate) &'a [String]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => f.write_str("none is available"),
            _ => write!(f, "available: {}", Listed(self.0)),
        }
    }
}

/// The first eight of some names or addresses, and how many more there are.
pub(crate) struct Listed<'a>(pub(crate) &'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.0.split_at(self.0.len().min(8));
        for (n, name) in first.iter().enumerate() {
            let joint = if n == 0 { "" } else { ", " };
            write!(f, "{joint}`{}`", name.escape_debug())?;
        }
        match rest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
