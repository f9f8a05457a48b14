//! The modes of `hull` that run beside and inside containers, as a program for tests and benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        Some(containers::logs::driver::MODE) => containers::logs::driver::main(),
        _ => ExitCode::from(2),
    }
}
