//! Answers to a template's questions: which are asked, which are good, and what counts when there is
//! none.

use std::collections::BTreeMap;

use model::template::{Question, QuestionKind};
use model::{Error, Result};
use regex::Regex;

/// Answers by variable.
pub type Answers = BTreeMap<String, String>;

/// Longest answer.
const MAX_ANSWER: usize = 64 << 10;
/// Most answers.
const MAX_ANSWERS: usize = 1000;
/// Longest expression that a question holds an answer against.
const MAX_PATTERN: usize = 1000;

/// Completes and checks answers. Those of `before` count where none is given now; `random` makes bytes
/// for what is made up.
///
/// # Errors
/// `Invalid`, with everything that is wrong, and the first variable as the field.
pub fn settle(
    questions: &[Question],
    given: &Answers,
    before: &Answers,
    random: &mut dyn FnMut() -> u8,
) -> Result<Answers> {
    if given.len() > MAX_ANSWERS {
        return Err(Error::invalid(format!("more than {MAX_ANSWERS} answers are given")));
    }
    let mut settled = Answers::new();
    let mut faults = unknown(questions, given);
    for question in questions {
        let name = &question.variable;
        let found = given.get(name).or_else(|| before.get(name)).cloned();
        if !is_asked(question, &settled) {
            // It reaches the template all the same, so it has to be good; but it may be missing.
            let answer = found.or_else(|| question.default.clone()).unwrap_or_default();
            let answer = match check(&Question { required: false, ..question.clone() }, &answer) {
                Ok(()) => normal(question, answer),
                Err(error) if given.contains_key(name) => {
                    faults.push((name.clone(), error));
                    continue;
                }
                // Nobody can mend one of before that is not asked any more.
                Err(_) => String::new(),
            };
            settled.insert(name.clone(), answer);
            continue;
        }
        let answer = match found {
            Some(answer) => answer,
            None => made_up(question, random),
        };
        match check(question, &answer) {
            Ok(()) => drop(settled.insert(name.clone(), normal(question, answer))),
            Err(error) => faults.push((name.clone(), error)),
        }
    }
    match faults.is_empty() {
        true => Ok(settled),
        false => Err(together(faults)),
    }
}

/// Whether a question is asked, after these answers.
#[must_use]
pub fn is_asked(question: &Question, answers: &Answers) -> bool {
    question.when.as_ref().is_none_or(|when| answers.get(&when.variable) == Some(&when.is))
}

fn unknown(questions: &[Question], given: &Answers) -> Vec<(String, Error)> {
    let known = |name: &String| questions.iter().any(|question| question.variable == *name);
    let fault = |name: &String| {
        let known: Vec<&str> =
            questions.iter().map(|question| question.variable.as_str()).collect();
        let error = Error::invalid("is not asked").next(format!(
            "these are: {}",
            if known.is_empty() { "none".into() } else { known.join(", ") }
        ));
        (name.clone(), error)
    };
    given.keys().filter(|name| !known(name)).map(fault).collect()
}

/// One refusal of all faults.
fn together(faults: Vec<(String, Error)>) -> Error {
    let sentences: Vec<String> =
        faults.iter().map(|(name, error)| format!("{name} {}", error.message())).collect();
    let mut error = Error::invalid(sentences.join("; "));
    if let Some((name, first)) = faults.first() {
        error = error.at(format!("answers.{name}"));
        if let Some(next) = first.next_step() {
            error = error.next(next);
        }
    }
    error
}

/// The answer that counts when none is given.
fn made_up(question: &Question, random: &mut dyn FnMut() -> u8) -> String {
    match (&question.default, question.generate) {
        (Some(default), _) if !default.is_empty() => default.clone(),
        (_, Some(length)) => invent(length, random),
        (default, None) => default.clone().unwrap_or_default(),
    }
}

/// Random letters and digits.
fn invent(length: u32, random: &mut dyn FnMut() -> u8) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789aZ";
    let length = length.clamp(1, 256);
    (0..length).map(|_| char::from(SIGNS[usize::from(random() % 64)])).collect()
}

