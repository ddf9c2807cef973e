//! One line at the bottom of the terminal that tells how far an array is. The line is made here from
//! numbers, and pure; indicatif only draws it. Where stderr is no terminal there is none.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unicode_width::UnicodeWidthStr as _;
use weir_sdk::proto::{
    id::JobId,
    units::{grouped, short_count, short_duration},
};

use crate::rate::Rate;

/// How often the line is drawn at most, in a second.
const FRAMES_PER_S: u8 = 10;
/// Columns of the bar itself, where there is room for them.
const BAR: usize = 24;
/// Columns that are taken where the terminal does not tell its width.
const USUAL_WIDTH: usize = 80;

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// All its tasks.
    pub(crate) tasks: u32,
    /// Those with a result.
    pub(crate) done: u32,
    /// Those that did not succeed, cancelled ones left out.
    pub(crate) failed: u32,
    /// Those that run, when last asked.
    pub(crate) running: u32,
    /// Fuel of all results.
    pub(crate) fuel: u64,
}

/// The line, or nothing where nobody would see it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress(Option<Arc<Shown>>);

struct Shown {
    bar: ProgressBar,
    state: Mutex<State>,
}

struct State {
    job: JobId,
    numbers: Numbers,
    rate: Rate,
}

impl Progress {
    /// No line.
    pub(crate) fn none() -> Progress {
        Progress(None)
    }

    /// A line for a job, if stderr is a terminal.
    pub(crate) fn of(job: JobId, tasks: u32) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::none();
        }
        let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_S);
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{msg}").expect("the template is right");
        bar.set_style(style);
        let numbers = Numbers { tasks, ..Numbers::default() };
        let state = Mutex::new(State { job, numbers, rate: Rate::new() });
        let progress = Progress(Some(Arc::new(Shown { bar, state })));
        progress.update(|_| {});
        progress
    }

    /// Changes the numbers, and shows them.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Numbers)) {
        let Some(shown) = &self.0 else { return };
        let mut state = shown.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.numbers);
        let numbers = state.numbers;
        state.rate.add(Instant::now(), numbers.done.into(), numbers.fuel);
        let width = console_width();
        shown.bar.set_message(line(state.job, numbers, &state.rate, width));
    }

    /// Writes something else to the terminal, where the line is not in the way.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(shown) => shown.bar.suspend(write),
            None => write(),
        }
    }

    /// Whether there is a line.
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Removes the line.
    pub(crate) fn clear(&self) {
        if let Some(shown) = &self.0 {
            shown.bar.finish_and_clear();
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Progress").field(&self.is_shown()).finish()
    }
}

fn console_width() -> usize {
    console::Term::stderr().size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns.into())
}

/// The line for a terminal of `width` columns: what matters least goes first where there is no room.
pub(crate) fn line(job: JobId, numbers: Numbers, rate: &Rate, width: usize) -> String {
    let Numbers { tasks, done, failed, running, .. } = numbers;
    let open = u64::from(tasks.saturating_sub(done));
    let count = format!("{}/{}", grouped(done.into()), grouped(tasks.into()));
    let failed = (failed > 0).then(|| format!("{} failed", grouped(failed.into())));
    let left = rate.left(open).filter(|_| open > 0);
    let left = left.map(|left| format!("{} left", whole_seconds(left)));
    // Before the first result there is no rate, only impatience.
    let known = |rate: &f64| *rate > 0.0;
    let tasks_per_s = rate.tasks_per_s().filter(known).map(|rate| match rate {
        rate if rate < 10.0 => format!("{rate:.1} tasks/s"),
        rate => format!("{} tasks/s", short_count(rate as u64)),
    });
    let fuel_per_s = rate.fuel_per_s().filter(known);
    let fuel_per_s = fuel_per_s.map(|rate| format!("fuel {}/s", short_count(rate as u64)));
    let running = (running > 0).then(|| format!("{} running", grouped(running.into())));
    // By what people miss most, and where it stands in the line.
    let parts = [
        (2, Some(count)),
        (3, failed),
        (7, left),
        (5, tasks_per_s),
        (4, running),
        (0, Some(job.to_string())),
        (6, fuel_per_s),
        (1, Some(bar(done, tasks, BAR))),
    ];
    let mut shown: Vec<(usize, String)> = Vec::new();
    // The last column stays free: some terminals wrap when it is written.
    let mut room = width.saturating_sub(1);
    for (place, part) in parts {
        let Some(part) = part else { continue };
        let columns = part.width() + if shown.is_empty() { 0 } else { 2 };
        if columns <= room {
            room -= columns;
            shown.push((place, part));
        }
    }
    shown.sort_by_key(|(place, _)| *place);
    let parts: Vec<String> = shown.into_iter().map(|(_, part)| part).collect();
    parts.join("  ")
}

/// `[=====>    ]`, as many columns wide.
fn bar(done: u32, tasks: u32, columns: usize) -> String {
    let inner = columns - 2;
    let full = (u64::from(done) * inner as u64 / u64::from(tasks.max(1))) as usize;
    let tip = if full < inner { ">" } else { "" };
    format!("[{}{tip}{}]", "=".repeat(full), " ".repeat(inner - full - tip.len()))
}

fn whole_seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => "1s".to_owned(),
        seconds @ ..60 => format!("{seconds}s"),
        _ => short_duration(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> (Numbers, Rate) {
        let start = Instant::now();
        let mut rate = Rate::new();
        rate.add(start, 0, 0);
        rate.add(start + Duration::from_secs(2), 1_234, 5_000_000_000);
        let numbers =
            Numbers { tasks: 20_000, done: 1_234, failed: 3, running: 2, fuel: 5_000_000_000 };
        (numbers, rate)
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let (numbers, rate) = running();
        let line = line(JobId(7), numbers, &rate, 120);
        let expected = "job-7  [=>                    ]  1,234/20,000  3 failed  2 running  617 \
                        tasks/s  fuel 2.50 G/s  30s left";
        assert_eq!(line, expected);
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        let (numbers, rate) = running();
        assert_eq!(line(JobId(7), numbers, &rate, 40), "job-7  1,234/20,000  3 failed  30s left");
        assert_eq!(line(JobId(7), numbers, &rate, 20), "job-7  1,234/20,000");
        assert_eq!(line(JobId(7), numbers, &rate, 19), "1,234/20,000");
        for width in 0..120 {
            let line = line(JobId(7), numbers, &rate, width);
            assert!(line.width() < width.max(1), "{width}: {line}");
        }
    }

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_the_end() {
        assert_eq!(bar(0, 10, 6), "[>   ]");
        assert_eq!(bar(5, 10, 6), "[==> ]");
        assert_eq!(bar(10, 10, 6), "[====]");
        assert_eq!(bar(0, 0, 6), "[>   ]");
    }
}
