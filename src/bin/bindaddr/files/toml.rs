//! The values of a TOML file.

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::{FileError, Scalar, Step, Value};

pub(super) fn values(content: &str) -> Result<Vec<Value>, FileError> {
    let table = DeTable::parse(content).map_err(|err| error(content, &err))?;
    let mut values = Vec::new();
    add_table(content, table.get_ref(), &mut Vec::new(), &mut values);
    // As the lines are counted once.
    values.sort_by_key(|value| value.line);
    let (mut line, mut counted) = (1, 0);
    for value in &mut values {
        line += lines_in(content, counted..value.line);
        counted = value.line;
        value.line = line;
    }
    Ok(values)
}

fn lines_in(content: &str, bytes: std::ops::Range<usize>) -> usize {
    let part = content.get(bytes).unwrap_or_default();
    part.matches('\n').count()
}

/// Writes an error with its line, which is not shown itself, because it may have a password.
fn error(content: &str, err: &Error) -> FileError {
    let start = err.span().map_or(0, |span| span.start);
    FileError::at(1 + lines_in(content, 0..start), err.message())
}

/// Adds the values of a table, each with its place in the file in place of the line.
fn add_table(content: &str, table: &DeTable<'_>, path: &mut Vec<Step>, values: &mut Vec<Value>) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        add(content, value, path, values);
        path.pop();
    }
}

fn add(content: &str, value: &Spanned<DeValue<'_>>, path: &mut Vec<Step>, values: &mut Vec<Value>) {
    let scalar = match value.get_ref() {
        DeValue::Table(table) if !table.is_empty() => {
            return add_table(content, table, path, values);
        }
        DeValue::Array(array) if !array.is_empty() => {
            for (index, value) in array.iter().enumerate() {
                path.push(Step::Index(index));
                add(content, value, path, values);
                path.pop();
            }
            return;
        }
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Integer(_) => {
            let written = content.get(value.span()).and_then(integer);
            written.map_or(Scalar::Other, |number| Scalar::Number(number.to_string()))
        }
        _ => Scalar::Other,
    };
    values.push(Value {
        path: path.clone(),
        line: value.span().start,
        scalar,
    });
}

/// Reads an integer as it is written, such as `0x1F90` or `8_080`.
fn integer(written: &str) -> Option<i64> {
    let digits = written.replace('_', "");
    let of_radix =
        |prefix: &str, radix| i64::from_str_radix(digits.strip_prefix(prefix)?, radix).ok();
    let other = of_radix("0x", 16).or_else(|| of_radix("0o", 8));
    other
        .or_else(|| of_radix("0b", 2))
        .or_else(|| digits.parse().ok())
}
