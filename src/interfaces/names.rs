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
        let (first, rest) = self.0.split_at(self.0.len().min(8));
        match first.len() {
            0 => return f.write_str("there is none"),
            1 => f.write_str("there is ")?,
            _ => f.write_str("there are ")?,
        }
        for (n, name) in first.iter().enumerate() {
            let joint = if n == 0 { "" } else { ", " };
            write!(f, "{joint}`{}`", name.escape_debug())?;
        }
        if !rest.is_empty() {
            write!(f, " and {} more", rest.len())?;
        }
        Ok(())
    }
}
