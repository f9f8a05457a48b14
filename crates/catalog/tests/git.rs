//! Catalogs in git repositories, served by git's own server (`git http-backend`).

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

#[path = "git/server.rs"]
mod server;
#[path = "git/signed.rs"]
mod signed;

use catalog::sources::git;
use model::ErrorKind;

use self::server::{able, git as run, serve};

#[test]
fn a_branch_and_its_last_commit() {
    if !able() {
        return;
    }
    let (root, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let work = root.path().join("cat");
    std::fs::create_dir_all(work.join("web/1")).unwrap();
    std::fs::write(work.join("web/template.yaml"), "title: Web\n").unwrap();
    std::fs::write(work.join("web/1/compose.yaml"), "services: {}\n").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.join("web/passwd")).unwrap();
    run(root.path(), &["init", "-q", "cat"]);
    run(&work, &["add", "."]);
    run(&work, &["commit", "-q", "-m", "one"]);
    run(&work, &["checkout", "-q", "-b", "other"]);
    std::fs::write(work.join("web/2.yaml"), "").unwrap();
    run(&work, &["add", "."]);
    run(&work, &["commit", "-q", "-m", "two"]);
    run(&work, &["checkout", "-q", "main"]);
    let url = format!("{}/cat/.git", serve(root.path()));
    let place = scratch.path().join("git");
    let (tree, commit) = git::read(&url, None, None, &place).unwrap();
    assert_eq!(tree.below("").collect::<Vec<_>>(), ["web/1/compose.yaml", "web/template.yaml"]);
    assert_eq!(commit.len(), 40);
    let (tree, other) = git::read(&url, Some("other"), None, &place).unwrap();
    assert_eq!(tree.below("").count(), 3);
    assert_ne!(commit, other);
    let missing = git::read(&url, Some("nothing"), None, &place).unwrap_err();
    assert!(missing.message().contains("nothing"), "{}", missing.chain());
    let gone = git::read(&format!("{url}/no"), None, None, &place).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unavailable);
}
