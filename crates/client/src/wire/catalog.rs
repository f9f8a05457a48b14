//! Templates of catalogs, and making apps of them.

use std::collections::BTreeMap;

use model::template::Template;
use serde::{Deserialize, Serialize};

/// Which templates are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TemplatesQuery {
    /// Of this catalog only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub catalog: String,
    /// Only those in whose name, title, summary or categories all of these words are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub search: String,
    /// Also those that are parts of a platform, and no applications.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Which version of a template is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VersionQuery {
    /// This one; the one that is offered when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A template as a list tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateSummary {
    /// The catalog it is in.
    pub catalog: String,
    /// Its name in the catalog.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// What sorts of things it is.
    pub categories: Vec<String>,
    /// It is a part of a platform, and no application.
    pub system: bool,
    /// Whether it has a picture.
    pub icon: bool,
    /// The version that is installed when none is asked for.
    pub version: String,
    /// Versions that can be installed, oldest first.
    pub versions: Vec<String>,
    /// Why it cannot be installed at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl From<&Template> for TemplateSummary {
    fn from(template: &Template) -> Self {
        let versions: Vec<String> = template.usable().map(|it| it.version.clone()).collect();
        let first = || template.versions.iter().rev().find_map(|it| it.problem.clone());
        let problem = template.problem.clone();
        Self {
            catalog: template.catalog.clone(),
            name: template.name.clone(),
            title: template.title.clone(),
            summary: template.summary.clone(),
            categories: template.categories.clone(),
            system: template.system,
            icon: !template.icon.is_empty(),
            version: template.version.clone(),
            problem: problem.or_else(|| if versions.is_empty() { first() } else { None }),
            versions,
        }
    }
}

/// The templates of catalogs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateList {
    /// The templates, by catalog and name.
    pub items: Vec<TemplateSummary>,
    /// Catalogs whose templates could not be told, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub problems: BTreeMap<String, String>,
}

/// A template with what is told of one of its versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateDetail {
    /// The template, with all its versions and their questions.
    pub template: Template,
    /// The version that the rest is about.
    pub version: String,
    /// Its README.
    pub readme: String,
    /// The files it is installed from, as they are before they are rendered: path to text.
    pub files: BTreeMap<String, String>,
}

/// An app to be made of a template.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InstallRequest {
    /// The template's catalog.
    pub catalog: String,
    /// The template.
    pub template: String,
    /// Its version; the one that is offered when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Answers to its questions, by variable; of those not given the default counts.
    pub answers: BTreeMap<String, String>,
    /// Leave the app as it is when it fails, and do not take back the last revision that worked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_failed: bool,
}

/// An app to be changed to another version of its template, or by other answers.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TemplateUpgradeRequest {
    /// The version; the one it has when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Take the version that the catalog offers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub latest: bool,
    /// Answers that change, by variable; the others stay.
    pub answers: BTreeMap<String, String>,
    /// Leave the app as it is when it fails, and do not take back the last revision that worked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_failed: bool,
    /// Do not copy the app's volumes before anything is changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_copies: bool,
}

// Answers may be passwords: only their names are shown.
impl std::fmt::Debug for InstallRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstallRequest")
            .field("catalog", &self.catalog)
            .field("template", &self.template)
            .field("version", &self.version)
            .field("answers", &self.answers.keys())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TemplateUpgradeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TemplateUpgradeRequest")
            .field("version", &self.version)
            .field("answers", &self.answers.keys())
            .finish_non_exhaustive()
    }
}
