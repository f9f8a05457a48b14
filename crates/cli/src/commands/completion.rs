//! `hull completion` and `hull man`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use model::error::Context;
use model::{ErrorKind, Result};

use crate::{Cli, out};

const EXAMPLES: &str = "Examples:
  source <(hull completion bash)
  hull completion bash > /etc/bash_completion.d/hull
  hull completion zsh > /usr/share/zsh/vendor-completions/_hull
  hull completion fish > ~/.config/fish/completions/hull.fish";

/// Prints what teaches a shell to complete the words of hull, names of instances included.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Writes the manual pages into a directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull man /usr/share/man/man1")]
pub struct Man {
    /// The directory, which is made if it is missing
    directory: PathBuf,
}

impl Completion {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        shell
            .write_registration("COMPLETE", "hull", "hull", "hull", &mut script)
            .context(ErrorKind::Internal, || "the completion cannot be written".into())?;
        out::bytes(&script);
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode> {
        let failed = || format!("cannot write into {}", self.directory.display());
        std::fs::create_dir_all(&self.directory).context(ErrorKind::Unavailable, failed)?;
        clap_mangen::generate_to(Cli::command(), &self.directory)
            .context(ErrorKind::Unavailable, failed)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_and_every_command_has_its_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(Completion { shell }.run().is_ok());
        }
        let dir = tempfile::tempdir().unwrap();
        Man { directory: dir.path().join("man1") }.run().unwrap();
        for page in ["hull.1", "hull-run.1", "hull-volume-snapshot.1"] {
            assert!(dir.path().join("man1").join(page).exists(), "{page}");
        }
    }
}
