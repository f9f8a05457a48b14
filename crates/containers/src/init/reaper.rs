//! Process 1 of a container. This file uses nothing but the standard library, because it is also
//! built by itself into a static program (`standalone.rs`).

#![expect(unsafe_code, reason = "signals and children that are not ours have no safe interface")]

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// `sigset_t` of the C library: 1024 bits.
#[repr(C)]
struct SignalSet([u64; 16]);

unsafe extern "C" {
    fn sigfillset(set: *mut SignalSet) -> i32;
    fn sigemptyset(set: *mut SignalSet) -> i32;
    fn sigprocmask(how: i32, set: *const SignalSet, old: *mut SignalSet) -> i32;
    fn sigwait(set: *const SignalSet, signal: *mut i32) -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn kill(pid: i32, signal: i32) -> i32;
    fn tcsetpgrp(terminal: i32, group: i32) -> i32;
    fn getpid() -> i32;
}

const SIG_SETMASK: i32 = 2;
const SIGCHLD: i32 = 17;
const WNOHANG: i32 = 1;

/// What a shell answers when a program is not there, and when it cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// Runs the program named after `--` and returns its exit code, 128 + n if signal n ended it.
/// Meanwhile passes all signals on to it, and reaps every child.
pub fn run(args: impl Iterator<Item = OsString>) -> i32 {
    let mut words = args.skip_while(|word| word != "--").skip(1);
    let Some(program) = words.next() else {
        return NOT_RUN;
    };
    let all = block_signals();
    let mut command = Command::new(program);
    command.args(words);
    // SAFETY: only calls that may be made after fork(2) are made there.
    unsafe {
        command.pre_exec(|| {
            take_terminal();
            unblock_signals();
            Ok(())
        });
    }
    // In a group of its own, so that it can have the terminal's attention.
    match command.process_group(0).spawn() {
        Ok(child) => supervise(child.id() as i32, &all),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => NOT_FOUND,
        Err(_) => NOT_RUN,
    }
}

/// Signals wait until they are asked for.
fn block_signals() -> SignalSet {
    let mut all = SignalSet([0; 16]);
    // SAFETY: both calls are given sets of the size they expect, which they fill or read.
    unsafe {
        sigfillset(&mut all);
        sigprocmask(SIG_SETMASK, &all, std::ptr::null_mut());
    }
    all
}

fn unblock_signals() {
    let mut none = SignalSet([0; 16]);
    // SAFETY: as above.
    unsafe {
        sigemptyset(&mut none);
        sigprocmask(SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Makes this process's group the one the terminal speaks to, if there is a terminal. Signals are
/// blocked, so being in the background does not stop it.
fn take_terminal() {
    // SAFETY: takes and gives plain numbers; without a terminal it fails and changes nothing.
    unsafe {
        tcsetpgrp(0, getpid());
    }
}

fn supervise(child: i32, all: &SignalSet) -> i32 {
    loop {
        let mut signal = 0;
        // SAFETY: reads a set and writes a number, both ours.
        if unsafe { sigwait(all, &mut signal) } != 0 {
            continue;
        }
        if signal != SIGCHLD {
            // SAFETY: plain numbers. The child is not reaped yet, so its number is its own.
            unsafe { kill(child, signal) };
        } else if let Some(code) = reap(child) {
            return code;
        }
    }
}

/// Reaps all that ended; the exit code of the child once it has.
fn reap(child: i32) -> Option<i32> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: writes one number of ours.
        let pid = unsafe { waitpid(-1, &mut status, WNOHANG) };
        if pid <= 0 {
            return ended;
        }
        if pid == child {
            let status = ExitStatus::from_raw(status);
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            ended = Some(code.unwrap_or(NOT_RUN));
        }
    }
}
