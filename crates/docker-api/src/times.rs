//! Times in queries: seconds since 1970, with a fraction or without, RFC 3339, and days.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::Time;

use crate::failure::{Failure, Reply};
use crate::filters::Filters;

/// Reads a time; none for an empty text and for 0.
pub(crate) fn time(text: &str) -> Reply<Option<Time>> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    let wrong = || Failure::bad(format!("failed to parse value as time or duration: {text:?}"));
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(Some(Time(stamp)));
    }
    // A day, or a time of a day, as this machine's clocks show it. A number alone is seconds.
    if text.contains('-')
        && let Ok(day) = text.parse::<jiff::civil::DateTime>()
    {
        let stamp = day.to_zoned(TimeZone::system()).map_err(|_| wrong())?;
        return Ok(Some(Time(stamp.timestamp())));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    if fraction.len() > 9 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let nanoseconds = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(Some(Time::from_unix(seconds, nanoseconds)))
}

/// The filter `until`: a time, or a span before now as Go writes it (`24h`).
pub(crate) fn until(filters: &Filters) -> Reply<Option<Time>> {
    let [text] = filters.all("until") else {
        return match filters.all("until").len() {
            0 => Ok(None),
            _ => Err(Failure::bad("more than one until filter specified")),
        };
    };
    match span(text) {
        Some(span) => Ok(Timestamp::now().checked_sub(span).ok().map(Time)),
        None => time(text),
    }
}

/// `1h30m`, `10s`, `1.5h`.
pub(crate) fn span(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| std::time::Duration::try_from_secs_f64(sum).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn forms() {
        let read = |text: &str| time(text).unwrap().map(|time| time.to_string());
        assert_eq!(read("1.5").unwrap(), "1970-01-01T00:00:01.5Z");
        assert_eq!(read("1700000000.000000001").unwrap(), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(read("2023-11-14T22:13:20Z").unwrap(), "2023-11-14T22:13:20Z");
        assert_eq!(read("0"), None);
        assert!(time("x").is_err() && time("1.x").is_err());
        assert_eq!(span("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(span("5"), None);
    }
}
