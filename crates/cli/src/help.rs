//! What `--help` says of each command, kept beside the code and reviewed with it.

use clap::{Command, CommandFactory};

use crate::Cli;

/// Every command with its full name, visible or not.
fn every(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    found.push((path.to_owned(), command.clone()));
    for sub in command.get_subcommands() {
        every(sub, &format!("{path}-{}", sub.get_name()), found);
    }
}

fn commands() -> Vec<(String, Command)> {
    let mut root = Cli::command();
    root.build();
    let mut found = Vec::new();
    every(&root, "hull", &mut found);
    found
}

#[test]
fn help_is_as_reviewed() {
    for (path, mut command) in commands() {
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(path, lines.join("\n"));
    }
}

#[test]
fn every_command_has_examples_that_it_understands() {
    for (path, command) in commands().into_iter().filter(|(_, it)| !it.has_subcommands()) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(text.starts_with("Examples:\n"), "{path} has no examples");
        let examples = text.lines().skip(1).map(str::trim);
        for example in examples.filter(|line| line.starts_with("hull ")) {
            let plain = example.split(['|', '>', '<', '&', '$']).next().unwrap_or_default();
            let plain = plain.split("     ").next().unwrap_or_default().replace(['\'', '"'], "");
            let parsed = Cli::command().try_get_matches_from(plain.split_whitespace());
            let shortened = plain.trim() != example;
            assert!(parsed.is_ok() || shortened, "{path}: {example}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn the_words_are_consistent() {
    Cli::command().debug_assert();
}
