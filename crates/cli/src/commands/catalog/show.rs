//! `hull catalog search` and `show`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use client::wire::{TemplateDetail, TemplateSummary, TemplatesQuery};
use model::template::{Question, TemplateVersion};
use model::{Error, Result};

use crate::complete;
use crate::context::{Context, Output};
use crate::out::{self, Format};

/// Lists templates: all, or those with these words.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hull catalog search\n  hull catalog search database\n  hull catalog search --catalog rancher --all"
)]
pub struct Search {
    /// Of this catalog only
    #[arg(long, default_value = "", value_name = "NAME", add = ArgValueCompleter::new(complete::catalogs))]
    catalog: String,
    /// Also those that are parts of a platform, and no applications
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    output: Output,
    /// Words in the name, title, summary or category
    words: Vec<String>,
}

/// Shows a template, or a catalog when there is no template of that name.
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "Examples:\n  hull catalog show elk\n  hull catalog show rancher/elasticsearch-2 --version 2.4.3-rancher1"
)]
pub struct Show {
    /// This version; the one that is offered when none is given
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Show the files it is installed from
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    output: Output,
    /// The template: NAME or CATALOG/NAME
    #[arg(add = ArgValueCompleter::new(complete::templates))]
    template: String,
}

impl Search {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let query =
            TemplatesQuery { catalog: self.catalog, search: self.words.join(" "), all: self.all };
        let list = context.client.templates(&context.project).list(&query).await?;
        for (catalog, problem) in &list.problems {
            out::remark(format!("hull: catalog {catalog}: {problem}"));
        }
        let format = self.output.output;
        if out::structured(format, &list.items)? {
            return Ok(());
        }
        if format == Format::Name {
            let line = |it: &TemplateSummary| out::line(format!("{}/{}", it.catalog, it.name));
            list.items.iter().for_each(line);
            return Ok(());
        }
        let row = |it: &TemplateSummary| {
            let told = it.problem.as_ref().map(|problem| format!("cannot be used: {problem}"));
            let told = told.unwrap_or_else(|| it.summary.clone());
            vec![
                it.name.clone(),
                it.catalog.clone(),
                it.version.clone(),
                out::short(&plain(&told.replace('\n', " ")), 70),
            ]
        };
        let rows = list.items.iter().map(row).collect();
        out::table(&["NAME", "CATALOG", "VERSION", "SUMMARY"], rows, &[]);
        Ok(())
    }
}

/// The template that is meant by `NAME` or `CATALOG/NAME`: catalog and name.
pub(super) async fn named(context: &Context, words: &str) -> Result<(String, String)> {
    if let Some((catalog, name)) = words.split_once('/') {
        return Ok((catalog.to_owned(), name.to_owned()));
    }
    let query = TemplatesQuery { all: true, ..TemplatesQuery::default() };
    let list = context.client.templates(&context.project).list(&query).await?;
    let found: Vec<&TemplateSummary> = list.items.iter().filter(|it| it.name == words).collect();
    match found.as_slice() {
        [one] => Ok((one.catalog.clone(), one.name.clone())),
        [] => {
            let error = Error::not_found(format!("no catalog has a template {words:?}"));
            let unread: Vec<&str> = list.problems.keys().map(String::as_str).collect();
            Err(match unread.is_empty() {
                true => error.next("hull catalog search tells what there is"),
                false => {
                    error.next(format!("{} could not be read: hull catalog ls", unread.join(", ")))
                }
            })
        }
        several => {
            let places: Vec<String> =
                several.iter().map(|it| format!("{}/{}", it.catalog, it.name)).collect();
            Err(Error::invalid(format!("several catalogs have a template {words:?}"))
                .next(format!("say which: {}", places.join(", "))))
        }
    }
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> Result<()> {
        let (catalog, name) = match named(context, &self.template).await {
            Err(error) if super::names(context).await?.contains(&self.template) => {
                drop(error);
                let catalog = context.client.catalogs().get(&self.template).await?;
                return crate::objects::show(&catalog, self.output.output);
            }
            named => named?,
        };
        let templates = context.client.templates(&context.project);
        let detail = templates.get(&catalog, &name, self.version.as_deref()).await?;
        if out::structured(self.output.output, &detail)? {
            return Ok(());
        }
        if self.output.output == Format::Name {
            out::line(format!("{catalog}/{name}"));
            return Ok(());
        }
        tell(&detail, self.files);
        Ok(())
    }
}

/// Without what would steer the terminal: a stranger wrote it.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A template for people to read.
fn tell(detail: &TemplateDetail, files: bool) {
    let template = &detail.template;
    out::line(format!("{} ({}/{})", plain(&template.title), template.catalog, template.name));
    let fact = |name: &str, value: &str| {
        if !value.is_empty() {
            out::line(format!("{name:<11} {}", plain(&value.replace('\n', " "))));
        }
    };
    fact("what", &template.summary);
    fact("category", &template.categories.join(", "));
    fact("homepage", &template.homepage);
    fact("licence", &template.license);
    fact("maintainer", &template.maintainer);
    let versions: Vec<&str> = template.versions.iter().map(|it| it.version.as_str()).collect();
    fact("version", &detail.version);
    fact("versions", &versions.join(", "));
    let version = template.version(Some(&detail.version));
    let problem = template.problem.as_ref().or_else(|| version?.problem.as_ref());
    fact("problem", problem.map(String::as_str).unwrap_or_default());
    if let Some(version) = version {
        fact("note", &version.note);
        questions(version);
    }
    if !detail.readme.trim().is_empty() {
        out::line(format!("\n{}", plain(detail.readme.trim_end())));
    }
    for (path, text) in detail.files.iter().filter(|_| files) {
        out::line(format!("\n# {path}\n{}", plain(text.trim_end())));
    }
}

fn questions(version: &TemplateVersion) {
    let row = |question: &Question| {
        let options: Vec<&str> = question.options.iter().map(|it| it.value.as_str()).collect();
        let default = match (&question.default, question.generate) {
            (Some(default), _) if !default.is_empty() && !question.is_secret() => default.as_str(),
            (_, Some(_)) => "made up",
            _ if question.required => "must be answered",
            _ => "",
        };
        let kind = match options.is_empty() {
            true => question.kind.as_str().to_owned(),
            false => options.join("|"),
        };
        vec![
            question.variable.clone(),
            out::short(&kind, 40),
            out::short(&default.replace('\n', " "), 40),
            out::short(&plain(&question.label.replace('\n', " ")), 50),
        ]
    };
    let asked: Vec<Vec<String>> = version.questions.iter().map(row).collect();
    if !asked.is_empty() {
        out::line("");
        out::table(&["QUESTION", "ANSWER", "DEFAULT", "ABOUT"], asked, &[]);
    }
}
