//! Looks at what a plugin has mounted. Storage that went away keeps whoever looks in the kernel, perhaps for
//! ever: threads of their own look, not those that all the daemon shares, and one a volume at most.

use std::time::Duration;

use model::error::Context as _;
use model::{ErrorKind, Result};
use tokio::sync::oneshot;

use crate::driver::VolumeId;
use crate::turns::Turns;

/// Who looks at what, and how long they are waited for.
#[derive(Debug)]
pub struct Looks {
    turns: Turns,
    patience: Duration,
}

impl Looks {
    /// Nobody looks yet.
    pub fn new(patience: Duration) -> Self {
        Self { turns: Turns::default(), patience }
    }

    /// Looks at a volume, after those who do already.
    ///
    /// # Errors
    /// `Unavailable`, naming `what`, when it or they take too long; those of `work`.
    pub async fn look<T: Send + 'static>(
        &self,
        volume: &VolumeId,
        what: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let looked = tokio::time::timeout(self.patience, async {
            let turn = self.turns.wait(&[volume]).await;
            apart(move || {
                // Until it comes back, also when nobody waits for it any more.
                let _turn = turn;
                work()
            })
            .await
        });
        let silent = || format!("{} does not answer", what());
        looked.await.context(ErrorKind::Unavailable, silent)?
    }
}

/// Does work on a plugin's storage, however long it takes, on a thread of its own.
///
/// # Errors
/// `Unavailable` when there can be no more threads; those of `work`.
pub async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("plugin-volume".into());
    thread
        .spawn(move || drop(done.send(work())))
        .context(ErrorKind::Unavailable, || "no thread can be started for a volume".to_owned())?;
    answer.await.context(ErrorKind::Internal, || "work on a volume ended early".to_owned())?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn storage_that_hangs_holds_one_thread() {
        let looks = Looks::new(Duration::from_millis(50));
        let (hung, other): (VolumeId, VolumeId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let begun = Arc::new(AtomicUsize::new(0));
        let (release, hangs) = mpsc::channel::<()>();
        let mut hangs = Some(hangs);
        for _ in 0..3 {
            let (begun, hangs) = (begun.clone(), hangs.take());
            let work = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                hangs.map(|hangs| hangs.recv());
                Ok(())
            };
            let error = looks.look(&hung, || "it".into(), work).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Unavailable, "it does not answer")
            );
        }
        let looks = Looks { patience: Duration::from_secs(60), ..looks };
        assert_eq!(looks.look(&other, String::new, || Ok(1)).await.unwrap(), 1, "others go on");
        release.send(()).unwrap();
        assert_eq!(looks.look(&hung, String::new, || Ok(2)).await.unwrap(), 2, "it came back");
        assert_eq!(begun.load(Ordering::Relaxed), 1, "the others never looked");
    }
}
