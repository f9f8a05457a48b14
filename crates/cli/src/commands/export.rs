//! `hull export`.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::Result;

use crate::context::Context;
use crate::stream::{PUBLIC, to_file, to_stdout};
use crate::{complete, out};

/// Writes the whole file system of an instance as a tar archive. What is mounted in it is left out.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull export web -f web.tar\n  hull export web | gzip > web.tar.gz"
)]
pub struct Export {
    /// The archive; standard output when not given
    #[arg(short, long, visible_short_alias = 'o', visible_alias = "output", value_name = "FILE")]
    file: Option<String>,
    /// The container, in a group of several
    #[arg(long, default_value = "", value_name = "NAME")]
    container: String,
    /// The instance
    #[arg(add = ArgValueCompleter::new(complete::instances))]
    name: String,
}

impl Export {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        if self.file.is_none() {
            out::not_for_a_terminal()?;
        }
        let archive = context.instances().export(&self.name, &self.container).await?;
        match &self.file {
            Some(file) => to_file(archive, Path::new(file), PUBLIC).await?,
            None => to_stdout(archive).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
