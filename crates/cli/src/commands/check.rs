//! `hull check`.

use std::process::ExitCode;

use clap::Args;
use host::Settings;
use host::checks::Outcome;
use model::Result;

use crate::context::{Context, Output};
use crate::out;

/// Is this machine fit?
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull check\n  hull check -o json")]
pub struct Check {
    #[command(flatten)]
    output: Output,
}

impl Check {
    /// Runs the command. The machine is looked at from here; no daemon is needed.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let mut settings =
            Settings { state_dir: context.root.join("var/lib/hull"), ..Settings::default() };
        if context.client.system().healthy().await.is_ok() {
            // The platform itself has its port.
            settings.ports.clear();
        }
        let report = host::checks::run(&settings).await;
        let code = match report.outcome {
            Outcome::Fail => ExitCode::FAILURE,
            Outcome::Pass | Outcome::Warn => ExitCode::SUCCESS,
        };
        if out::structured(self.output.output, &report)? {
            return Ok(code);
        }
        let word = |outcome| match outcome {
            Outcome::Pass => "pass",
            Outcome::Warn => "WARN",
            Outcome::Fail => "FAIL",
        };
        let rows = report.checks.iter().map(|check| {
            let remedy = check.remedy.clone().map(|text| format!("\n→ {text}")).unwrap_or_default();
            vec![
                word(check.outcome).to_owned(),
                check.name.clone(),
                format!("{}{remedy}", check.finding),
            ]
        });
        out::table(&["", "CHECK", "FINDING"], rows.collect(), &[]);
        out::line(match report.outcome {
            Outcome::Pass => "This machine is fit.",
            Outcome::Warn => "This machine is fit, with the limits above.",
            Outcome::Fail => "The platform cannot run here until what failed is mended.",
        });
        Ok(code)
    }
}
