//! Puts the console's files, as `make console` left them in `console/dist`, into a table of this crate.
//! Where there are none, the table is empty and a page says how to get them; a release must have them.

use std::env;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Set to `none` to make a release without the console.
const CHOICE: &str = "HULL_CONSOLE";

fn main() {
    let variable = |name: &str| env::var_os(name).expect("cargo sets it");
    let dist = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../../console/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-env-changed={CHOICE}");
    let mut files = Vec::new();
    collect(&dist, &dist, &mut files);
    files.sort();
    let built = files.iter().any(|file| file == "index.html");
    let chosen = env::var(CHOICE).is_ok_and(|choice| choice == "none");
    if !built && variable("PROFILE") == "release" && !chosen {
        println!(
            "cargo::error=the console is not built: run `make console`, \
             or set {CHOICE}=none for a hull without one"
        );
    }
    let table = table(&dist, if built { &files } else { &[] });
    let output = PathBuf::from(variable("OUT_DIR")).join("assets.rs");
    std::fs::write(output, table).expect("the build directory can be written");
}

/// Names of all files below a directory. Hidden ones are not the console's.
fn collect(top: &Path, dir: &Path, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            collect(top, &path, files);
        } else if let Some(name) = path.strip_prefix(top).ok().and_then(Path::to_str) {
            files.push(name.to_owned());
        }
    }
}

fn table(dist: &Path, files: &[String]) -> String {
    let mut table = String::from("&[\n");
    for name in files {
        let path = dist.join(name);
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),")
            .expect("memory can be written");
    }
    table.push_str("]\n");
    table
}
