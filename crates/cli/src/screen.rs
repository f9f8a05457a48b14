//! A view that is drawn again in its place, like that of top(1).

use std::io::IsTerminal;

use crate::{out, terminal};

/// To the top left corner.
const HOME: &str = "\x1b[H";
/// The rest of the line, and the rest of the screen, away.
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";
/// The whole screen away.
const CLEAR: &str = "\x1b[2J";

/// The terminal as a screen.
#[derive(Debug)]
pub struct Screen {
    begun: bool,
}

impl Screen {
    /// The screen, where standard output is a terminal.
    pub fn new() -> Option<Self> {
        std::io::stdout().is_terminal().then_some(Self { begun: false })
    }

    /// Draws a table over what was drawn before. What does not fit is left out, and said.
    pub fn table(&mut self, titles: &[&str], rows: Vec<Vec<String>>, right: &[usize]) {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let lines = out::table_lines(titles, rows, right, Some(width));
        out::bytes(self.frame(&lines, usize::from(height)).as_bytes());
    }

    fn frame(&mut self, lines: &[String], height: usize) -> String {
        let mut frame = String::from(HOME);
        if !self.begun {
            frame = format!("{CLEAR}{HOME}");
            self.begun = true;
        }
        let fitting = if lines.len() < height { lines.len() } else { height.saturating_sub(2) };
        for line in &lines[..fitting] {
            frame.push_str(&format!("{line}{END_OF_LINE}\r\n"));
        }
        if fitting < lines.len() {
            frame.push_str(&format!("… {} more lines{END_OF_LINE}", lines.len() - fitting));
        }
        frame.push_str(END_OF_SCREEN);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_screen() {
        let lines: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        let mut screen = Screen { begun: false };
        let first = screen.frame(&lines, 24);
        assert!(first.starts_with(CLEAR) && first.contains("9"));
        let second = screen.frame(&lines, 5);
        assert!(second.starts_with(HOME));
        assert_eq!(second.matches("\r\n").count(), 3);
        assert!(second.contains("… 7 more lines"));
    }
}
