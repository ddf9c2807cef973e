//! Writes what tasks wrote to our own stdout and stderr: raw for a single task, so that pipes get
//! the guest's bytes, and line by line with `INDEX| ` before each for an array.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use weir_sdk::{
    Client,
    proto::{
        agent::LiveChunk,
        page::{Output, TaskResult},
        range::TaskRange,
    },
};

use crate::{
    merge::{Grain, Merge, Stream},
    progress::Progress,
};

/// Which output is shown, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Show {
    /// Lines carry the index of their task.
    pub(crate) prefix: bool,
    /// Only this task's.
    pub(crate) only_task: Option<u32>,
    /// Only this stream, and on stdout whichever it is; absent: both, each where it belongs.
    pub(crate) only_stream: Option<Stream>,
}

/// Writes the output of a job's tasks, live and committed.
#[derive(Debug)]
pub(crate) struct Printer {
    client: Client,
    show: Show,
    merge: Merge,
    progress: Progress,
}

impl Printer {
    /// Nothing written yet.
    pub(crate) fn new(client: Client, show: Show, progress: Progress) -> Printer {
        let grain = if show.prefix { Grain::Lines } else { Grain::Bytes };
        Printer { client, show, merge: Merge::new(grain), progress }
    }

    /// Writes what a running task wrote, as far as it continues what was written before.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn live(&mut self, chunk: &LiveChunk) -> Result<()> {
        let stream = if chunk.stderr { Stream::Stderr } else { Stream::Stdout };
        let task = chunk.task.index;
        if !self.shows(task, stream) {
            return Ok(());
        }
        let now = self.merge.live(task, stream, chunk.offset, &chunk.data);
        self.lines(task).write(self.target(stream), &now)
    }

    /// Writes what is left of a task's output, now that it is known.
    ///
    /// # Errors
    /// When stdout is closed, or a large output cannot be fetched.
    pub(crate) async fn result(&mut self, task: u32, result: &TaskResult) -> Result<()> {
        for (stream, output) in [(Stream::Stdout, &result.stdout), (Stream::Stderr, &result.stderr)]
        {
            if self.shows(task, stream) && output.size_bytes() > 0 {
                self.rest(task, stream, output).await?;
            }
        }
        Ok(())
    }

    /// These tasks have ended and all they wrote is written.
    pub(crate) fn finish(&mut self, tasks: TaskRange) {
        self.merge.finish(tasks);
    }

    async fn rest(&mut self, task: u32, stream: Stream, output: &Output) -> Result<()> {
        let rest = self.merge.committed(task, stream, output.size_bytes());
        if rest.is_empty() {
            return Ok(());
        }
        let (target, mut lines) = (self.target(stream), self.lines(task));
        match output {
            Output::Inline(bytes) => lines.write(target, &bytes[rest.start as usize..])?,
            Output::Blob { digest, .. } => {
                let about = || format!("cannot fetch what task {task} wrote");
                let mut blob = self.client.open(*digest).await.with_context(about)?;
                let mut at = 0;
                while let Some(chunk) = blob.next_chunk().await.with_context(about)? {
                    let skip = rest.start.saturating_sub(at).min(chunk.len() as u64);
                    lines.write(target, &chunk[skip as usize..])?;
                    at += chunk.len() as u64;
                }
            }
        }
        lines.finish(target)
    }

    fn shows(&self, task: u32, stream: Stream) -> bool {
        self.show.only_task.is_none_or(|only| only == task)
            && self.show.only_stream.is_none_or(|only| only == stream)
    }

    fn target(&self, stream: Stream) -> Stream {
        self.show.only_stream.map_or(stream, |_| Stream::Stdout)
    }

    fn lines(&self, task: u32) -> Lines {
        let prefix = if self.show.prefix { format!("{task}| ") } else { String::new() };
        Lines { prefix, at_start: true, progress: self.progress.clone() }
    }
}

/// Puts a prefix before every line of what passes through in pieces; an empty one changes nothing.
#[derive(Debug)]
struct Lines {
    prefix: String,
    at_start: bool,
    progress: Progress,
}

impl Lines {
    fn write(&mut self, target: Stream, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let pushed;
        let bytes = match self.prefix.is_empty() {
            true => bytes,
            false => {
                pushed = self.push(bytes);
                &pushed[..]
            }
        };
        self.emit(target, bytes)
    }

    /// Ends a line that the guest left open, where others follow.
    fn finish(&mut self, target: Stream) -> Result<()> {
        let open = !self.prefix.is_empty() && !self.at_start;
        self.at_start = true;
        if open { self.emit(target, b"\n") } else { Ok(()) }
    }

    /// Writes where the line of progress is not in the way, if both are on the terminal.
    fn emit(&self, target: Stream, bytes: &[u8]) -> Result<()> {
        let on_terminal = match target {
            Stream::Stdout => self.progress.is_shown() && std::io::stdout().is_terminal(),
            Stream::Stderr => self.progress.is_shown(),
        };
        match on_terminal {
            true => self.progress.above(|| emit(target, bytes)),
            false => emit(target, bytes),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            if self.at_start {
                out.extend_from_slice(self.prefix.as_bytes());
            }
            out.extend_from_slice(line);
            self.at_start = line.ends_with(b"\n");
        }
        out
    }
}

/// Writes at once. A reader that is slow blocks this thread, so others take over its loops: an
/// embedded cluster lives in the same runtime.
fn emit(target: Stream, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    tokio::task::block_in_place(|| match target {
        Stream::Stdout => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush()).context("cannot write to stdout")
        }
        Stream::Stderr => {
            // Remarks that nobody can read are no reason to stop.
            let _ = std::io::stderr().lock().write_all(bytes);
            Ok(())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&[u8]]) -> Vec<u8> {
        let mut lines =
            Lines { prefix: "3| ".to_owned(), at_start: true, progress: Progress::none() };
        pieces.iter().flat_map(|piece| lines.push(piece)).collect()
    }

    #[test]
    fn every_line_gets_its_tasks_index() {
        assert_eq!(joined(&[b"a\nb\n"]), b"3| a\n3| b\n");
        assert_eq!(joined(&[b"\n"]), b"3| \n");
        assert_eq!(joined(&[b""]), b"");
    }

    #[test]
    fn a_line_in_pieces_gets_it_once() {
        assert_eq!(joined(&[b"a", b"b\nc", b"d"]), b"3| ab\n3| cd");
    }
}
