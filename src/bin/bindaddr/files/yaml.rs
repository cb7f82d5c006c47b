//! The values of a YAML file, and of a JSON file, which is YAML with fewer ways to write it (YAML 1.2, section 1.3).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::{FileError, Scalar, Step, Value};

/// What aliases may add up to.
const MOST: usize = 100_000;

pub(super) fn values_of_json(content: &str) -> Result<Vec<Value>, FileError> {
    // What is YAML and not JSON is an error.
    let checked: Result<serde_json::Value, _> = serde_json::from_str(content);
    checked.map_err(|err| FileError::at(err.line(), reason(&err)))?;
    values(content)
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
    let mut reader = Reader::default();
    for event in Parser::new_from_str(content) {
        let (event, span) = event.map_err(|err| error(&err))?;
        reader.read(event, span.start.line())?;
    }
    Ok(reader.values)
}

fn error(err: &ScanError) -> FileError {
    FileError::at(err.marker().line(), err.info())
}

#[derive(Default)]
struct Reader {
    values: Vec<Value>,
    path: Vec<Step>,
    open: Vec<Open>,
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
                self.enter();
                if let Some((depth, anchored)) = self.anchors.get(&anchor) {
                    if self.values.len() + anchored.len() > MOST {
                        return Err(FileError::at(line, "its aliases stand for too much"));
                    }
                    let copies = anchored.iter().map(|value| Value {
                        path: [&self.path[..], &value.path[*depth..]].concat(),
                        // That of the alias: it is there that the value is used.
                        line,
                        scalar: value.scalar.clone(),
                    });
                    self.values.extend(copies);
                }
                self.leave();
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, line, Open::Sequence(0))?,
            Event::MappingStart(anchor, _) => self.begin(anchor, line, Open::Mapping(true))?,
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
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
        number if is_plain && number.parse::<i64>().is_ok() => Scalar::Number(number.to_owned()),
        text => Scalar::Text(text.to_owned()),
    }
}
