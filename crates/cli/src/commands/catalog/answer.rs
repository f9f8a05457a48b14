//! Answers to the questions of a template: from `--set`, from a file, and asked for at the terminal.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use catalog::answers::{self, Answers};
use clap::Args;
use model::template::{Question, QuestionKind};
use model::{Error, Result};
use rustix::termios::{LocalModes, OptionalActions};

/// Largest file of answers.
const MAX_FILE: u64 = 1 << 20;

/// Where answers come from.
#[derive(Debug, Clone, Args)]
pub struct Given {
    /// Answer a question
    #[arg(long, value_name = "VARIABLE=ANSWER")]
    set: Vec<String>,
    /// Answers in a YAML file: variable: answer
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

impl Given {
    /// The answers that are given.
    pub fn read(&self) -> Result<Answers> {
        let mut answers = match &self.answers {
            Some(path) => file(path)?,
            None => Answers::new(),
        };
        for pair in &self.set {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Error::invalid(format!("{pair:?} is not an answer"))
                    .at("--set")
                    .next("write --set VARIABLE=ANSWER")
            })?;
            answers.insert(name.trim().to_owned(), value.to_owned());
        }
        Ok(answers)
    }
}

fn file(path: &Path) -> Result<Answers> {
    let refused = |why: &str| Error::invalid(format!("{}: {why}", path.display())).at("--answers");
    let missing = |error: std::io::Error| refused("cannot be read").caused_by(error);
    if std::fs::metadata(path).map_err(missing)?.len() > MAX_FILE {
        return Err(refused("is too large for answers"));
    }
    let text = std::fs::read_to_string(path).map_err(missing)?;
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let read: BTreeMap<String, Option<String>> =
        serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
            let place = error.location().map(|at| format!("line {}: ", at.line()));
            refused(&format!("{}it is not a list of answers", place.unwrap_or_default()))
                .next("write lines such as `port: 8080`")
        })?;
    Ok(read.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// Asks at the terminal for what is not given, if there is one and somebody sits at it.
pub fn ask(questions: &[Question], given: &mut Answers) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    // What is asked depends on answers as they count: `yes` is `true`.
    let mut known = given.clone();
    for question in questions {
        if let Some(answer) = known.get_mut(&question.variable) {
            *answer = answers::normal(question, std::mem::take(answer));
        }
    }
    let mut group = "";
    for question in questions {
        let open = !question.hidden && !known.contains_key(&question.variable);
        if open && answers::is_asked(question, &known) {
            if question.group != group {
                group = &question.group;
                say(&format!("\n{group}\n"));
            }
            let answer = ask_one(question)?;
            if let Some(answer) = answer {
                known.insert(question.variable.clone(), answer.clone());
                given.insert(question.variable.clone(), answer);
            }
        }
        known.entry(question.variable.clone()).or_insert_with(|| {
            answers::normal(question, question.default.clone().unwrap_or_default())
        });
    }
    Ok(())
}

/// One answer; nothing when the default is to count.
fn ask_one(question: &Question) -> Result<Option<String>> {
    if !question.description.is_empty() && question.description != question.label {
        say(&format!("  {}\n", question.description.replace('\n', "\n  ")));
    }
    for (number, choice) in question.options.iter().enumerate() {
        say(&format!("  {}) {}\n", number + 1, choice.label));
    }
    loop {
        say(&prompt(question));
        let Some(text) = read_answer(question)? else {
            return Err(Error::invalid("the questions were not answered")
                .next("answer with --set VARIABLE=ANSWER"));
        };
        if text.is_empty() {
            let default = question.default.as_deref().unwrap_or_default();
            let made_up = question.generate.is_some() || !default.is_empty();
            if made_up || !question.required {
                return Ok(None);
            }
        }
        let answer = chosen(question, text);
        match answers::check(question, &answer) {
            Ok(()) => return Ok(Some(answers::normal(question, answer))),
            Err(error) => say(&format!("  it {}\n", error.message())),
        }
    }
}

fn prompt(question: &Question) -> String {
    let default = match (&question.default, question.generate) {
        (Some(_), _) if question.is_secret() => " [as it is]".to_owned(),
        (Some(default), _) if !default.is_empty() => format!(" [{default}]"),
        (_, Some(_)) => " [made up]".to_owned(),
        _ if !question.required => " []".to_owned(),
        _ => String::new(),
    };
    let more = match question.kind {
        QuestionKind::Multiline | QuestionKind::Multistring => " (an empty line ends it)",
        QuestionKind::Boolean => " (yes, no)",
        QuestionKind::String
        | QuestionKind::Int
        | QuestionKind::Password
        | QuestionKind::Service
        | QuestionKind::Enum
        | QuestionKind::Certificate
        | QuestionKind::Secret => "",
    };
    format!("{}{more}{default}: ", question.label)
}

/// What was typed; nothing when the terminal is closed.
fn read_answer(question: &Question) -> Result<Option<String>> {
    match question.kind {
        QuestionKind::Multiline | QuestionKind::Multistring => {
            let mut lines = Vec::new();
            while let Some(line) = line()? {
                if line.is_empty() {
                    return Ok(Some(lines.join("\n")));
                }
                lines.push(line);
            }
            Ok(None)
        }
        QuestionKind::Password => unseen(line),
        QuestionKind::String
        | QuestionKind::Int
        | QuestionKind::Boolean
        | QuestionKind::Service
        | QuestionKind::Enum
        | QuestionKind::Certificate
        | QuestionKind::Secret => line(),
    }
}

/// An option may be named by its number, where no option is called so.
fn chosen(question: &Question, text: String) -> String {
    if question.options.iter().any(|choice| choice.value == text) {
        return text;
    }
    let number = text.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let choice = number.and_then(|number| question.options.get(number));
    choice.map_or(text, |choice| choice.value.clone())
}

fn line() -> Result<Option<String>> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let read =
        read.map_err(|error| Error::unavailable("the terminal broke off").caused_by(error))?;
    Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Reads without showing what is typed.
fn unseen<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    let stdin = std::io::stdin();
    let Ok(before) = rustix::termios::tcgetattr(&stdin) else { return read() };
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // A terminal that does not take it shows what is typed, and that is seen.
    let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &quiet);
    let outcome = read();
    let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &before);
    say("\n");
    outcome
}

fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    // Who closed standard error does not want to read it.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use model::template::Choice;

    use super::*;

    #[test]
    fn answers_that_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "port: 080\nname: x\nempty:\n").unwrap();
        let given = |set: &[&str]| Given {
            set: set.iter().map(|it| (*it).to_owned()).collect(),
            answers: Some(path.clone()),
        };
        let read = given(&["name=a=b"]).read().unwrap();
        let pairs: Vec<(&str, &str)> = read.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("empty", ""), ("name", "a=b"), ("port", "080")]);
        assert_eq!(given(&["name"]).read().unwrap_err().field(), Some("--set"));
        std::fs::write(&path, "- a\n").unwrap();
        assert_eq!(given(&[]).read().unwrap_err().field(), Some("--answers"));
    }

    #[test]
    fn a_choice_has_a_number() {
        let choice = |value: &str| Choice { value: value.into(), label: value.into() };
        let question = Question {
            kind: QuestionKind::Enum,
            options: vec![choice("two"), choice("1")],
            ..Question::default()
        };
        for (typed, meant) in [("1", "1"), ("2", "1"), ("two", "two"), ("3", "3")] {
            assert_eq!(chosen(&question, typed.into()), meant);
        }
    }
}
