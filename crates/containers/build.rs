//! Builds the init for containers as a static program of its own, to be carried inside this crate.
//! Where the C library has no static part, an empty file takes its place, and containers that ask
//! for an init need one of the distribution's.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for file in ["build.rs", "src/init/standalone.rs", "src/init/reaper.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let variable = |name: &str| env::var_os(name).expect("cargo sets it");
    let output = PathBuf::from(variable("OUT_DIR")).join("init");
    if !built(Path::new(&variable("RUSTC")), &variable("TARGET"), &output) {
        println!("cargo::warning=no static init was built; install libc6-dev to have one");
        std::fs::write(&output, b"").expect("the build directory can be written");
    }
}

fn built(rustc: &Path, target: &std::ffi::OsStr, output: &Path) -> bool {
    Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "hull_init", "--target"])
        .arg(target)
        .args(["-C", "opt-level=z", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-C", "lto=fat", "-C", "codegen-units=1"])
        .args(["-C", "target-feature=+crt-static", "-o"])
        .arg(output)
        .arg("src/init/standalone.rs")
        .env_remove("RUSTFLAGS")
        .status()
        .is_ok_and(|status| status.success())
}
