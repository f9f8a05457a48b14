//! The modes of `hull` that run beside and inside containers, as a program for tests and benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        Some(containers::logs::driver::MODE) => containers::logs::driver::main(),
        Some(containers::hold::MODE) => containers::hold::main(),
        Some(containers::init::MODE) => {
            let code = containers::init::run(std::env::args_os());
            ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
        }
        _ => ExitCode::from(2),
    }
}
