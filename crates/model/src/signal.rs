//! Signals by name and number (signal(7)).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A signal of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// Names in the order of their numbers on x86-64 and arm64, from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal a program may use; the C library keeps 32 and 33.
const REALTIME_MIN: u8 = 34;
/// The last signal.
const REALTIME_MAX: u8 = 64;

impl Signal {
    /// Ends it, without a chance to tidy up.
    pub const KILL: Signal = Signal(9);
    /// Asks it to end.
    pub const TERM: Signal = Signal(15);

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The signal a container is asked to end with; SIGTERM when `name` is empty.
    pub fn or_term(name: &str) -> Result<Self> {
        if name.is_empty() { Ok(Signal::TERM) } else { name.parse() }
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN`, `RTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = name.parse::<u8>().ok().or_else(|| named(name)).or_else(|| realtime(name));
        number.filter(|n| (1..=REALTIME_MAX).contains(n)).map(Signal).ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a signal"))
                .next("write a name such as SIGTERM or a number from 1 to 64")
        })
    }
}

fn named(name: &str) -> Option<u8> {
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number)
}

fn realtime(name: &str) -> Option<u8> {
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        REALTIME_MIN.checked_add(offset(rest, '+')?)?
    } else {
        REALTIME_MAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (REALTIME_MIN..=REALTIME_MAX).contains(&number).then_some(number)
}

fn offset(text: &str, sign: char) -> Option<u8> {
    if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse().ok() }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("SIGWINCH", 28),
            ("CLD", 17),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-14", 50),
            ("RTMAX", 64),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+31", "RTMIN3", "RTMAX+1", "-9", "300"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
        assert_eq!(Signal::or_term("").unwrap(), Signal::TERM);
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
    }
}
