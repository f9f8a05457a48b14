//! The suite that every backend has to pass.
//!
//! It speaks only the contract: nothing in it knows a backend. A backend's test calls [`run_all`]
//! with a function that makes a new, empty store. What is about one backend (files, crashes,
//! reconnecting) is tested beside that backend.
//!
//! Scenarios fail by panicking, like any test, and wait on conditions with a deadline.

mod commits;
mod compaction;
mod concurrency;
mod content;
mod probe;
mod ranges;
mod watches;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};

use crate::{Result, Store};

/// How long one scenario may take. They take milliseconds; this is for what hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// The store under test.
type Subject = Arc<dyn Store>;

/// One thing that every store does.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name, `file::function`.
    pub name: &'static str,
    run: fn(Subject) -> BoxFuture<'static, Result<()>>,
}

impl Scenario {
    /// Runs the scenario on an empty store.
    ///
    /// # Panics
    /// When the store does not do what the contract says.
    pub async fn run(&self, store: Box<dyn Store>) {
        let run = tokio::time::timeout(DEADLINE, (self.run)(Arc::from(store)));
        match run.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{}: unexpected error: {error:?}", self.name),
            Err(_) => panic!("{}: not done in {DEADLINE:?}", self.name),
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Lists scenarios with their names.
macro_rules! scenarios {
    ($($file:ident { $($name:ident),* $(,)? })*) => {
        &[$($(Scenario {
            name: concat!(stringify!($file), "::", stringify!($name)),
            run: |store| Box::pin($file::$name(store)),
        }),*),*]
    };
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = scenarios! {
    commits {
        an_empty_store_has_a_revision,
        puts_create_and_replace,
        each_commit_has_a_greater_revision,
        deleting_and_creating_again_starts_anew,
        deleting_what_is_not_there_changes_nothing,
        an_empty_commit_only_checks,
        the_same_value_again_is_a_change,
        many_keys_have_one_revision,
        expectations_hold_or_conflict,
        the_first_conflict_is_told,
        a_failed_commit_changes_nothing,
        a_deleted_key_is_absent_to_expectations,
        keys_are_written_once_in_a_commit,
        what_is_too_big_is_refused,
        deferred_commits_are_as_others,
    }
    ranges {
        an_empty_store_has_no_records,
        records_are_ordered_by_bytes,
        prefix_start_and_end_bound_together,
        one_key_is_not_its_extensions,
        limits_tell_of_more,
        pages_of_one_revision_are_of_one_state,
        counts_ignore_the_limit,
        keys_can_come_without_values,
        each_past_state_can_be_read,
        the_future_cannot_be_read,
        reads_see_what_was_acknowledged,
    }
    watches {
        changes_are_delivered_live,
        history_is_replayed_then_live,
        everything_is_replayed_after_zero,
        one_revision_is_one_batch_in_order_of_writes,
        only_the_prefix_is_delivered,
        events_tell_what_was_before,
        commits_that_change_nothing_are_silent,
        the_future_cannot_be_watched,
        a_range_and_a_watch_have_no_gap,
        watches_begin_anywhere_under_load,
        a_watch_that_is_dropped_disturbs_nobody,
        giving_up_a_wait_loses_nothing,
        a_slow_watch_delays_no_commit_and_misses_nothing,
        watches_that_are_not_polled_hold_nothing_up,
        a_slow_watch_is_cut_off_not_skipped,
        a_quiet_watch_outlives_compaction,
        many_watches_see_the_same,
    }
    compaction {
        old_states_are_gone_and_newer_ones_stay,
        current_records_stay,
        compacting_again_or_less_is_nothing,
        the_future_cannot_be_compacted,
        watches_go_on_from_the_oldest_state,
        watches_cannot_begin_before,
        deleted_keys_stay_deleted,
        versions_go_on_counting,
    }
    content {
        any_bytes_are_a_value,
        big_values_come_back,
        any_text_is_a_key,
        keys_that_look_alike_are_apart,
        prefixes_end_at_character_bounds,
    }
    concurrency {
        many_committers_all_get_through,
        counting_together_counts_right,
        reads_see_no_half_commit,
        one_of_many_creators_wins,
        followers_miss_nothing_while_history_is_cut,
        a_backup_is_made_under_load,
        stats_count,
    }
};

/// Runs every scenario, each on its own new store from `make`.
///
/// # Panics
/// At the end, naming every scenario that failed; what each of them found is above that.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Box<dyn Store>>,
{
    let mut failed = Vec::new();
    for scenario in SCENARIOS {
        let run = async { scenario.run(make().await).await };
        if AssertUnwindSafe(run).catch_unwind().await.is_err() {
            failed.push(scenario.name);
        }
    }
    let all = SCENARIOS.len();
    assert!(failed.is_empty(), "{} of {all} scenarios failed: {failed:#?}", failed.len());
}
