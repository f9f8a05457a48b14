//! `hull`: the one binary of Monohull.
//!
//! Some of its faces are not the command line: `hull daemon`, `hull supervise`, `hull name-server`, and
//! the small programs that run beside containers (`log-driver`, `init`, `machine`), which must start in a
//! millisecond and stay small, so they are told apart before anything else is set up.

mod config;
mod librarian;
mod names;
mod notify;
mod pki;
mod program;
mod records;
mod server;
mod settle;
mod supervise;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(containers::logs::driver::MODE) => containers::logs::driver::main(),
        Some(containers::init::MODE) => run_init(),
        Some(containers::hold::MODE) => containers::hold::main(),
        Some(machines::monitor::MODE) => run_machine(),
        Some(names::MODE) => names::main(),
        Some(machines::disk::walls::MODE) => machines::disk::walls::main(),
        Some("daemon") => server::main(),
        Some("supervise") => supervise::main(),
        _ => cli::main(),
    }
}

/// Runs as process 1 of a machine's walls, and passes QEMU's exit code on.
fn run_machine() -> ExitCode {
    ExitCode::from(u8::try_from(machines::monitor::run() & 0xff).unwrap_or(1))
}

/// Runs as process 1 of a container, and passes its program's exit code on.
fn run_init() -> ExitCode {
    let code = containers::init::run(std::env::args_os().skip(2));
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
