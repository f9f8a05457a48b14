//! Verbs of services beside those all nouns have.

use model::Result;
use model::service::{Service, ServiceNoun};

use crate::objects::Objects;
use crate::wire::RollBackRequest;

impl Objects<ServiceNoun> {
    /// Takes an earlier template again.
    pub async fn roll_back(
        &self,
        name: &str,
        revision: Option<u64>,
        plan: bool,
    ) -> Result<Service> {
        let call = self.client().post(format!("{}/rollback", self.object_path(name)));
        call.plan(plan).json(&RollBackRequest { revision }).value().await
    }
}
