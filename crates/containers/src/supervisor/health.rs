//! Whether containerd answers.

use std::path::Path;
use std::time::Duration;

use model::{Error, Result};

use super::Places;
use super::identity::Identity;
use crate::containerd::channel;

/// An answer that takes longer is none.
const DEADLINE: Duration = Duration::from_secs(5);

/// Time between questions while all is well. Death is noticed at once and without asking; this is
/// for one that lives and hangs.
const INTERVAL: Duration = Duration::from_secs(10);

/// So many answers may be missing in a row: a machine may be busy for a while.
const TRIES: u32 = 3;

/// First wait between looks at a socket that is to appear; it doubles to the second.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Asks for its version, once, on a connection of its own.
pub(super) async fn answers(socket: &Path) -> bool {
    let mut client = containerd_client::Client::from(channel::connect(socket)).version();
    matches!(tokio::time::timeout(DEADLINE, client.version(())).await, Ok(Ok(_)))
}

/// Waits for a process just started to answer.
pub(super) async fn until_it_answers(
    places: &Places,
    identity: &Identity,
    patience: Duration,
) -> Result<()> {
    let appear = async {
        let mut wait = LOOK.0;
        while !answers(&places.socket).await {
            tokio::time::sleep(wait).await;
            wait = LOOK.1.min(wait * 2);
        }
    };
    let failed = |why: &str| {
        Error::unavailable(format!("containerd {why}"))
            .next(format!("see {}", places.log.display()))
    };
    tokio::select! {
        () = appear => Ok(()),
        () = identity.ended() => Err(failed("ended while it was starting")),
        () = tokio::time::sleep(patience) => Err(failed("does not answer after its start")),
    }
}

/// Returns when it has ended or been silent too long, with the reason.
pub(super) async fn until_lost(socket: &Path, identity: &Identity) -> &'static str {
    tokio::select! {
        () = identity.ended() => "it ended",
        () = until_silent(socket) => "it does not answer",
    }
}

async fn until_silent(socket: &Path) {
    let mut missing = 0;
    while missing < TRIES {
        tokio::time::sleep(if missing == 0 { INTERVAL } else { DEADLINE }).await;
        missing = if answers(socket).await { 0 } else { missing + 1 };
    }
}
