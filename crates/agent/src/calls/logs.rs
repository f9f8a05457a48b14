//! Pending.
use link::ResultStream;
use link::instance::{LogRecord, LogsRequest, Target};
use model::Result;
pub async fn logs(_: &super::Calls, _: &Target, _: LogsRequest) -> Result<ResultStream<LogRecord>> {
    Err(model::Error::unsupported("pending"))
}
