//! A terminal for a program under test, and a person at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

use crate::node::PATIENCE;

/// Written to the terminal once its program has ended.
const END: u8 = 0;

/// A program with a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    /// The person's side.
    keyboard: File,
    /// The program's side, kept open so that it can be looked at afterwards.
    line: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of what was seen has been expected already.
    passed: usize,
}

impl Terminal {
    /// Starts a command at a terminal of this size.
    ///
    /// # Errors
    /// When there is no terminal to be had, or no setsid(1).
    pub fn open(command: &Command, columns: u16, rows: u16) -> Result<Self> {
        let person = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        rustix::pty::grantpt(&person)?;
        rustix::pty::unlockpt(&person)?;
        let name = rustix::pty::ptsname(&person, Vec::new())?;
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        rustix::termios::tcsetwinsize(&line, size(columns, rows))?;
        let end = || Ok::<_, std::io::Error>(Stdio::from(line.try_clone()?));
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_remove("HULL_HOST")
            .env("TERM", "xterm")
            .stdin(end()?)
            .stdout(end()?)
            .stderr(end()?)
            .spawn()
            .context("setsid cannot be started")?;
        let keyboard = File::from(person);
        let seen = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let (mut screen, seen) = (keyboard.try_clone()?, seen.clone());
            move || watch(&mut screen, &seen)
        });
        Ok(Self { child, keyboard, line, seen, passed: 0 })
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn send(&mut self, keys: &str) {
        if let Err(error) = self.keyboard.write_all(keys.as_bytes()) {
            panic!("{keys:?} cannot be typed: {error}");
        }
    }

    /// Waits until this appears behind what was expected before.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn expect(&mut self, text: &str) {
        self.until(&format!("{text:?}"), |it| it.appeared(text).then_some(()));
    }

    /// Types again and again until the program ends: its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn send_to_end(&mut self, keys: &str) -> i32 {
        self.until("its end", |it| {
            let ended = it.ended();
            if ended.is_none() {
                it.send(keys);
            }
            ended
        })
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    fn until<T>(&mut self, what: &str, look: impl Fn(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let seen = self.seen();
            assert!(Instant::now() < end, "waited in vain for {what} at a terminal with\n{seen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn appeared(&mut self, text: &str) -> bool {
        let seen = self.seen();
        let found = seen.get(self.passed..).and_then(|rest| rest.find(text));
        self.passed = found.map_or(self.passed, |at| self.passed + at + text.len());
        found.is_some()
    }

    /// Everything that appeared.
    pub fn seen(&self) -> String {
        let seen = self.raw();
        String::from_utf8_lossy(seen.strip_suffix(&[END]).unwrap_or(&seen)).into_owned()
    }

    fn raw(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the terminal's size.
    ///
    /// # Errors
    /// The system's.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        Ok(rustix::termios::tcsetwinsize(&self.line, size(columns, rows))?)
    }

    /// Whether keys go to the program one by one, rather than a line at a time.
    ///
    /// # Panics
    /// When the terminal cannot be asked.
    pub fn is_raw(&self) -> bool {
        match rustix::termios::tcgetattr(self.line.as_fd()) {
            Ok(modes) => !modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO),
            Err(error) => panic!("the terminal cannot be asked: {error}"),
        }
    }

    /// Waits for the end of the program: its exit code. What it wrote has been seen then.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> i32 {
        let code = self.until("its end", Self::ended);
        // What the program wrote comes before what is written now.
        if let Err(error) = rustix::io::write(&self.line, &[END]) {
            panic!("the terminal cannot be written to: {error}");
        }
        self.until("all output", |it| it.raw().ends_with(&[END]).then_some(()));
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended already is none to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn watch(screen: &mut File, seen: &Mutex<Vec<u8>>) {
    let mut chunk = vec![0; 4096];
    while let Ok(read) = screen.read(&mut chunk) {
        if read == 0 {
            return;
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..read]);
    }
}
