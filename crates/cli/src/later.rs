//! Words of the product's contract that are not there yet, and what they answer. Reviewed with each
//! release: a word leaves this list when its command comes.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use crate::out;

const LATER: [(&str, &str); 7] = [
    ("join", "clusters of more than one node are not there yet"),
    ("migrate", "clusters of more than one node are not there yet"),
    ("role", "roles are given to users: hull user grant"),
    ("route", "routes are not there yet; publish a port with -p"),
    ("stack", "stacks are not there yet; run their containers with hull run"),
    ("storage", "storage services are not there yet; volumes are local, see hull volume"),
    ("upgrade", "upgrades in place are not there yet; run make up again"),
];

/// The answer to a command line whose command is not there yet; none for any other fault.
pub fn answer(error: &clap::Error) -> Option<ExitCode> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (word, sentence) = LATER.iter().find(|(known, _)| known == word)?;
    out::remark(format!("hull: {word}: {sentence}"));
    Some(ExitCode::FAILURE)
}

/// Whether a word is one of them.
#[cfg(test)]
pub fn is_known(word: &str) -> bool {
    LATER.iter().any(|(known, _)| *known == word)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The words of the product's contract, section "The command line".
    const CONTRACT: &str = "check up down status upgrade join run ps inspect logs exec attach console \
        cp stats top start stop restart pause rm wait update snapshot restore migrate service app \
        catalog volume storage network route image node project secret config user token event \
        operation env";

    #[test]
    fn a_word_is_known_behind_flags_and_before_its_own() {
        for line in ["hull route ls -f x", "hull --project shop route", "hull storage --help"] {
            let parsed = crate::Cli::command().try_get_matches_from(line.split(' '));
            assert!(answer(&parsed.unwrap_err()).is_some(), "{line}");
        }
        let parsed = crate::Cli::command().try_get_matches_from(["hull", "fly"]);
        assert!(answer(&parsed.unwrap_err()).is_none());
    }

    #[test]
    fn every_word_of_the_contract_is_there_or_said_to_come() {
        let command = crate::Cli::command();
        for word in CONTRACT.split_whitespace() {
            let later = LATER.iter().any(|(later, _)| *later == word);
            let there = command.find_subcommand(word).is_some();
            assert!(later != there, "{word}: either a command or a word for later");
        }
        assert!(LATER.iter().all(|(word, _)| command.find_subcommand(word).is_none()));
    }
}
