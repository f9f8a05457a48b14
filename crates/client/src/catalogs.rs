//! Catalogs, as other nouns, and the templates in them.

use std::ops::Deref;

use model::Result;
use model::app::AppNoun;
use model::catalog::{Catalog, CatalogNoun};

use crate::Client;
use crate::objects::Objects;
use crate::request::segment;
use crate::wire::{Deployed, InstallRequest, TemplateUpgradeRequest};
use crate::wire::{TemplateDetail, TemplateList, TemplatesQuery, VersionQuery};

/// Catalogs.
#[derive(Debug, Clone)]
pub struct Catalogs {
    objects: Objects<CatalogNoun>,
}

impl Deref for Catalogs {
    type Target = Objects<CatalogNoun>;

    fn deref(&self) -> &Objects<CatalogNoun> {
        &self.objects
    }
}

impl Catalogs {
    pub(crate) fn new(client: Client) -> Self {
        Self { objects: Objects::of_cluster(client) }
    }

    /// Has a catalog's source read again, soon.
    pub async fn refresh(&self, name: &str) -> Result<Catalog> {
        self.client().post(format!("{}/refresh", self.object_path(name))).value().await
    }
}

impl Objects<AppNoun> {
    /// Makes an app of a template.
    pub async fn install(
        &self,
        name: &str,
        request: &InstallRequest,
        plan: bool,
    ) -> Result<Deployed> {
        let call = self.client().post(format!("{}/install", self.object_path(name)));
        call.plan(plan).json(request).value().await
    }

    /// Changes an app to another version of its template, or by other answers.
    pub async fn upgrade_template(
        &self,
        name: &str,
        request: &TemplateUpgradeRequest,
        plan: bool,
    ) -> Result<Deployed> {
        let call = self.client().post(format!("{}/upgrade-template", self.object_path(name)));
        call.plan(plan).json(request).value().await
    }
}

/// The templates that are offered in a project.
#[derive(Debug, Clone)]
pub struct Templates {
    client: Client,
    path: String,
}

impl Templates {
    pub(crate) fn new(client: Client, project: &str) -> Self {
        Self { client, path: format!("/v1/projects/{}/templates", segment(project)) }
    }

    /// All that the query selects.
    pub async fn list(&self, query: &TemplatesQuery) -> Result<TemplateList> {
        self.client.get(&self.path).query(query).value().await
    }

    /// One of them, with its README and files.
    pub async fn get(
        &self,
        catalog: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<TemplateDetail> {
        let path = format!("{}/{}/{}", self.path, segment(catalog), segment(name));
        let query = VersionQuery { version: version.map(str::to_owned) };
        self.client.get(path).query(&query).value().await
    }
}
