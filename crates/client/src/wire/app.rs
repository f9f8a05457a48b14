//! Installing and changing apps.

use std::collections::BTreeMap;

use model::app::{App, AppDifference, AppFiles, AppNote};
use serde::{Deserialize, Serialize};

/// An app to be installed, or changed to this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpRequest {
    /// The files it is made from.
    pub files: AppFiles,
    /// Take the last revision that worked again when this one fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub roll_back_on_failure: bool,
    /// Copy its volumes before anything is changed, where their storage can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copy_volumes: bool,
}

/// The files of an app, read again with other variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpgradeRequest {
    /// Variables that have other values now.
    pub set: BTreeMap<String, String>,
    /// Take the last revision that worked again when this one fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub roll_back_on_failure: bool,
    /// Copy its volumes before anything is changed, where their storage can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copy_volumes: bool,
}

/// How many instances services of an app are to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleRequest {
    /// The number for each service, by what the files call it.
    pub services: BTreeMap<String, u32>,
}

/// To which revision an app goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppRollBackRequest {
    /// Its number; the last one before the present that did not fail when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Its volumes, too, as they were copied when the revision was left. The present ones stay beside them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub volumes: bool,
}

/// Which revision of an app is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RevisionQuery {
    /// Its number; the present one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// What became of an app, or with `plan=true` would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The app.
    pub app: App,
    /// How it differs from what was there, in the order in which that is brought about.
    pub changes: Vec<AppDifference>,
    /// Words of the files that were not acted on.
    #[serde(default)]
    pub ignored: Vec<AppNote>,
}
