//! What `weir` exits with: one table, shown in `weir run --help`, for every way a job can end.

use std::process::ExitCode;

use weir_sdk::proto::outcome::Outcome;

/// Every outcome succeeded, or the command did what it should.
pub(crate) const SUCCESS: u8 = 0;
/// Weir itself failed: no master, a file that is not there, a job that was refused.
pub(crate) const WEIR_FAILED: u8 = 125;
/// Whoever read stdout is gone, as a shell reports a process that died of SIGPIPE.
pub(crate) const OUTPUT_CLOSED: u8 = 141;
/// A guest failed with an exit code that has no place in 1 to 255.
const OTHER_FAILURE: u8 = 255;

/// Code, stable word and explanation of everything but the guest's own codes, ascending.
pub(crate) const TABLE: [(u8, &str, &str); 18] = [
    (0, "succeeded", "every task succeeded"),
    (2, "usage", "the command line is wrong"),
    (124, "timed_out", "ran longer than --timeout"),
    (125, "weir_failed", "Weir itself failed, or refused the job"),
    (130, "cancelled", "cancelled, by Ctrl-C or `weir job cancel`"),
    (134, "trapped", "did what Wasm forbids"),
    (137, "out_of_memory", "asked for more than --memory"),
    (141, "output_closed", "whoever read the output went away"),
    (152, "out_of_fuel", "used up --fuel"),
    (153, "output_too_large", "wrote more than --output-limit"),
    (154, "scratch_full", "wrote too much into /tmp"),
    (155, "compile_limit", "compiling the module took too much"),
    (156, "invalid_module", "the module cannot run as a task"),
    (157, "missing_input", "an input is not in the store"),
    (158, "agent_lost_too_often", "its agents were lost; with --once, the one that had it"),
    (159, "upstream_failed", "what it needs did not succeed"),
    (160, "deadline_expired", "the job's deadline passed"),
    (255, "failed", "the guest exited with a code outside 1 to 255"),
];

/// The code for an outcome; the guest's own where it failed by itself.
pub(crate) fn of_outcome(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Succeeded { .. } => SUCCESS,
        Outcome::Failed { exit_code } => match u8::try_from(*exit_code) {
            Ok(code @ 1..) => code,
            Ok(0) | Err(_) => OTHER_FAILURE,
        },
        Outcome::TimedOut(_) => 124,
        Outcome::Cancelled => 130,
        Outcome::Trapped(_) => 134,
        Outcome::OutOfMemory(_) => 137,
        Outcome::OutOfFuel(_) => 152,
        Outcome::OutputTooLarge(_) => 153,
        Outcome::ScratchFull(_) => 154,
        Outcome::CompileLimit { .. } => 155,
        Outcome::InvalidModule { .. } => 156,
        Outcome::MissingInput { .. } => 157,
        Outcome::AgentLostTooOften { .. } => 158,
        Outcome::UpstreamFailed => 159,
        Outcome::DeadlineExpired => 160,
    }
}

/// The code of a command that was interrupted.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(of_outcome(&Outcome::Cancelled))
}

/// The table as `--help` shows it.
pub(crate) fn help() -> String {
    let mut help = String::from(
        "Exit codes (for an array: that of its lowest task that failed):\n  1-255  the guest's own, \
         where it failed by itself\n",
    );
    for (code, word, explanation) in TABLE {
        help.push_str(&format!("  {code:>5}  {word}: {explanation}\n"));
    }
    help
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::{
        digest::Digest,
        outcome::{Exceeded, Trap},
    };

    use super::*;

    /// One of each variant; the match makes the compiler ask for the next one.
    fn every_outcome() -> Vec<Outcome> {
        let exceeded = Exceeded { used: 2, limit: 1 };
        let reason = || "r".to_owned();
        let all = vec![
            Outcome::Succeeded { exit_code: 0 },
            Outcome::Failed { exit_code: 256 },
            Outcome::Trapped(Trap { kind: reason(), message: reason(), frames: vec![] }),
            Outcome::OutOfFuel(exceeded),
            Outcome::OutOfMemory(exceeded),
            Outcome::TimedOut(exceeded),
            Outcome::OutputTooLarge(exceeded),
            Outcome::ScratchFull(exceeded),
            Outcome::CompileLimit { reason: reason() },
            Outcome::InvalidModule { reason: reason() },
            Outcome::MissingInput { digest: Digest::of(b"x") },
            Outcome::Cancelled,
            Outcome::AgentLostTooOften { losses: 3 },
            Outcome::UpstreamFailed,
            Outcome::DeadlineExpired,
        ];
        let numbers: Vec<u8> = all.iter().map(Outcome::wire_number).collect();
        assert_eq!(numbers, (1..=15).collect::<Vec<u8>>(), "one of each, in the order of the wire");
        all
    }

    #[test]
    fn every_outcome_has_its_own_code_and_its_word_in_the_table() {
        let mut codes = Vec::new();
        for outcome in every_outcome() {
            let code = of_outcome(&outcome);
            let row = TABLE.iter().find(|row| row.0 == code);
            assert_eq!(row.map(|row| row.1), Some(outcome.word()), "{code}");
            assert!(!codes.contains(&code), "{code} twice");
            codes.push(code);
        }
    }

    #[test]
    fn the_table_ascends_without_repeating_a_code() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for code in [SUCCESS, WEIR_FAILED, OUTPUT_CLOSED, OTHER_FAILURE] {
            assert!(TABLE.iter().any(|row| row.0 == code), "{code}");
        }
    }

    #[test]
    fn a_guest_that_fails_never_looks_like_success() {
        for (exit_code, expected) in [(1, 1), (77, 77), (255, 255), (256, 255), (-1, 255), (0, 255)]
        {
            assert_eq!(of_outcome(&Outcome::Failed { exit_code }), expected);
        }
    }
}