/// Checks one answer.
///
/// # Errors
/// `Invalid` with a sentence that goes on from the variable's name.
pub fn check(question: &Question, answer: &str) -> Result<()> {
    if answer.len() > MAX_ANSWER {
        return Err(Error::invalid(format!("has more than {} kB", MAX_ANSWER >> 10)));
    }
    if answer.contains('\0') {
        return Err(Error::invalid("has a byte of zero"));
    }
    if answer.trim().is_empty() {
        return match question.required {
            true => Err(Error::invalid("is needed").next(format!("--set {}=…", question.variable))),
            false => Ok(()),
        };
    }
    check_kind(question, answer)?;
    check_length(question, answer)?;
    check_characters(question, answer)
}

fn check_kind(question: &Question, answer: &str) -> Result<()> {
    match question.kind {
        QuestionKind::Int => check_number(question, answer),
        QuestionKind::Boolean => match boolean(answer) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(format!("is true or false, not {}", shown(answer)))),
        },
        QuestionKind::Enum => check_choice(question, answer),
        QuestionKind::String
        | QuestionKind::Password
        | QuestionKind::Service
        | QuestionKind::Certificate
        | QuestionKind::Secret => match answer.contains('\n') {
            true => Err(Error::invalid("is one line")),
            false => Ok(()),
        },
        QuestionKind::Multiline | QuestionKind::Multistring => Ok(()),
    }
}

fn check_number(question: &Question, answer: &str) -> Result<()> {
    let number: i64 = answer
        .trim()
        .parse()
        .map_err(|_| Error::invalid(format!("is a whole number, not {}", shown(answer))))?;
    match (question.min, question.max) {
        (Some(min), _) if number < min => Err(Error::invalid(format!("is {min} or more"))),
        (_, Some(max)) if number > max => Err(Error::invalid(format!("is {max} or less"))),
        _ => Ok(()),
    }
}

fn check_choice(question: &Question, answer: &str) -> Result<()> {
    if question.options.iter().any(|choice| choice.value == answer) {
        return Ok(());
    }
    let values: Vec<&str> = question.options.iter().map(|choice| choice.value.as_str()).collect();
    Err(Error::invalid(format!("is one of {}, not {}", values.join(", "), shown(answer))))
}

fn check_length(question: &Question, answer: &str) -> Result<()> {
    let length = u32::try_from(answer.chars().count()).unwrap_or(u32::MAX);
    // In Rancher's format `min` and `max` of a text are those of its length.
    let of_text = |bound: Option<i64>| match question.kind {
        QuestionKind::Int => None,
        _ => bound.and_then(|bound| u32::try_from(bound).ok()),
    };
    match (
        question.min_length.or_else(|| of_text(question.min)),
        question.max_length.or_else(|| of_text(question.max)),
    ) {
        (Some(min), _) if length < min => {
            Err(Error::invalid(format!("has {length} characters, and is to have {min} at least")))
        }
        (_, Some(max)) if length > max => {
            Err(Error::invalid(format!("has {length} characters, and may have {max}")))
        }
        _ => Ok(()),
    }
}

fn check_characters(question: &Question, answer: &str) -> Result<()> {
    let holds = |pattern: String| -> Result<bool> { Ok(expression(&pattern)?.is_match(answer)) };
    let Question { valid_chars, invalid_chars, pattern, .. } = question;
    if !valid_chars.is_empty() && !holds(format!("^[{valid_chars}]*$"))? {
        return Err(Error::invalid(format!("has characters that are none of {valid_chars}")));
    }
    if !invalid_chars.is_empty() && holds(format!("[{invalid_chars}]"))? {
        return Err(Error::invalid(format!("has one of the characters {invalid_chars}")));
    }
    if !pattern.is_empty() && !holds(format!("^(?:{pattern})$"))? {
        return Err(Error::invalid(format!("does not match {pattern}")));
    }
    Ok(())
}

/// The expression of a template, whose author is a stranger.
fn expression(pattern: &str) -> Result<Regex> {
    let refused = || Error::invalid("is held against an expression that cannot be read");
    if pattern.len() > MAX_PATTERN {
        return Err(refused());
    }
    let built = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    built.map_err(|error| refused().caused_by(error))
}

