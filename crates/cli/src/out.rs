//! Everything that is written: tables, JSON, YAML and names to standard output, the rest to standard
//! error. A reader that went away (`hull ps | head -1`) is no failure.

use std::io::{IsTerminal, Write};

use comfy_table::presets;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use model::{Error, Result, Time};
use serde::Serialize;

/// How a read is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// One name a line.
    Name,
}

/// Writes a line to standard output.
pub fn line(text: impl AsRef<str>) {
    bytes(format!("{}\n", text.as_ref()).as_bytes());
}

/// Writes bytes to standard output as they are.
pub fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a remark to standard error.
pub fn remark(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Says what went wrong, why, and what to do about it.
pub fn failure(error: &Error) {
    let mut text = format!("hull: {}", error.chain());
    if let Some(field) = error.field() {
        text = format!("{text} ({field})");
    }
    if let Some(next) = error.next_step() {
        text = format!("{text}\n  try: {next}");
    }
    remark(text);
}

/// Whether a person watches standard error.
pub fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Prints a value as JSON or YAML; false for the formats that it has no form of its own for.
pub fn structured<T: Serialize + ?Sized>(format: Format, value: &T) -> Result<bool> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(value).map_err(unprintable)?,
        Format::Yaml => serde_saphyr::to_string(&value).map_err(unprintable)?,
        Format::Table | Format::Name => return Ok(false),
    };
    line(text.trim_end());
    Ok(true)
}

fn unprintable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the answer cannot be printed").caused_by(error)
}

/// Prints a table that fits the terminal. `right` are the columns of numbers.
pub fn table(titles: &[&str], rows: Vec<Vec<String>>, right: &[usize]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.to_vec());
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for text in table.lines() {
        line(text.trim_end());
    }
}

/// How long ago something was: `5s`, `3m`, `2h`, `4d`.
pub fn age(since: Time) -> String {
    let seconds = Time::now().since(since).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The beginning of a text that is too long for a column.
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}
