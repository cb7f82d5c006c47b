//! The values of a YAML file, and of a JSON file, which is YAML with fewer ways to write it (YAML
//! 1.2, section 1.3).

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::{FileError, Scalar, Step, Value};

/// The most values that aliases may add up to.
const MOST: usize = 100_000;

pub(super) fn values_of_json(content: &str) -> Result<Vec<Value>, FileError> {
    // YAML that is not JSON is an error.
    let checked: Result<serde_json::Value, _> = serde_json::from_str(content);
    checked.map_err(|err| FileError::at(err.line(), reason(&err)))?;
    // `<<` is a key like any other there.
    Ok(read(&without_surrogates(content))?.concat())
}

/// Replaces pairs of surrogates (RFC 8259, section 7), which YAML does not have, by an escape that
/// it has.
fn without_surrogates(content: &str) -> String {
    let unit = |escape: &str| {
        let digits = escape.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let pair = unit(escape).zip(escape.get(6..).and_then(unit));
        let decoded = pair.map(|(high, low)| char::decode_utf16([high, low]).next());
        match decoded {
            // One unit is written as it is.
            Some(Some(Ok(c))) if c > '\u{ffff}' => {
                out.extend([format!("\\U{:08x}", u32::from(c))]);
                rest = &escape[12..];
            }
            _ => {
                // With what it escapes, which may be another `\\`.
                let end = escape
                    .char_indices()
                    .nth(2)
                    .map_or(escape.len(), |(end, _)| end);
                out.push_str(&escape[..end]);
                rest = &escape[end..];
            }
        }
    }
    out + rest
}

/// Returns what is wrong without the place, which stands in front of it.
fn reason(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let place = format!(" at line {} column {}", err.line(), err.column());
    text.trim_end_matches(&place).to_owned()
}

/// Something that has begun and has not ended.
enum Open {
    Sequence(usize),
    /// Whether a key comes next.
    Mapping(bool),
}

pub(super) fn values(content: &str) -> Result<Vec<Value>, FileError> {
    let documents = read(content)?.into_iter();
    Ok(documents.flat_map(merged).collect())
}

/// Returns the values of each document.
fn read(content: &str) -> Result<Vec<Vec<Value>>, FileError> {
    let mut reader = Reader::default();
    let mut documents = Vec::new();
    for event in Parser::new_from_str(content) {
        let (event, span) = event.map_err(|err| error(&err))?;
        if matches!(event, Event::DocumentEnd) {
            documents.push(std::mem::take(&mut reader.values));
        } else {
            reader.read(event, span.start.line())?;
        }
    }
    documents.push(reader.values);
    Ok(documents)
}

/// Puts what `<<` brings into a mapping (the merge key of YAML 1.1) in its place. A key of the
/// mapping itself comes first, then those of the mappings that it merges, in their order.
fn merged(mut values: Vec<Value>) -> Vec<Value> {
    while values.iter().any(|value| Merge::of(&value.path).is_some()) {
        let plain = values
            .iter()
            .filter(|value| Merge::of(&value.path).is_none());
        let own: HashSet<Vec<Step>> = plain
            .flat_map(|value| (1..=value.path.len()).map(|end| value.path[..end].to_vec()))
            .collect();
        let mut first: HashMap<Vec<Step>, Vec<usize>> = HashMap::new();
        for value in &values {
            if let Some(merge) = Merge::of(&value.path) {
                let rank = first.entry(merge.key).or_insert_with(|| merge.rank.clone());
                if merge.rank < *rank {
                    *rank = merge.rank;
                }
            }
        }
        values.retain_mut(|value| match Merge::of(&value.path) {
            None => true,
            Some(merge) => {
                let is_kept = !own.contains(&merge.key) && first[&merge.key] == merge.rank;
                value.path = [&merge.key[..], &value.path[merge.end..]].concat();
                is_kept
            }
        });
    }
    values
}

/// The first merge in a path.
struct Merge {
    /// The path to the mapping, and the key that is merged into it.
    key: Vec<Step>,
    /// The places of the merged mappings in their lists, one for each that merges the next.
    rank: Vec<usize>,
    /// The number of steps up to that key, which is included.
    end: usize,
}

impl Merge {
    fn of(path: &[Step]) -> Option<Self> {
        let is_merge = |step: &Step| matches!(step, Step::Key(key) if key == "<<");
        let begin = path.iter().position(is_merge)?;
        let mut at = begin;
        let mut rank = Vec::new();
        while path.get(at).is_some_and(is_merge) {
            at += 1;
            // Each of several mappings has an index.
            rank.push(match path.get(at) {
                Some(Step::Index(index)) => {
                    at += 1;
                    *index
                }
                _ => 0,
            });
        }
        // A scalar merges nothing.
        let key = path.get(at).cloned().unwrap_or(Step::Index(0));
        Some(Self {
            key: [&path[..begin], &[key]].concat(),
            rank,
            end: path.len().min(at + 1),
        })
    }
}

