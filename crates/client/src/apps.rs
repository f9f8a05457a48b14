//! Verbs of apps beside reading them.

use std::collections::BTreeMap;

use http::Method;
use model::Result;
use model::app::{AppFiles, AppNoun};

use crate::objects::Objects;
use crate::wire::{
    AppRollBackRequest, DeleteQuery, Deployed, RevisionQuery, ScaleRequest, UpRequest,
    UpgradeRequest,
};

impl Objects<AppNoun> {
    /// Installs an app, or changes the one of this name.
    pub async fn up(&self, name: &str, request: &UpRequest, plan: bool) -> Result<Deployed> {
        self.post_to(name, "up", request, plan).await
    }

    /// Reads the files of an app again with other variables.
    pub async fn upgrade(
        &self,
        name: &str,
        request: &UpgradeRequest,
        plan: bool,
    ) -> Result<Deployed> {
        self.post_to(name, "upgrade", request, plan).await
    }

    /// Changes how many instances services of an app have.
    pub async fn scale(
        &self,
        name: &str,
        services: BTreeMap<String, u32>,
        plan: bool,
    ) -> Result<Deployed> {
        self.post_to(name, "scale", &ScaleRequest { services }, plan).await
    }

    /// Takes an earlier revision of an app again.
    pub async fn take_back(
        &self,
        name: &str,
        request: AppRollBackRequest,
        plan: bool,
    ) -> Result<Deployed> {
        self.post_to(name, "rollback", &request, plan).await
    }

    /// Removes an app and all it made, its volumes only where that is said.
    pub async fn down(&self, name: &str, volumes: bool, plan: bool) -> Result<Deployed> {
        let call = self.client().call(Method::DELETE, self.object_path(name));
        call.query(&DeleteQuery { plan, volumes, force: false }).value().await
    }

    /// The files that an app was made from. There may be secrets in them.
    pub async fn files(&self, name: &str, revision: Option<u64>) -> Result<AppFiles> {
        let call = self.client().get(format!("{}/files", self.object_path(name)));
        call.query(&RevisionQuery { revision }).value().await
    }

    async fn post_to<T: serde::Serialize>(
        &self,
        name: &str,
        verb: &str,
        body: &T,
        plan: bool,
    ) -> Result<Deployed> {
        let call = self.client().post(format!("{}/{verb}", self.object_path(name)));
        call.plan(plan).json(body).value().await
    }
}
