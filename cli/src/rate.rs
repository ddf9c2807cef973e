//! How fast a job goes, and how long the rest takes: arithmetic over the last seconds, without a
//! clock of its own. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How far back a rate looks: long enough not to jump, short enough to notice a change.
const WINDOW: Duration = Duration::from_secs(10);
/// What is seen must span this long before anything is told: the first tasks also pay for the start.
const ENOUGH: Duration = Duration::from_secs(1);
/// Samples closer than this are one, so that there are never more than some hundred.
const GRAIN: Duration = Duration::from_millis(100);
/// What takes longer is not worth a guess.
const LONGEST: Duration = Duration::from_secs(100 * 86_400);

/// Samples of a job's progress over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// Ascending by time; the oldest may be older than the window, so that the rest spans it.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    done: u64,
    fuel: u64,
}

impl Rate {
    /// Nothing seen yet.
    pub(crate) fn new() -> Rate {
        Rate::default()
    }

    /// Notes how many tasks are done and what fuel they used, both since the job's start. Call it
    /// also when nothing has changed: only so a rate falls to 0.
    pub(crate) fn add(&mut self, now: Instant, done: u64, fuel: u64) {
        let sample = Sample { at: now, done, fuel };
        let before_last = self.samples.len().checked_sub(2).map(|place| self.samples[place].at);
        if before_last.is_some_and(|at| now.saturating_duration_since(at) < GRAIN) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        let too_old = |sample: &Sample| now.saturating_duration_since(sample.at) >= WINDOW;
        while self.samples.get(1).is_some_and(too_old) {
            self.samples.pop_front();
        }
    }

    /// Tasks that end in a second; none before enough is known.
    pub(crate) fn tasks_per_s(&self) -> Option<f64> {
        self.per_s(|sample| sample.done)
    }

    /// Fuel that is used in a second, as far as results tell; none before enough is known.
    pub(crate) fn fuel_per_s(&self) -> Option<f64> {
        self.per_s(|sample| sample.fuel)
    }

    /// How long `open` more tasks take at this rate; none before enough is known or while no task
    /// ends.
    pub(crate) fn left(&self, open: u64) -> Option<Duration> {
        let rate = self.tasks_per_s().filter(|rate| *rate > 0.0)?;
        let left = Duration::try_from_secs_f64(open as f64 / rate).ok()?;
        (left <= LONGEST).then_some(left)
    }

    fn per_s(&self, value: impl Fn(&Sample) -> u64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let span = last.at.saturating_duration_since(first.at);
        let change = value(last).saturating_sub(value(first));
        (span >= ENOUGH).then(|| change as f64 / span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_told_before_a_second_is_seen() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        assert_eq!(rate.tasks_per_s(), None);
        rate.add(start, 0, 0);
        rate.add(start + 999 * MS, 500, 500);
        assert_eq!((rate.tasks_per_s(), rate.left(10)), (None, None));
        rate.add(start + 2_000 * MS, 1_000, 4_000);
        assert_eq!((rate.tasks_per_s(), rate.fuel_per_s()), (Some(500.0), Some(2_000.0)));
        assert_eq!(rate.left(1_000), Some(Duration::from_secs(2)));
    }

    #[test]
    fn only_the_last_seconds_count() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        for second in 0..60_u32 {
            let done = if second < 30 { second * 100 } else { 3_000 + (second - 30) };
            rate.add(start + second * 1_000 * MS, done.into(), 0);
        }
        let told = rate.tasks_per_s().expect("a minute is enough");
        assert!((told - 1.0).abs() < 0.01, "{told}");
    }

    #[test]
    fn a_job_that_stands_still_has_no_end_in_sight() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        for second in 0..20_u32 {
            rate.add(start + second * 1_000 * MS, 7, 7);
        }
        assert_eq!((rate.tasks_per_s(), rate.left(1)), (Some(0.0), None));
    }

    #[test]
    fn nothing_is_left_of_a_job_without_open_tasks() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        rate.add(start, 0, 0);
        rate.add(start + 1_000 * MS, 10, 0);
        assert_eq!(rate.left(0), Some(Duration::ZERO));
    }

    #[test]
    fn many_samples_take_little_room_and_a_count_that_falls_is_no_rate() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        for ms in 0..30_000_u32 {
            rate.add(start + ms * MS, u64::from(ms), 0);
        }
        assert!(rate.samples.len() < 300, "{}", rate.samples.len());
        let told = rate.tasks_per_s().expect("half a minute is enough");
        assert!((told - 1_000.0).abs() < 20.0, "{told}");
        rate.add(start + 31_000 * MS, 0, 0);
        assert_eq!(rate.tasks_per_s(), Some(0.0));
    }

    #[test]
    fn an_end_beyond_all_guesses_is_not_told() {
        let (start, mut rate) = (Instant::now(), Rate::new());
        rate.add(start, 0, 0);
        rate.add(start + 10_000 * MS, 1, 0);
        assert_eq!(rate.left(u64::MAX), None);
    }
}
