//! Programs and their versions, one check each.

use std::time::Instant;

use tokio::task::JoinSet;

use super::{Area, Check, Finding, check};
use crate::programs::{Answer, Need, PROGRAMS, Program};

/// Asks all of them at the same time.
pub async fn all() -> Vec<Check> {
    let mut tasks = JoinSet::new();
    for (place, program) in PROGRAMS.into_iter().enumerate() {
        tasks.spawn(async move {
            let started = Instant::now();
            let finding = judge(&program, &program.ask().await);
            (place, check(program.name, Area::Programs, finding, started.elapsed()))
        });
    }
    let mut answers: Vec<_> = tasks.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, check)| check).collect()
}

fn judge(program: &Program, answer: &Answer) -> Finding {
    let install = format!("apt-get install {}", program.package);
    let bad = |text: String, remedy: String| match program.need {
        Need::Always => Finding::fail(text, remedy),
        Need::For(what) => Finding::warn(format!("{text}; needed for {what}"), remedy),
    };
    match answer {
        Answer::Absent => bad("not installed".to_owned(), install),
        Answer::Silent(why) => {
            Finding::warn(format!("it does not tell its version: {why}"), install)
        }
        Answer::Is(None) => Finding::pass("installed, of unknown version"),
        Answer::Is(Some(found)) if *found < program.oldest => bad(
            format!("{found} is older than {}", program.oldest),
            format!("upgrade it: {install}"),
        ),
        Answer::Is(Some(found)) => Finding::pass(found.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;
    use crate::programs::Version;

    #[test]
    fn absent_old_and_good() {
        let [needed, .., wanted] = PROGRAMS;
        assert_eq!(judge(&needed, &Answer::Absent).outcome, Outcome::Fail);
        assert!(judge(&needed, &Answer::Absent).remedy.unwrap().contains("containerd"));
        assert_eq!(judge(&wanted, &Answer::Absent).outcome, Outcome::Warn);
        let version = |major| Answer::Is(Some(Version(major, 0, 0)));
        assert_eq!(judge(&needed, &version(1)).outcome, Outcome::Fail);
        assert_eq!(judge(&needed, &version(2)).outcome, Outcome::Pass);
        assert_eq!(judge(&needed, &Answer::Silent("x".into())).outcome, Outcome::Warn);
    }
}
