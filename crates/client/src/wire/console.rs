//! A machine's graphical console.
//!
//! Browsers can send no token with a WebSocket, and a token in a path would be in logs. So one who is
//! known asks for a ticket, which opens one connection to one machine, once and soon.

use model::Time;
use serde::{Deserialize, Serialize};

/// Media type of a screenshot.
pub const PNG: &str = "image/png";
/// Longest message of a console's WebSocket in bytes, either way. Messages are binary and parts of a
/// stream of bytes: the remote framebuffer protocol (RFC 6143).
pub const MAX_CONSOLE_MESSAGE: usize = 1 << 20;

/// Opens a machine's graphical console once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleTicket {
    /// The ticket: a secret.
    pub ticket: String,
    /// When it is worth nothing any more.
    pub expires: Time,
}

/// The ticket a console is opened with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TicketQuery {
    /// The ticket.
    pub ticket: String,
}
