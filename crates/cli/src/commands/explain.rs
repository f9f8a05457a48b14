//! `hull explain`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use model::explain::Explanation;
use model::instance::Reason;
use model::{Error, Kind, Result};

use crate::complete;
use crate::context::{Context, Output};
use crate::out::{self, Format};

/// Says what something waits for, what the planner answers for each node, and what would help.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull explain web\n  hull explain service/web\n  hull explain volume/data -o json\n\nKinds: service, instance, volume, network, node."
)]
pub struct Explain {
    #[command(flatten)]
    output: Output,
    /// What is meant: a name, or KIND/NAME
    #[arg(value_name = "[KIND/]NAME", add = ArgValueCompleter::new(complete::explained))]
    name: String,
}

impl Explain {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let (kind, name) = meant(&self.name)?;
        let found = context.client.explain(&context.project, kind, name).await?;
        if out::structured(self.output.output, &found)? {
            return Ok(ExitCode::SUCCESS);
        }
        for explanation in &found {
            match self.output.output {
                Format::Name => out::line(format!("{}/{}", explanation.kind, explanation.name)),
                _ => lines(explanation).iter().for_each(out::line),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn meant(text: &str) -> Result<(Option<Kind>, &str)> {
    let Some((kind, name)) = text.split_once('/') else { return Ok((None, text)) };
    let found = Kind::ALL.into_iter().find(|it| it.as_str() == kind.trim_end_matches('s'));
    let found = found.ok_or_else(|| {
        Error::invalid(format!("{kind:?} is no kind of object"))
            .next("write it like service/web, instance/web-1, volume/data")
    })?;
    Ok((Some(found), name))
}

fn lines(it: &Explanation) -> Vec<String> {
    let mut lines = vec![format!("{} {}: {}", it.kind, it.name, it.state)];
    if it.settled && it.reasons.is_empty() {
        lines.push("  it is as it was asked".to_owned());
    }
    for reason in &it.reasons {
        lines.extend(of_reason(reason, "  "));
    }
    for answer in &it.nodes {
        let mark = if answer.takes { "+" } else { "-" };
        lines.push(format!("  {mark} node {}: {}", answer.node, answer.why));
    }
    for part in &it.parts {
        lines.push(format!("  {} {}: {}", part.kind, part.name, part.state));
        lines.extend(part.reason.iter().flat_map(|reason| of_reason(reason, "    ")));
    }
    lines
}

fn of_reason(reason: &Reason, indent: &str) -> Vec<String> {
    let mut lines = vec![format!("{indent}{}: {}", reason.code, reason.message)];
    lines.extend(reason.next.iter().map(|next| format!("{indent}  try: {next}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_may_stand_before_the_name() {
        assert_eq!(meant("web").unwrap(), (None, "web"));
        assert_eq!(meant("service/web").unwrap(), (Some(Kind::Service), "web"));
        assert_eq!(meant("volumes/data").unwrap(), (Some(Kind::Volume), "data"));
        assert!(meant("thing/web").is_err());
    }

    #[test]
    fn it_reads_as_a_person_would_say_it() {
        let reason = Reason {
            next: Some("pull it".into()),
            ..Reason::new("ImageNotFound", "there is no image \"x\"")
        };
        let it = Explanation {
            kind: Kind::Service,
            name: "web".into(),
            state: "updating, 1 of 2 ready".into(),
            settled: false,
            reasons: vec![reason],
            nodes: Vec::new(),
            parts: Vec::new(),
        };
        assert_eq!(
            lines(&it),
            [
                "service web: updating, 1 of 2 ready",
                "  ImageNotFound: there is no image \"x\"",
                "    try: pull it",
            ]
        );
    }
}
