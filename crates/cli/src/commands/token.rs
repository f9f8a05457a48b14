//! `hull token`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use client::wire::{NewToken, TokenDraft};
use model::role::Grant;
use model::token::{Token as Known, TokenNoun};
use model::{Error, Result, Span, Time};

use crate::commands::each;
use crate::commands::user::words;
use crate::context::{Context, Output};
use crate::objects::{self, Listing, View};
use crate::out::{self, Format};
use crate::{complete, plan};

/// Tokens: what people and programs show to the API.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token, and print its secret once
    Create(Create),
    /// Give a token another secret, and print it once
    Renew(Renew),
    /// List tokens
    Ls(Ls),
    /// Show tokens
    Show(Show),
    /// Remove tokens
    Rm(Rm),
}

/// Makes a token. Its secret is printed now and never again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull token create ci --role editor@shop --expires 30d\n  hull token create ann-laptop --user ann\n  export HULL_TOKEN=$(hull token create -o name me)"
)]
pub struct Create {
    /// For people
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    description: String,
    /// The user whose it is: it may what they may. An admin's is nobody's unless this is given
    #[arg(short, long, default_value = "", value_name = "USER", add = ArgValueCompleter::new(complete::users))]
    user: String,
    /// What it may at most; everything that its user may, or everything, when none is given
    #[arg(long, value_name = "ROLE[@PROJECT]")]
    role: Vec<Grant>,
    /// When it is worth nothing any more: a time, or how long from now
    #[arg(short, long, value_name = "TIME")]
    expires: Option<String>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    plan: bool,
    /// How it is printed; name prints the secret alone
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// Its name; one is invented when none is given
    #[arg(default_value = "")]
    name: String,
}

/// Gives a token another secret. The old one is worth nothing from now on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull token renew ci")]
pub struct Renew {
    /// How it is printed; name prints the secret alone
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// The token
    #[arg(add = ArgValueCompleter::new(complete::tokens))]
    name: String,
}

/// Lists tokens, without their secrets, which nobody has.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull token ls")]
pub struct Ls {
    #[command(flatten)]
    listing: Listing,
}

/// Shows tokens, without their secrets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull token show ci")]
pub struct Show {
    #[command(flatten)]
    output: Output,
    /// The tokens
    #[arg(required = true, add = ArgValueCompleter::new(complete::tokens))]
    names: Vec<String>,
}

/// Removes tokens: they are worth nothing from now on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hull token rm ci")]
pub struct Rm {
    /// Show what would go, and remove nothing
    #[arg(long)]
    plan: bool,
    /// The tokens
    #[arg(required = true, add = ArgValueCompleter::new(complete::tokens))]
    names: Vec<String>,
}

impl Token {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Result<ExitCode> {
        let tokens = context.client.tokens();
        match self {
            Token::Create(args) => {
                let draft = TokenDraft {
                    name: args.name,
                    description: args.description,
                    user: args.user,
                    roles: args.role,
                    expires: args.expires.as_deref().map(ahead).transpose()?,
                };
                let made = tokens.issue(&draft, args.plan).await?;
                if args.plan {
                    plan::creation(&made.token)?;
                } else {
                    tell(&made, args.output)?;
                }
            }
            Token::Renew(args) => tell(&tokens.renew(&args.name).await?, args.output)?,
            Token::Ls(args) => args.listing.show(&tokens, &VIEW).await?,
            Token::Show(args) => {
                return each(&args.names, async |name| {
                    objects::show(&tokens.get(name).await?, args.output.output)
                })
                .await;
            }
            Token::Rm(args) => {
                return each(&args.names, async |name| {
                    objects::remove(&tokens, name, args.plan, false).await
                })
                .await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn tell(made: &NewToken, format: Format) -> Result<()> {
    if out::structured(format, made)? {
        return Ok(());
    }
    if format == Format::Table {
        out::remark(format!(
            "Token {}; keep its secret, it is not shown again:",
            made.token.meta.name
        ));
    }
    out::line(&made.secret);
    Ok(())
}

/// A time, or how long from now.
fn ahead(text: &str) -> Result<Time> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let refuse = || {
        Error::invalid(format!("{text:?} is neither a time nor a length of time"))
            .at("--expires")
            .next("write 2026-12-31T00:00:00Z or 30d")
    };
    let span = text.parse::<Span>().map_err(|_| refuse())?;
    Time::now().0.checked_add(span.0).map(Time).map_err(|_| refuse())
}

/// What it may at most.
fn worth(token: &Known) -> String {
    match (token.spec.roles.as_slice(), token.spec.user.as_str()) {
        ([], "") => "admin".to_owned(),
        ([], _) => "as the user".to_owned(),
        (roles, _) => words(roles),
    }
}

const VIEW: View<TokenNoun> = View {
    titles: &["NAME", "USER", "ROLES", "DESCRIPTION", "EXPIRES", "AGE"],
    right: &[],
    row: |token: &Known| {
        vec![
            token.meta.name.clone(),
            token.spec.user.clone(),
            out::short(&worth(token), 30),
            out::short(&token.spec.description, 50),
            out::until(token.spec.expires),
            out::age(token.meta.created),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_at_a_time_or_after_one() {
        assert_eq!(ahead("2030-01-01T00:00:00Z").unwrap().to_string(), "2030-01-01T00:00:00Z");
        let day = ahead("1d").unwrap().since(Time::now()).as_secs();
        assert!((86_390..=86_400).contains(&day));
        assert_eq!(ahead("soon").unwrap_err().field(), Some("--expires"));
    }
}
