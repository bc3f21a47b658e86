//! Data on stdout: buffered, without a lock a line, and with its failures told apart.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use serde_json::{Value, json};
use tierlog::Damage;

use crate::exit::Ending;
use crate::plain::{shown, write_json};

/// A pipe holds 64 KiB; a few of them at once keep `read` out of the kernel's way.
const BUFFER: usize = 256 * 1024;

/// Stdout. `std::io::stdout` breaks at each newline, which costs a scan of every byte read.
#[derive(Debug)]
pub(crate) struct Output {
    to: BufWriter<File>,
}

impl Output {
    pub(crate) fn stdout() -> Result<Self, Ending> {
        let owned = io::stdout().as_fd().try_clone_to_owned();
        let file = File::from(owned.map_err(|error| Ending::output(&error))?);
        Ok(Self {
            to: BufWriter::with_capacity(BUFFER, file),
        })
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.to.write_all(bytes).map_err(|e| Ending::output(&e))
    }

    /// A line of text for people.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<(), Ending> {
        let line = line.to_string();
        writeln!(self.to, "{}", shown(&line)).map_err(|e| Ending::output(&e))
    }

    /// A line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Ending> {
        write_json(&mut self.to, value)
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(|e| Ending::output(&e))
    }

    /// Sends what is buffered. What is dropped instead is lost, so that a closed pipe never turns
    /// into a late panic.
    pub(crate) fn flush(&mut self) -> Result<(), Ending> {
        self.to.flush().map_err(|e| Ending::output(&e))
    }
}

/// Columns for people; what is a number stands to the right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned).to_vec()],
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        // Before widths are counted.
        let cells = cells.iter().map(|cell| shown(cell).into_owned());
        self.rows.push(cells.collect());
    }

    pub(crate) fn print(&self, out: &mut Output) -> Result<(), Ending> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        // The head of a column stands as its cells do.
        let right: Vec<bool> = (0..columns)
            .map(|column| {
                let mut cells = self.rows.iter().skip(1).filter_map(|row| row.get(column));
                cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                match right[column] {
                    true => line.extend([gap, &pad, cell]),
                    false => line.extend([gap, cell, &pad]),
                }
            }
            out.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Damage in one line, by the name of its stream.
pub(crate) fn damage_text(stream: &str, damage: &Damage) -> String {
    let Damage {
        segment,
        from,
        to,
        bytes: (start, end),
        what,
        ..
    } = damage;
    format!(
        "stream {stream}, segment {segment}, offsets {from}..{to} (bytes {start}..{end}): {what}"
    )
}

/// The same for scripts.
pub(crate) fn damage_json(stream: &str, damage: &Damage) -> Value {
    let Damage {
        segment,
        from,
        to,
        bytes: (start, end),
        what,
        ..
    } = damage;
    json!({
        "stream": stream, "segment": segment, "from": from, "to": to, "bytes": [start, end],
        "what": what,
    })
}

/// `3.0 MB`, in the units that disks are sold in.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.into_iter().find(|(_, unit)| bytes as f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} B"),
    }
}

/// `12,345`.
pub(crate) fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `12,345 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count_text(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_read_well() {
        let counts = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (count, text) in counts {
            assert_eq!(count_text(count), text);
        }
        for (count, text) in [(0, "0 records"), (1, "1 record"), (1_000, "1,000 records")] {
            assert_eq!(counted(count, "record"), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (3_000_618, "3.0 MB"),
            (2 << 30, "2.1 GB"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
    }
}