/// An answer as the template is given it, and as other questions depend on it.
#[must_use]
pub fn normal(question: &Question, answer: String) -> String {
    match question.kind {
        QuestionKind::Boolean => match boolean(&answer) {
            Some(value) => value.to_string(),
            None => answer,
        },
        QuestionKind::Int => answer.trim().to_owned(),
        QuestionKind::String
        | QuestionKind::Password
        | QuestionKind::Service
        | QuestionKind::Enum
        | QuestionKind::Multiline
        | QuestionKind::Multistring
        | QuestionKind::Certificate
        | QuestionKind::Secret => answer,
    }
}

fn boolean(answer: &str) -> Option<bool> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn shown(answer: &str) -> String {
    let short: String = answer.chars().take(40).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use model::template::{Choice, When};

    use super::*;

    fn question(kind: QuestionKind) -> Question {
        Question { variable: "x".into(), kind, ..Question::default() }
    }

    #[test]
    fn answers_of_each_kind() {
        use QuestionKind::*;
        let options = ["a", "b"].map(|it| Choice { value: it.into(), label: it.into() });
        let choice = Question { options: options.into(), ..question(Enum) };
        let number = Question { min: Some(1), max: Some(10), ..question(Int) };
        let short = Question { min_length: Some(2), max_length: Some(3), ..question(String) };
        let letters = Question { valid_chars: "a-z".into(), ..question(String) };
        let spaceless = Question { invalid_chars: r"\s".into(), ..question(Password) };
        let whole = Question { pattern: "[0-9]+".into(), ..question(String) };
        let needed = Question { required: true, ..question(String) };
        for (question, good, bad) in [
            (&question(String), "text", "two\nlines"),
            (&question(Multiline), "two\nlines", "\0"),
            (&question(Boolean), "yes", "perhaps"),
            (&number, "10", "11"),
            (&number, "1", "0"),
            (&number, "7", "seven"),
            (&choice, "b", "c"),
            (&short, "ab", "a"),
            (&short, "äöü", "abcd"),
            (&letters, "abc", "a1"),
            (&spaceless, "pass", "pa ss"),
            (&whole, "12", "12a"),
            (&needed, "x", "  "),
            (&question(Secret), "name", &"x".repeat(MAX_ANSWER + 1)),
        ] {
            check(question, good).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert!(check(question, bad).is_err(), "{bad}");
        }
        let hopeless = Question { valid_chars: "z-a".into(), ..question(String) };
        assert!(check(&hopeless, "a").is_err());
    }

    #[test]
    fn what_counts_when_nothing_is_given() {
        let named = |name: &str| Question { variable: name.into(), ..Question::default() };
        let secret = Question {
            kind: QuestionKind::Password,
            generate: Some(12),
            required: true,
            ..named("secret")
        };
        let fixed = Question { default: Some("d".into()), ..named("fixed") };
        let flag = Question { kind: QuestionKind::Boolean, ..named("flag") };
        let when = Some(When { variable: "flag".into(), is: "true".into() });
        let dependent = Question { required: true, when, ..named("dependent") };
        let all = [secret, fixed, flag, dependent];
        let given = Answers::from([("flag".into(), "no".into())]);
        let before = Answers::from([("fixed".into(), "kept".into())]);
        let settled = settle(&all, &given, &before, &mut || 27).unwrap();
        let values: Vec<(&str, &str)> =
            settled.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            values,
            [("dependent", ""), ("fixed", "kept"), ("flag", "false"), ("secret", "bbbbbbbbbbbb")]
        );
        let hidden = [&all[..2], &[Question { max_length: Some(3), ..all[3].clone() }]].concat();
        let long = Answers::from([("dependent".into(), "long".into())]);
        let error = settle(&hidden, &long, &before, &mut || 0).unwrap_err();
        assert_eq!(error.message(), "dependent has 4 characters, and may have 3");
        assert_eq!(settle(&hidden, &before, &long, &mut || 0).unwrap()["dependent"], "");
        let short = Answers::from([("dependent".into(), "abc".into())]);
        assert_eq!(settle(&hidden, &short, &before, &mut || 0).unwrap()["dependent"], "abc");
        let given = Answers::from([("flag".into(), "on".into()), ("typo".into(), "1".into())]);
        let error = settle(&all, &given, &before, &mut || 0).unwrap_err();
        assert_eq!(error.message(), "typo is not asked; dependent is needed");
        assert_eq!(error.field(), Some("answers.typo"));
    }
}
