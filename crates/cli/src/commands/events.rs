//! `hull events`, and `hull event`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use client::wire::EventsQuery;
use futures::StreamExt;
use model::event::Event as Known;
use model::{Error, Result, Time};

use crate::commands::logs::moment;
use crate::context::{Context, Output};
use crate::out::{self, Format};

const EXAMPLES: &str = "Examples:
  hull events
  hull events -f --filter kind=instance --filter action=die
  hull events --since 1h --filter object=web -o json";

/// What happened.
#[derive(Debug, Subcommand)]
pub enum Event {
    /// Show what happened, as hull events does
    Ls(Events),
}

/// Shows what happened.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Events {
    /// Go on as it happens
    #[arg(short, long, visible_short_alias = 'w', visible_alias = "watch")]
    follow: bool,
    /// Nothing older: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Nothing newer
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only these: kind=, action=, object=, project=, or a detail such as image=; several of one
    /// sort mean any of them
    #[arg(long, value_name = "WHAT=VALUE")]
    filter: Vec<String>,
    /// Only so many of the last
    #[arg(short = 'n', long, value_name = "COUNT")]
    tail: Option<u32>,
    #[command(flatten)]
    output: Output,
}

impl Events {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let mut query = EventsQuery {
            watch: self.follow,
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
            limit: self.tail,
            ..EventsQuery::default()
        };
        for text in &self.filter {
            filter(&mut query, text)?;
        }
        let mut events = context.client.events().read(&query).await?;
        while let Some(event) = events.next().await {
            tell(&event?, self.output.output)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn filter(query: &mut EventsQuery, text: &str) -> Result<()> {
    let (what, value) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a filter"))
            .at("--filter")
            .next("write kind=instance, action=die, object=web, project=shop or image=nginx")
    })?;
    let (list, term) = match what {
        "kind" | "type" => (&mut query.kinds, value.to_owned()),
        "action" | "event" => (&mut query.actions, value.to_owned()),
        "object" | "name" | "instance" => (&mut query.objects, value.to_owned()),
        "project" => (&mut query.projects, value.to_owned()),
        _ => (&mut query.details, text.to_owned()),
    };
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(&term);
    Ok(())
}

/// An event a line: JSON, a YAML document each, the object's name, or words.
fn tell(event: &Known, format: Format) -> Result<()> {
    match format {
        Format::Json => out::json_line(event)?,
        Format::Yaml => {
            out::line("---");
            out::structured(Format::Yaml, event)?;
        }
        Format::Name => out::line(&event.name),
        Format::Table => out::line(sentence(event)),
    }
    Ok(())
}

fn sentence(event: &Known) -> String {
    let Known { time, kind, action, project, name, by, details, .. } = event;
    let place = match project.as_str() {
        "" | model::project::DEFAULT_PROJECT => String::new(),
        project => format!("{project}/"),
    };
    let mut text = format!("{}  {kind} {place}{name}  {action}", clock(*time));
    let more: Vec<String> = details.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !more.is_empty() {
        text.push_str(&format!("  {}", more.join(" ")));
    }
    if !by.is_empty() {
        text.push_str(&format!("  by {by}"));
    }
    text
}

/// The time to the millisecond.
fn clock(time: Time) -> String {
    format!("{:.3}", time.0)
}

#[cfg(test)]
mod tests {
    use model::Kind;

    use super::*;

    #[test]
    fn filters_add_up() {
        let mut query = EventsQuery::default();
        for text in ["kind=instance", "kind=volume", "action=die", "object=web", "image=nginx"] {
            filter(&mut query, text).unwrap();
        }
        assert_eq!(query.kinds, "instance,volume");
        assert_eq!((query.actions.as_str(), query.objects.as_str()), ("die", "web"));
        assert_eq!(query.details, "image=nginx");
        assert!(filter(&mut query, "web").is_err());
    }

    #[test]
    fn an_event_is_a_line() {
        let id = model::Uid::from_bytes([7; 32]);
        let time = Time::from_unix(0, 1_000_000);
        let meta = model::Meta::new("default", "web", id, time);
        let event = Known::new(time, Kind::Instance, "die", &meta).with("exitCode", 1);
        assert_eq!(sentence(&event), "1970-01-01T00:00:00.001Z  instance web  die  exitCode=1");
    }
}