fn error(err: &ScanError) -> FileError {
    FileError::at(err.marker().line(), err.info())
}

#[derive(Default)]
struct Reader {
    values: Vec<Value>,
    path: Vec<Step>,
    open: Vec<Open>,
    /// How many values were read before each of them.
    begun_at: Vec<usize>,
    /// The values below each anchor, with how long the path to it is.
    anchors: HashMap<usize, (usize, Vec<Value>)>,
    /// The anchors that have begun: their number, the depth, the first value.
    begun: Vec<(usize, usize, usize)>,
}

impl Reader {
    fn read(&mut self, event: Event<'_>, line: usize) -> Result<(), FileError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                if let Some(Open::Mapping(is_key @ true)) = self.open.last_mut() {
                    *is_key = false;
                    if anchor != 0 {
                        let value = Value {
                            path: Vec::new(),
                            line,
                            scalar: scalar(&text, style),
                        };
                        self.anchors.insert(anchor, (0, vec![value]));
                    }
                    self.path.push(Step::Key(text.into_owned()));
                    return Ok(());
                }
                self.enter();
                let value = Value {
                    path: self.path.clone(),
                    line,
                    scalar: scalar(&text, style),
                };
                if anchor != 0 {
                    let anchored = (self.path.len(), vec![value.clone()]);
                    self.anchors.insert(anchor, anchored);
                }
                self.values.push(value);
                self.leave();
            }
            Event::Alias(anchor) => {
                let Some((depth, anchored)) = self.anchors.get(&anchor) else {
                    return Err(FileError::at(line, "an alias has no anchor before it"));
                };
                if let Some(Open::Mapping(is_key @ true)) = self.open.last_mut() {
                    let key = match &anchored[..] {
                        [
                            Value {
                                scalar: Scalar::Text(key) | Scalar::Number(key),
                                ..
                            },
                        ] => key.clone(),
                        _ => return Err(FileError::at(line, "a key has to be a text")),
                    };
                    *is_key = false;
                    self.path.push(Step::Key(key));
                    return Ok(());
                }
                if self.values.len() + anchored.len() > MOST {
                    return Err(FileError::at(line, "its aliases add up to too much"));
                }
                let (depth, anchored) = (*depth, anchored.clone());
                self.enter();
                let copies = anchored.into_iter().map(|value| Value {
                    path: [&self.path[..], &value.path[depth..]].concat(),
                    // The line of the alias, where the value is used.
                    line,
                    scalar: value.scalar,
                });
                self.values.extend(copies);
                self.leave();
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, line, Open::Sequence(0))?,
            Event::MappingStart(anchor, _) => self.begin(anchor, line, Open::Mapping(true))?,
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                // One that is empty is a value as well.
                if self.begun_at.pop() == Some(self.values.len()) {
                    self.values.push(Value {
                        path: self.path.clone(),
                        line,
                        scalar: Scalar::Other,
                    });
                }
                if let Some((anchor, depth, first)) = self.begun.last().copied() {
                    if depth == self.open.len() {
                        self.begun.pop();
                        let anchored = self.values[first..].to_vec();
                        self.anchors.insert(anchor, (self.path.len(), anchored));
                    }
                }
                self.leave();
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, line: usize, open: Open) -> Result<(), FileError> {
        if let Some(Open::Mapping(true)) = self.open.last() {
            return Err(FileError::at(line, "a key has to be a text"));
        }
        self.enter();
        if anchor != 0 {
            self.begun
                .push((anchor, self.open.len(), self.values.len()));
        }
        self.open.push(open);
        self.begun_at.push(self.values.len());
        Ok(())
    }

    /// Begins a value: one of a sequence has its index.
    fn enter(&mut self) {
        if let Some(Open::Sequence(next)) = self.open.last_mut() {
            self.path.push(Step::Index(*next));
            *next += 1;
        }
    }

    /// Ends a value: its key or its index is over.
    fn leave(&mut self) {
        if let Some(open) = self.open.last_mut() {
            self.path.pop();
            if let Open::Mapping(is_key) = open {
                *is_key = true;
            }
        }
    }
}

/// Reads a scalar by the core schema (YAML 1.2, section 10.3.2).
fn scalar(text: &str, style: ScalarStyle) -> Scalar {
    let is_plain = style == ScalarStyle::Plain;
    match text {
        "" | "~" | "null" | "Null" | "NULL" | "true" | "True" | "TRUE" | "false" | "False"
        | "FALSE"
            if is_plain =>
        {
            Scalar::Other
        }
        text if is_plain => match integer(text) {
            Some(number) => Scalar::Number(number.to_string()),
            // A float. One that JSON writes has a digit behind the point.
            None if text.parse::<f64>().is_ok() => Scalar::Other,
            None => Scalar::Text(text.to_owned()),
        },
        text => Scalar::Text(text.to_owned()),
    }
}

fn integer(text: &str) -> Option<i64> {
    let digits = |prefix: &str, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    let other = digits("0x", 16).or_else(|| digits("0o", 8));
    other.or_else(|| text.parse().ok())
}
