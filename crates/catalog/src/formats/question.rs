//! Questions as they are written, in Rancher's format and in ours, which has the same words and more.

use model::template::{Choice, Question, QuestionKind, When};
use serde::Deserialize;

/// A question; everything in it is text, as it was written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Written {
    variable: Option<String>,
    label: Option<String>,
    description: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    required: Option<String>,
    hidden: Option<String>,
    default: Option<String>,
    group: Option<String>,
    options: Option<Vec<Option<String>>>,
    min: Option<String>,
    max: Option<String>,
    #[serde(alias = "min_length")]
    min_length: Option<String>,
    #[serde(alias = "max_length")]
    max_length: Option<String>,
    #[serde(alias = "valid_chars")]
    valid_chars: Option<String>,
    #[serde(alias = "invalid_chars")]
    invalid_chars: Option<String>,
    pattern: Option<String>,
    generate: Option<String>,
    #[serde(alias = "show_if")]
    show_if: Option<String>,
}

impl Written {
    /// What is asked; a sentence where it cannot be told.
    pub(super) fn question(self) -> Result<Question, String> {
        let variable = self.variable.unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
        if variable.is_empty() || variable.len() > 200 || !variable.chars().all(plain) {
            return Err(format!("a question has the variable {variable:?}"));
        }
        let word = self.kind.as_deref().map(str::trim).unwrap_or_default();
        let kind = match word {
            "" => QuestionKind::String,
            "bool" => QuestionKind::Boolean,
            "integer" => QuestionKind::Int,
            word => QuestionKind::named(word).ok_or_else(|| {
                format!("the question {variable} is of the unknown type {word:?}")
            })?,
        };
        let fault = |what: &str| format!("the question {variable} has a {what} that is no number");
        let number = |text: Option<String>, what: &str| -> Result<Option<i64>, String> {
            text.map(|text| text.trim().parse().map_err(|_| fault(what))).transpose()
        };
        let length = |text: Option<String>, what: &str| -> Result<Option<u32>, String> {
            text.map(|text| text.trim().parse().map_err(|_| fault(what))).transpose()
        };
        let flag = |text: Option<String>| {
            text.is_some_and(|text| matches!(text.trim(), "true" | "yes" | "True" | "1"))
        };
        let options = self.options.unwrap_or_default().into_iter().map(Option::unwrap_or_default);
        let options: Vec<Choice> =
            options.map(|value| Choice { label: value.clone(), value }).collect();
        if kind == QuestionKind::Enum && options.is_empty() {
            return Err(format!("the question {variable} has no options to choose from"));
        }
        Ok(Question {
            label: self.label.filter(|label| !label.is_empty()).unwrap_or_else(|| variable.clone()),
            description: self.description.unwrap_or_default().trim().to_owned(),
            kind,
            required: flag(self.required),
            hidden: flag(self.hidden),
            default: self.default,
            group: self.group.unwrap_or_default(),
            options,
            min: number(self.min, "min")?,
            max: number(self.max, "max")?,
            min_length: length(self.min_length, "minLength")?,
            max_length: length(self.max_length, "maxLength")?,
            valid_chars: self.valid_chars.unwrap_or_default(),
            invalid_chars: self.invalid_chars.unwrap_or_default(),
            pattern: self.pattern.unwrap_or_default(),
            generate: length(self.generate, "generate")?,
            when: self.show_if.as_deref().and_then(condition),
            variable,
        })
    }
}

/// `variable=answer`.
fn condition(text: &str) -> Option<When> {
    let (variable, is) = text.split_once('=')?;
    Some(When { variable: variable.trim().to_owned(), is: is.trim().to_owned() })
}

/// All questions, and the first fault.
pub(super) fn questions(written: Option<Vec<Written>>) -> (Vec<Question>, Option<String>) {
    let (mut good, mut fault) = (Vec::new(), None);
    for written in written.unwrap_or_default() {
        match written.question() {
            Ok(question) => good.push(question),
            Err(sentence) => fault = fault.or(Some(sentence)),
        }
    }
    (good, fault)
}
