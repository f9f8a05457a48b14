//! Reading what happened.

use link::ResultStream;
use model::Result;
use model::event::Event;

use crate::Client;
use crate::wire::EventsQuery;

/// Events.
#[derive(Debug, Clone)]
pub struct Events {
    client: Client,
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Those that `query` selects, oldest first, and with `watch` those that are to come.
    pub async fn read(&self, query: &EventsQuery) -> Result<ResultStream<Event>> {
        self.client.get("/v1/events").query(query).lines().await
    }
}
