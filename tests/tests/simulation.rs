//! The whole cluster in one thread, from many seeds; and proof that it would find what it is for.
//!
//! `WEIR_SEEDS` says how many seeds, `WEIR_SEED` which one `replay` shows.

use std::{env, time::Instant};

use weir_tests::simulation::{self, Fact, Total, Tracing, Variant, first_failure, run};

/// Seeds of an ordinary run.
const SEEDS: u64 = 500;
/// A broken cluster must be found within so many.
const SEEDS_TO_FIND: u64 = 500;

#[test]
fn every_invariant_holds_and_every_job_ends_under_every_seed() {
    let seeds = number("WEIR_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let Total { events, most, counts } = match first_failure(0..seeds, Variant::Correct) {
        Ok(total) => total,
        Err(failure) => panic!("{failure}"),
    };
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds, {events} events in {seconds:.1} s; {} of seed {}", most.0, most.1);
    for fact in Fact::ALL {
        println!("{:>8} {fact:?}", counts.of(fact));
        // Few seeds may miss something; the usual number must not.
        assert!(seeds < SEEDS || counts.of(fact) > 0, "{fact:?} was never seen: it is not tested");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3, 77, 1234] {
        let traced = || run(seed, Variant::Correct, Tracing::Hash);
        assert_eq!(traced(), traced());
    }
}

#[test]
fn acknowledging_before_the_sync_is_found() {
    is_found(Variant::AcknowledgeBeforeSync, "");
}

#[test]
fn applying_a_page_twice_is_found() {
    is_found(Variant::ApplyPagesTwice, "more than one result");
}

#[test]
fn overwriting_a_result_is_found() {
    is_found(Variant::OverwriteResults, "");
}

#[test]
fn forgetting_who_has_a_task_that_runs_at_most_once_is_found() {
    is_found(Variant::ForgetGrants, "");
}

#[test]
fn a_forgotten_vote_is_found() {
    is_found(Variant::ForgetVotes, "term");
}

#[test]
fn a_stale_read_is_found() {
    is_found(Variant::StaleReads, "not linearizable");
}

#[test]
fn a_snapshot_in_place_of_term_and_vote_is_found() {
    is_found(Variant::SnapshotWithoutHardState, "is back in term");
}

/// Shows one seed, event by event, with `-- --nocapture`.
#[test]
fn replay() {
    let seed = number("WEIR_SEED").unwrap_or(0);
    let report = simulation::replay(seed, Variant::Correct, Tracing::Print);
    println!("seed {seed}: {report:?}");
}

/// A broken cluster is found, for a reason that says so.
fn is_found(variant: Variant, reason: &str) {
    match first_failure(0..SEEDS_TO_FIND, variant) {
        Ok(_) => panic!("none of {SEEDS_TO_FIND} seeds finds {variant:?}"),
        Err(failure) => {
            println!("{variant:?} is found by seed {}: {}", failure.seed, failure.why);
            assert!(failure.why.contains(reason), "{variant:?} is found for another reason");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
