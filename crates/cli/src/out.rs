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

/// Says what of an instance that runs is not as it was asked.
pub fn warnings(warnings: &[String]) {
    warnings.iter().for_each(|warning| remark(format!("warning: {warning}")));
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
    let width = std::io::stdout().is_terminal().then(crate::terminal::size).flatten();
    let width = width.map(|(width, _)| width);
    table_lines(titles, rows, right, width).iter().for_each(line);
}

/// The lines of a table of at most this width; without one no text is broken.
pub fn table_lines(
    titles: &[&str],
    rows: Vec<Vec<String>>,
    right: &[usize],
    width: Option<u16>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.to_vec());
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for row in rows {
        table.add_row(row.into_iter().map(printable));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|text| text.trim_end().to_owned()).collect()
}

/// What others wrote into a cell must not speak to the terminal.
fn printable(cell: String) -> String {
    let speaks = |c: char| c.is_control() && c != '\n';
    if cell.contains(speaks) { cell.replace(speaks, "\u{fffd}") } else { cell }
}

/// Refuses to write an archive to a terminal.
pub fn not_for_a_terminal() -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Error::invalid("an archive is not for a terminal")
            .next("name a file, or pipe it into another program"));
    }
    Ok(())
}

/// Prints a value as JSON in one line.
pub fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    line(serde_json::to_string(value).map_err(unprintable)?);
    Ok(())
}

/// How long ago something was: `5s`, `3m`, `2h`, `4d`.
pub fn age(since: Time) -> String {
    span(Time::now().since(since).as_secs())
}

fn span(seconds: u64) -> String {
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

/// A share in percent, with the digits that tell something.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 100.0 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
}

/// How long until something is: `5m`; `-` for never, `past` when it was.
pub fn until(time: Option<Time>) -> String {
    let Some(time) = time else { return "-".into() };
    let now = Time::now();
    if time <= now { "past".into() } else { span(time.since(now).as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_its_width_and_aligns_numbers() {
        let rows = || vec![vec!["web".to_owned(), "a b c d e f g h i j k l m".into(), "7".into()]];
        let titles = ["NAME", "TEXT", "COUNT"];
        assert_eq!(
            table_lines(&titles, rows(), &[2], None),
            ["NAME  TEXT                       COUNT", "web   a b c d e f g h i j k l m      7"]
        );
        for text in table_lines(&titles, rows(), &[2], Some(30)) {
            assert!(text.chars().count() <= 30, "{text:?}");
        }
    }

    #[test]
    fn lengths_of_time_and_shares_are_short() {
        for (seconds, text) in [(5, "5s"), (65, "1m"), (7300, "2h"), (200_000, "2d")] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!((percent(0.1234), percent(2.5)), ("12.3%".into(), "250%".into()));
        assert_eq!(until(None), "-");
        assert_eq!(until(Some(Time::from_unix(1, 0))), "past");
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
