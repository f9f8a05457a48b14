//! Template: an application that can be installed from a catalog, its versions and its questions.
//!
//! Whatever format a catalog is written in, this is what is known of what is in it. A template or a
//! version that cannot be used is told with its problem, and hides no other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A template of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = CatalogTemplate)]
pub struct Template {
    /// The catalog it is in.
    pub catalog: String,
    /// Its name, unique in the catalog.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// What sorts of things it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintainer: String,
    /// Where more is told of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// The licence of what is installed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Labels that its authors gave it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// It is a part of a platform, and no application: Rancher's own services, for instance.
    pub system: bool,
    /// Its picture: a path in the catalog, or a web address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub icon: String,
    /// The version that is installed when none is asked for.
    pub version: String,
    /// Its versions, oldest first.
    pub versions: Vec<TemplateVersion>,
    /// Why it cannot be used at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A version of a template.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateVersion {
    /// Its version, unique in the template.
    pub version: String,
    /// The directory it is in.
    pub place: String,
    /// The README: a path in the catalog.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub readme: String,
    /// The files it is installed from, in the order in which they are merged: paths in the catalog.
    pub files: Vec<String>,
    /// What is asked before it is installed.
    pub questions: Vec<Question>,
    /// Versions that can be upgraded to this one: `>=1.0.0 <2.0.0 || 0.9`. All, when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub upgrade_from: String,
    /// It is for an older or newer platform than the one whose format it is in, and offered last.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unfit: bool,
    /// The address that is opened when it runs: `http://HOST:PORT/`, with variables of its questions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub open: String,
    /// A remark of its authors.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Why it cannot be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is asked before a template is installed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Question {
    /// The variable that has the answer.
    pub variable: String,
    /// What is asked, in few words.
    pub label: String,
    /// What is asked, in more words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What an answer is.
    pub kind: QuestionKind,
    /// An empty answer is none.
    pub required: bool,
    /// It is not asked: the default counts, unless another answer is given by name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// The answer when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Questions of one group are asked together.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Answers to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// Least number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Greatest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Fewest characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// Most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The only characters an answer may have: the inside of a character class, `a-z0-9`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub valid_chars: String,
    /// Characters that an answer may not have: the inside of a character class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub invalid_chars: String,
    /// A regular expression that the whole answer matches.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    /// An answer of so many random letters and digits is made when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate: Option<u32>,
    /// It is asked only when this variable has this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

impl Question {
    /// Whether the answer is kept encrypted and never shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, QuestionKind::Password)
    }
}

/// What decides whether a question is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// A variable of a question before it.
    pub variable: String,
    /// The answer that it has.
    pub is: String,
}

/// An answer to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// What the variable then has.
    pub value: String,
    /// What people read.
    pub label: String,
}

/// What an answer is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum QuestionKind {
    /// A line of text.
    #[default]
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Boolean,
    /// A line of text that is not shown.
    Password,
    /// A service that is there, by name, or `app/service`.
    Service,
    /// One of the options.
    Enum,
    /// Lines of text.
    Multiline,
    /// Texts, one a line.
    Multistring,
    /// A certificate, by the name of the secret that has it.
    Certificate,
    /// A secret, by name.
    Secret,
}

impl QuestionKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::String,
        Self::Int,
        Self::Boolean,
        Self::Password,
        Self::Service,
        Self::Enum,
        Self::Multiline,
        Self::Multistring,
        Self::Certificate,
        Self::Secret,
    ];

    /// The word that stands for it in templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Boolean => "boolean",
            Self::Password => "password",
            Self::Service => "service",
            Self::Enum => "enum",
            Self::Multiline => "multiline",
            Self::Multistring => "multistring",
            Self::Certificate => "certificate",
            Self::Secret => "secret",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Template {
    /// The version of this name; the one that is offered when none is asked for.
    #[must_use]
    pub fn version(&self, asked: Option<&str>) -> Option<&TemplateVersion> {
        let wanted = asked.unwrap_or(&self.version);
        self.versions.iter().find(|version| version.version == wanted)
    }

    /// Versions that can be installed.
    pub fn usable(&self) -> impl Iterator<Item = &TemplateVersion> {
        let whole = self.problem.is_none();
        self.versions.iter().filter(move |version| whole && version.problem.is_none())
    }
}
