//! What something waits for.

use model::explain::{Explanation, Explanations};
use model::{Kind, Result};

use crate::Client;
use crate::request::segment;
use crate::wire::ExplainQuery;

impl Client {
    /// Explains all objects of a name, or the one of a kind.
    pub async fn explain(
        &self,
        project: &str,
        kind: Option<Kind>,
        name: &str,
    ) -> Result<Vec<Explanation>> {
        let path = format!("/v1/projects/{}/explain/{}", segment(project), segment(name));
        let call = self.get(path).query(&ExplainQuery { kind });
        call.value::<Explanations>().await.map(|found| found.items)
    }
}
