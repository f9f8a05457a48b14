//! Forgets tokens that expired long ago.

use std::sync::Arc;
use std::time::Duration;

use model::Result;
use tasks::Pass;

use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::{Core, Mode};
use crate::mirror::State;

/// How long a token is kept after it expired, so that people see why it is refused.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most tokens removed in one pass.
const AT_ONCE: usize = 256;

/// The loop.
pub(crate) struct Retention(pub(crate) Arc<Core>);

impl Pass for Retention {
    const NAME: &'static str = "retention";

    async fn pass(&mut self) -> Result<String> {
        let now = self.0.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = state.tokens.iter().filter(|token| {
                token.spec.expires.is_some_and(|expires| now.since(expires) > KEPT_FOR)
            });
            let old: Vec<_> = old.take(AT_ONCE).cloned().collect();
            for token in &old {
                batch.delete(token, model::Object::clone(token), now, &Caller::platform());
            }
            Ok(old.len())
        };
        let (_, count) = self.0.transact(Mode::Apply, plan).await?;
        Ok(if count == 0 { String::new() } else { format!("{count} expired tokens forgotten") })
    }
}
