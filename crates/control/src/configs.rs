//! Configs: files that instances read.

use model::Result;
use model::config::{Config, ConfigNoun};

use crate::batch::Batch;
use crate::handed;
use crate::service::{Context, Rules, Service};

/// The verbs of configs.
pub type Configs = Service<ConfigNoun>;

impl Rules for ConfigNoun {
    fn change(context: &Context<'_>, old: &Config, new: &mut Config, _: &mut Batch) -> Result<()> {
        if old.spec != new.spec {
            return Err(handed::unchanging(old, "spec.data"));
        }
        handed::check_rename(context, old, &new.meta.name)
    }

    fn delete(context: &Context<'_>, config: &mut Config, _: &mut Batch) -> Result<()> {
        handed::check_unused(context, config)
    }
}
