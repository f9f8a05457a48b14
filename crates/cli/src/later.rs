//! Words of the product's contract that are not there yet, and what they answer. Reviewed with each
//! release: a word leaves this list when its command comes.

use std::process::ExitCode;

use crate::out;

const LATER: [(&str, &str); 18] = [
    ("app", "apps are not there yet; run their containers with hull run"),
    ("catalog", "the catalog is not there yet"),
    ("compose", "Compose files are not read yet; run their containers with hull run"),
    ("config", "configs are not there yet; mount a file with --mount"),
    ("console", "machines are not there yet"),
    ("join", "clusters of more than one node are not there yet"),
    ("migrate", "clusters of more than one node are not there yet"),
    ("restore", "machines are not there yet; restore a volume with hull volume create --from"),
    ("route", "routes are not there yet; publish a port with -p"),
    ("secret", "secrets are not there yet; mount a file that only root can read with --mount"),
    ("service", "services are not there yet; keep an instance running with --restart always"),
    ("snapshot", "machines are not there yet; take a volume's with hull volume snapshot"),
    ("storage", "storage services are not there yet; volumes are local"),
    ("top-nodes", "a view of all nodes is not there yet; see hull node ls"),
    ("upgrade", "upgrades in place are not there yet; run make up again"),
    ("user", "users are not there yet; see hull token"),
    ("vm", "machines are not there yet"),
    ("stack", "stacks are not there yet"),
];

/// The answer to a word that is not there yet.
pub fn answer(word: Option<&str>) -> Option<ExitCode> {
    let (word, sentence) = LATER.iter().find(|(known, _)| Some(*known) == word)?;
    out::remark(format!("hull: {word}: {sentence}"));
    Some(ExitCode::FAILURE)
}
