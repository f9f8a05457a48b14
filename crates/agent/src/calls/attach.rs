//! Pending.
use link::Session;
use link::instance::{AttachRequest, Target};
use model::Result;
pub async fn attach(_: &super::Calls, _: &Target, _: AttachRequest) -> Result<Session> {
    Err(model::Error::unsupported("pending"))
}
