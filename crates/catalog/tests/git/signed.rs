//! Commits that are signed, by whom they should be and by others, with git's and OpenSSH's own programs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use catalog::signers::Signers;
use catalog::sources::git;
use model::ErrorKind;

use super::server::{able, git as run, serve};

fn keygen(words: &[&str]) -> bool {
    let done = Command::new("ssh-keygen").args(words).stdout(Stdio::null()).output();
    done.is_ok_and(|it| it.status.success())
}

/// A key of a sort; none where there is no ssh-keygen.
fn key(dir: &Path, name: &str, sort: &str) -> Option<PathBuf> {
    let path = dir.join(name);
    let word = path.to_str().unwrap();
    let made = keygen(&["-q", "-t", sort, "-N", "", "-C", name, "-f", word]);
    if !made {
        println!("passed over: there is no ssh-keygen");
    }
    made.then_some(path)
}

fn public(key: &Path) -> String {
    std::fs::read_to_string(key.with_extension("pub")).unwrap()
}

/// Commits what is there, signed.
fn commit(work: &Path, key: &Path) {
    let key = format!("user.signingkey={}", key.display());
    let with = ["-c", "gpg.format=ssh", "-c", &key];
    run(work, &[&with[..], &["commit", "-q", "--allow-empty", "-S", "-m", "signed"]].concat());
}

/// A commit's bytes, changed, become the branch's.
fn tamper(work: &Path, change: impl Fn(String) -> String) {
    let git = |words: &[&str], input: &str| {
        let mut child = Command::new("git")
            .arg("-C")
            .arg(work)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{words:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let text = change(git(&["cat-file", "commit", "HEAD"], ""));
    let id = git(&["hash-object", "-t", "commit", "-w", "--stdin"], &text);
    git(&["reset", "-q", "--hard", id.trim()], "");
}

#[test]
fn only_commits_that_one_of_the_keys_signed() {
    let (root, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if !able() {
        return;
    }
    let sorts = ["ed25519", "ecdsa", "rsa"];
    let keys: Option<Vec<PathBuf>> = sorts.iter().map(|it| key(root.path(), it, it)).collect();
    let Some(keys) = keys else { return };
    let stranger = key(root.path(), "stranger", "ed25519").unwrap();
    let large = root.path().join("large");
    assert!(keygen(&["-q", "-t", "ecdsa", "-b", "521", "-N", "", "-f", large.to_str().unwrap()]));
    let work = root.path().join("cat");
    run(root.path(), &["init", "-q", "cat"]);
    std::fs::write(work.join("one"), "1").unwrap();
    run(&work, &["add", "."]);
    let url = format!("{}/cat/.git", serve(root.path()));
    let read = |text: &str| {
        let signers = Signers::read(text).unwrap();
        git::read(&url, None, Some(signers), &scratch.path().join("git")).map(|(tree, _)| tree)
    };

    run(&work, &["commit", "-q", "-m", "not signed"]);
    let refused = |text: &str, why: &str| {
        let error = read(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", error.chain());
        assert!(error.message().contains(why), "{why}: {}", error.message());
    };
    let all: String = keys.iter().chain([&large]).map(|key| public(key)).collect();
    refused(&all, "is not signed");

    for key in keys.iter().chain([&large]) {
        commit(&work, key);
        assert_eq!(read(&all).unwrap().below("").count(), 1, "{}", key.display());
        assert_eq!(
            read(&format!("* namespaces=\"git\" {}", public(key))).unwrap().below("").count(),
            1
        );
        refused(&public(&stranger), "none of those it may be signed by");
    }

    commit(&work, &keys[0]);
    // The message, another tree, or another's signature under it: each is seen.
    tamper(&work, |text| format!("{text}, and more"));
    refused(&all, "does not fit its signature");
    std::fs::write(work.join("two"), "2").unwrap();
    run(&work, &["add", "."]);
    commit(&work, &keys[0]);
    let before = {
        let words = ["rev-parse", "HEAD~1^{tree}"];
        let done = Command::new("git").arg("-C").arg(&work).args(words).output().unwrap();
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    tamper(&work, |text| format!("tree {before}{}", &text["tree ".len() + 40..]));
    refused(&all, "does not fit its signature");
    commit(&work, &keys[0]);
    tamper(&work, |text| text.replace("-----BEGIN SSH", "-----BEGIN PGP"));
    refused(&all, "another format");
    commit(&work, &keys[0]);
    tamper(&work, |text| text.replacen("\n U1NIU0lH", "\n ", 1));
    refused(&all, "cannot be read");

    // What was signed for other things, by the right key.
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let words = ["-Y", "sign", "-q", "-n", "file", "-f"];
    let at = [keys[0].to_str().unwrap(), file.to_str().unwrap()];
    assert!(keygen(&[&words[..], &at[..]].concat()));
    let other = std::fs::read_to_string(root.path().join("file.sig")).unwrap();
    let error = Signers::read(&all).unwrap().check(&other, b"x").unwrap_err();
    assert!(error.to_string().contains("something else than git"), "{error}");
}
