//! What pages are built of: the frame around them, bars, curves, states.
//!
//! Lengths are attributes of inline SVG, because the pages' policy forbids inline style. No colour
//! says anything that the text beside it does not say too.

use maud::{DOCTYPE, Markup, html};
use weir_proto::{text::plain, units::grouped, wire};

use super::assets::{ICON, SCRIPT, STYLE};

/// How wide a bar is in its own units.
const BAR: f64 = 1_000.0;
/// The least width of a part that is not nothing, in the same units.
const SLIVER: f64 = 6.0;
/// How high a curve is in its own units.
const CURVE: f64 = 60.0;

/// How a page stays new where there is a script; without one it is as new as its last loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// By the live stream.
    Live,
    /// By loading it again.
    Reload,
    /// It does not change any more.
    Never,
}

/// A whole page around its `<main>`.
pub(super) fn frame(title: &str, refresh: Refresh, main: &Markup) -> String {
    let word = match refresh {
        Refresh::Live => "live",
        Refresh::Reload => "reload",
        Refresh::Never => "never",
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path());
                script src=(SCRIPT.path()) defer {}
            }
            body data-refresh=(word) {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { img src=(ICON.path()) alt="" width="28" height="28"; "Weir" }
                    p #link.link role="status" { noscript { "reload for newer numbers" } }
                }
                (main)
                footer {
                    a href="/metrics" { "metrics" }
                    a href="/readyz" { "ready" }
                    a href="/healthz" { "health" }
                    span { "Weir " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    };
    page.into_string()
}

/// A figure with its name.
pub(super) fn tile(name: &str, figure: &str, note: &str) -> Markup {
    html! {
        div.tile {
            dt { (name) }
            dd { span.figure { (figure) } @if !note.is_empty() { span.note { (note) } } }
        }
    }
}

/// How far an array of tasks is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) tasks: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    pub(super) running: u64,
}

impl Progress {
    pub(super) fn of(summary: &wire::JobSummary, running: u32) -> Progress {
        Progress {
            tasks: summary.tasks.into(),
            succeeded: summary.succeeded.into(),
            failed: summary.failed.into(),
            cancelled: summary.cancelled.into(),
            running: running.into(),
        }
    }

    fn done(self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }

    /// Tasks that have no result and do not run.
    pub(super) fn waiting(self) -> u64 {
        self.tasks.saturating_sub(self.done() + self.running)
    }

    /// `1,234 of 20,000 · 3 failed`.
    pub(super) fn text(self) -> String {
        let mut text = format!("{} of {}", grouped(self.done()), grouped(self.tasks));
        let parts =
            [(self.failed, "failed"), (self.cancelled, "cancelled"), (self.running, "running")];
        for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!(" · {} {word}", grouped(count)));
        }
        text
    }

    /// A bar of all parts, with the text below it.
    pub(super) fn bar(self, label: &str) -> Markup {
        let parts = [
            ("ok", self.succeeded),
            ("bad", self.failed),
            ("gone", self.cancelled),
            ("run", self.running),
        ];
        html! {
            div.progress role="progressbar" aria-label=(label) aria-valuemin="0"
                aria-valuemax=(self.tasks) aria-valuenow=(self.done()) aria-valuetext=(self.text()) {
                (bar(&parts, self.tasks))
            }
            span.bartext { (self.text()) }
        }
    }
}

/// How much of something is taken.
pub(super) fn meter(label: &str, part: u64, whole: u64, text: &str) -> Markup {
    html! {
        div.progress role="meter" aria-label=(label) aria-valuemin="0" aria-valuemax=(whole)
            aria-valuenow=(part.min(whole)) aria-valuetext=(text) {
            (bar(&[("run", part)], whole))
        }
        span.bartext { (text) }
    }
}

fn bar(parts: &[(&str, u64)], whole: u64) -> Markup {
    let mut left = 0.0;
    let mut placed = Vec::new();
    for (class, part) in parts.iter().filter(|(_, part)| *part > 0) {
        let width = (*part as f64 / whole.max(1) as f64 * BAR).max(SLIVER).min(BAR - left);
        placed.push((class, left, width));
        left += width;
    }
    html! {
        svg.bar viewBox={ "0 0 " (BAR) " 10" } preserveAspectRatio="none" aria-hidden="true"
            focusable="false" {
            @for (class, left, width) in placed {
                rect class=(class) x={ (format!("{left:.1}")) } width={ (format!("{width:.1}")) }
                    height="10" {}
            }
        }
    }
}

/// A curve over the last minutes: values second by second, the newest at the right.
pub(super) fn curve(label: &str, values: &[f64], seconds: usize) -> Markup {
    let top = values.iter().copied().fold(0.0, f64::max);
    let scale = if top > 0.0 { (CURVE - 4.0) / top } else { 0.0 };
    let first = seconds.saturating_sub(values.len());
    let points = values.iter().enumerate();
    let points = points.map(|(at, value)| (first + at, CURVE - 1.0 - value * scale));
    let line: Vec<String> = points.map(|(x, y)| format!("{x},{y:.1}")).collect();
    let last = seconds.saturating_sub(1);
    html! {
        svg.curve viewBox={ "0 0 " (last.max(1)) " " (CURVE) } preserveAspectRatio="none" role="img"
            aria-label=(label) focusable="false" {
            @if line.len() > 1 {
                polygon.area points={
                    (first) "," (CURVE) " " (line.join(" ")) " " (last) "," (CURVE)
                } {}
                polyline.line points=(line.join(" ")) vector-effect="non-scaling-stroke" {}
            }
        }
    }
}

/// A job's state, as a word with a mark.
pub(super) fn state_of(status: wire::JobStatus) -> Markup {
    let (class, word) = match status {
        wire::JobStatus::Active => ("run", "active"),
        wire::JobStatus::Succeeded => ("ok", "succeeded"),
        wire::JobStatus::Failed => ("bad", "failed"),
        wire::JobStatus::Cancelled => ("gone", "cancelled"),
        wire::JobStatus::Unspecified => ("gone", "unknown"),
    };
    pill(class, word)
}

/// A word with a mark.
pub(super) fn pill(class: &str, word: &str) -> Markup {
    html! { span class={ "pill " (class) } { (word) } }
}

/// A name that somebody else chose.
pub(super) fn name(text: &str) -> Markup {
    let text = plain(text);
    html! { span.name title=(text) { (text) } }
}
