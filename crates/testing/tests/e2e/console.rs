//! The console in a real browser, against a node of its own. The browser's part is in `console/e2e/`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use testing::node::Node;

use super::process::able;

/// Where the browser's part is.
fn console() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../console")
}

/// Why no browser can be driven here, if so.
fn missing() -> Option<String> {
    let built = |path: &str| console().join(path).exists();
    if !built("node_modules/playwright-core") || !built("dist/index.html") {
        return Some("the console is not built; `make console` does".into());
    }
    let there = |program: &str| {
        let mut command = Command::new(program);
        let tried = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let absent = ["node", "chromium"].into_iter().find(|program| !there(program));
    absent.map(|program| format!("there is no {program}"))
}

/// Runs a file of `console/e2e/` against a node of its own.
fn browse(file: &str) {
    if !able() {
        return;
    }
    if let Some(why) = missing() {
        println!("nothing was tested: {why}");
        return;
    }
    let node = Node::start().unwrap();
    let address = node.get("/v1/system/status").unwrap()["addresses"][0].clone();
    let token = std::fs::read_to_string(node.root().join("etc/hull/admin.token")).unwrap();
    let done = Command::new("node")
        .args(["--test", "--test-reporter=spec", file])
        .current_dir(console().join("e2e"))
        .env("HULL_URL", address.as_str().unwrap())
        .env("HULL_TOKEN", token.trim())
        .env("HULL_BINARY", node.binary())
        .env("HULL_ROOT", node.root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    println!("{text}");
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn containers_are_run_seen_and_entered() {
    browse("containers.test.mjs");
}

#[test]
fn people_sign_in_and_may_what_their_roles_say() {
    browse("users.test.mjs");
}

#[test]
fn a_tab_stays_open_over_a_restart() {
    browse("restart.test.mjs");
}

#[test]
fn a_machine_shows_its_screen() {
    browse("screen.test.mjs");
}

#[test]
fn every_page_can_be_used_by_everybody() {
    browse("pages.test.mjs");
}

#[test]
fn an_application_comes_from_the_catalog() {
    browse("apps.test.mjs");
}
