//! Reads a checkout of a catalog and prints how many of its templates can be read, rendered with made-up
//! answers, and planned, and why the rest cannot.
//!
//!     cargo run -p catalog --example catalog_survey -- DIRECTORY...

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use catalog::answers::{self, Answers};
use catalog::{Tree, formats, render, sources};
use model::Result;
use model::template::{Question, QuestionKind, Template, TemplateVersion};

/// How far the versions of some templates come.
#[derive(Default)]
struct Row {
    templates: usize,
    versions: usize,
    /// Versions that have a Compose file.
    composed: usize,
    listed: usize,
    rendered: usize,
    planned: usize,
    newest: usize,
    newest_planned: usize,
    questions: usize,
    reasons: BTreeMap<String, Vec<String>>,
}

fn main() -> ExitCode {
    let directories: Vec<String> = std::env::args().skip(1).collect();
    if directories.is_empty() {
        println!("give directories with checkouts of catalogs");
        return ExitCode::from(2);
    }
    for directory in directories {
        if let Err(error) = survey(&directory) {
            println!("{directory}: {}", error.chain());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn survey(directory: &str) -> Result<()> {
    let root = std::path::absolute(directory).unwrap_or_else(|_| directory.into());
    let mut tree = sources::directory::read(Path::new(&root))?;
    let compose = files(&tree, "docker-compose.yml");
    let rancher = files(&tree, "rancher-compose.yml");
    let all = formats::read("survey", &mut tree)?;
    println!(
        "{directory}: {} templates, {compose} docker-compose and {rancher} rancher-compose files",
        all.len()
    );
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for template in &all {
        let kind = if template.system { "platform" } else { "application" };
        look(&tree, template, rows.entry(kind).or_default());
    }
    println!(
        "{:12} {:>9} {:>9} {:>8} {:>8} {:>8} {:>12} {:>12} {:>12}",
        "",
        "templates",
        "questions",
        "versions",
        "composed",
        "listed",
        "rendered",
        "planned",
        "newest"
    );
    for (kind, row) in &rows {
        println!(
            "{kind:12} {:9} {:9} {:8} {:8} {:8} {:>12} {:>12} {:>12}",
            row.templates,
            row.questions,
            row.versions,
            row.composed,
            row.listed,
            share(row.rendered, row.composed),
            share(row.planned, row.composed),
            share(row.newest_planned, row.newest),
        );
    }
    for (kind, row) in rows {
        for (reason, places) in row.reasons {
            println!("  {kind}: {} x {reason}", places.len());
            places.iter().take(4).for_each(|place| println!("      {place}"));
        }
    }
    Ok(())
}

fn share(part: usize, whole: usize) -> String {
    let percent = if whole == 0 { 100.0 } else { 100.0 * part as f64 / whole as f64 };
    format!("{part} {percent:.1} %")
}

fn files(tree: &Tree, name: &str) -> usize {
    let named = |path: &&str| {
        let path = path.strip_suffix(".tpl").unwrap_or(path);
        path.ends_with(&format!("/{name}"))
    };
    tree.below("").filter(named).count()
}

fn look(tree: &Tree, template: &Template, row: &mut Row) {
    row.templates += 1;
    for version in &template.versions {
        row.versions += 1;
        row.questions += version.questions.len();
        let is_newest = version.version == template.version;
        let place = format!("{}: {}", template.name, version.place);
        let problem = template.problem.as_ref().or(version.problem.as_ref());
        if problem.is_none_or(|problem| problem != "it has no Compose file") {
            row.composed += 1;
            row.newest += usize::from(is_newest);
        }
        if let Some(problem) = problem {
            note(row, problem, &place);
            continue;
        }
        row.listed += 1;
        let files = match rendered(tree, template, version) {
            Ok(files) => files,
            Err(error) => {
                note(row, &error.chain(), &place);
                continue;
            }
        };
        row.rendered += 1;
        match plan(files) {
            Ok(()) => {
                row.planned += 1;
                row.newest_planned += usize::from(is_newest);
            }
            Err(faults) => faults.iter().for_each(|fault| note(row, fault, &place)),
        }
    }
}

/// Keeps a reason with what is particular to a place left out.
fn note(row: &mut Row, reason: &str, place: &str) {
    let reason = reason.replace('\n', " ");
    let particular = |word: &&str| {
        !word.contains("templates/") && !word.starts_with("services.") && !word.starts_with('"')
    };
    let general: Vec<&str> = reason.split(' ').filter(particular).collect();
    row.reasons.entry(general.join(" ")).or_default().push(format!("{place}: {reason}"));
}

/// The files of a version with made-up answers, those beside them, and the answers.
type Files = (Vec<render::File>, BTreeMap<String, Vec<u8>>, Answers);

fn rendered(tree: &Tree, template: &Template, version: &TemplateVersion) -> Result<Files> {
    let given = version.questions.iter().filter_map(|question| {
        let empty = question.default.as_deref().unwrap_or_default().trim().is_empty();
        (empty && question.required).then(|| (question.variable.clone(), made_up(question)))
    });
    let given: Answers = given.collect();
    let settled = answers::settle(&version.questions, &given, &Answers::new(), &mut || 7)?;
    let files = render::render(tree, template, version, "survey", &settled)?;
    let beside = tree.below(&version.place).filter(|_| !version.place.is_empty());
    let beside = beside.filter_map(|path| Some((path.to_owned(), tree.get(path)?.to_vec())));
    Ok((files, beside.collect(), settled))
}

/// Has the files read as those of an app, without making one.
fn plan((files, mut all, answers): Files) -> std::result::Result<(), Vec<String>> {
    // A file of Rancher's is found beside the Compose file by its name.
    let main = files.iter().map(|file| file.path.clone());
    let main = main.filter(|path| !path.contains("rancher-compose.y")).collect();
    all.extend(files.into_iter().map(|file| (file.path, file.text.into_bytes())));
    let asked = compose::Asked {
        files: main,
        name: "survey".to_owned(),
        variables: answers,
        ..compose::Asked::default()
    };
    match compose::read(&all, &asked) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.faults.iter().map(ToString::to_string).collect()),
    }
}

/// What somebody might answer.
fn made_up(question: &Question) -> String {
    match question.kind {
        QuestionKind::Int => question.min.unwrap_or(8080).to_string(),
        QuestionKind::Boolean => "true".to_owned(),
        QuestionKind::Enum => {
            question.options.first().map(|choice| choice.value.clone()).unwrap_or_default()
        }
        QuestionKind::Service => "other/service".to_owned(),
        QuestionKind::String
        | QuestionKind::Password
        | QuestionKind::Multiline
        | QuestionKind::Multistring
        | QuestionKind::Certificate
        | QuestionKind::Secret => "example-answer".to_owned(),
    }
}
