//! The init as a program of its own; built by `build.rs`, static, to be mounted into containers.

mod reaper;

fn main() {
    std::process::exit(reaper::run(std::env::args_os()));
}
