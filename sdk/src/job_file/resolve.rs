//! From a job file to a plan: looks at the disk, for what the text alone cannot tell.
//!
//! Paths are taken relative to the file's directory. Whatever is not there is told at the place in
//! the file that names it. The next stop is [`crate::put_job`].

use std::{fs, io, io::Read as _, ops::Range, path::Path};

use weir_proto::{
    job::{MAX_NAME_BYTES, MAX_TASKS},
    limits::Resources,
    manifest::item_problem,
    metering::Metering,
    units::{grouped, short_bytes},
};

use super::{
    At, JobFile,
    pattern::{MatchError, Pattern},
    problem::{Problem, quoted},
    sources::{ForeachFile, StdinFile},
    stage::StageFile,
    values::MeteringWord,
};
use crate::{
    module_file::{self, ModuleFileError},
    plan::{FileItem, InputPlan, JobPlan, OutputsPlan, StagePlan, StdinPlan, TasksPlan},
    source::Source,
};

/// Most bytes of a file of lines.
pub const MAX_LINES_BYTES: u64 = 64 << 20;

impl JobFile {
    /// What the job comes to on this machine; `path` is the job file's own, whose directory other
    /// paths are relative to and whose name the job has if it has no other.
    ///
    /// # Errors
    /// Every file that is not there, cannot be read or is not what it should be; each at its place in
    /// the job file.
    pub fn plan(&self, path: &Path) -> Result<JobPlan, Vec<Problem>> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut disk = Disk { directory, problems: Vec::new() };
        let stages: Vec<StagePlan> =
            self.stage.iter().filter_map(|stage| disk.stage(stage)).collect();
        let [stage] = <[StagePlan; 1]>::try_from(stages).map_err(|_| disk.problems.clone())?;
        if !disk.problems.is_empty() {
            return Err(disk.problems);
        }
        Ok(JobPlan {
            name: self.name.as_ref().map_or_else(|| name_of(path), |name| name.0.clone()),
            namespace: self.namespace.as_ref().map(|namespace| namespace.0.clone()),
            priority: self.priority.map_or(0, |priority| priority.0 as i32),
            precompile: self.precompile.unwrap_or(false),
            stage,
        })
    }
}

/// The name of a job that says none: its file's, without what a name may not have.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = String::new();
    for c in stem.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }) {
        if name.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        name.push(c);
    }
    if name.is_empty() { "job".to_owned() } else { name }
}

/// Where things are looked for, and what was not right with them.
struct Disk<'d> {
    directory: &'d Path,
    problems: Vec<Problem>,
}

impl Disk<'_> {
    /// Looks for all that a stage needs, also when a part of it is not there.
    fn stage(&mut self, stage: &StageFile) -> Option<StagePlan> {
        let module = self.module(&stage.module.value.0, &stage.module.span);
        let inputs: Vec<Option<InputPlan>> = stage
            .inputs
            .iter()
            .map(|(path, input)| {
                let source = self.input(&input.value.source, &input.span)?;
                Some(InputPlan { path: path.clone(), source, writable: input.value.writable })
            })
            .collect();
        let stdin = match &stage.stdin {
            None => Some(StdinPlan::Nothing),
            Some(stdin) => self.stdin(&stdin.value, &stdin.span),
        };
        let tasks = match (&stage.count, &stage.foreach) {
            (_, Some(foreach)) => self.items(foreach),
            (Some(count), None) => Some(TasksPlan::Count(count.value.0)),
            (None, None) => Some(TasksPlan::One),
        };
        let limits = stage.limits.limits();
        let cpu_millis = stage.resources.cpu.map_or(1000, |cores| cores.0);
        let memory_bytes = stage.resources.memory.map_or(limits.memory_bytes, |size| size.0);
        Some(StagePlan {
            name: stage.name.as_ref().map_or_else(|| "main".to_owned(), |name| name.0.clone()),
            module: module?,
            args: stage.args.clone(),
            env: stage.env.clone().into_iter().collect(),
            tasks: tasks?,
            inputs: inputs.into_iter().collect::<Option<_>>()?,
            stdin: stdin?,
            limits,
            resources: Resources {
                cpu_millis,
                memory_bytes,
                countables: stage.resources.countables.clone(),
            },
            success_codes: stage.success_codes.iter().map(|code| code.0 as i32).collect(),
            outputs: stage
                .outputs
                .as_ref()
                .map_or(OutputsPlan::Nothing, |outputs| outputs.0.clone()),
            retries: stage.retries.map_or(0, |retries| retries.0 as u32),
            once: stage.once.unwrap_or(false),
            seed: stage.seed.map_or(0, |seed| seed.0 as u64),
            capabilities: stage.capabilities.iter().map(|word| word.0.clone()).collect(),
            metering: stage.metering.map_or(Metering::default(), |MeteringWord(metering)| metering),
            coredump: stage.coredump.unwrap_or(false),
        })
    }

    fn module(&mut self, source: &Source, span: &Range<usize>) -> Option<Source> {
        let written = match source {
            Source::Path(path) => path,
            stored => return Some(stored.clone()),
        };
        let path = self.directory.join(written);
        match module_file::check_file(&path) {
            Ok(()) => Some(Source::Path(path)),
            Err(ModuleFileError::Absent { advice, .. }) => {
                let message = format!("there is no {}", quoted_path(written));
                let absolute = std::path::absolute(&path).unwrap_or(path);
                self.problem(span, message, format!("it would be {}; {advice}", absolute.display()))
            }
            Err(ModuleFileError::Read { source, .. }) => self.unreadable(written, &source, span),
            Err(ModuleFileError::Directory { .. }) => {
                let message = format!("{} is a directory", quoted_path(written));
                self.problem(span, message, "name the `.wasm` file in it")
            }
            Err(ModuleFileError::NotAModule { source, .. }) => {
                let why = source.to_string();
                let (why, hint) = why.split_once("; ").unwrap_or((&why, "name a `.wasm` file"));
                let message = format!("{} cannot be run: {why}", quoted_path(written));
                self.problem(span, message, hint)
            }
        }
    }

    fn input(&mut self, source: &Source, span: &Range<usize>) -> Option<Source> {
        let written = match source {
            Source::Path(path) => path,
            stored => return Some(stored.clone()),
        };
        let path = self.directory.join(written);
        let looked = fs::metadata(&path).and_then(|metadata| match metadata.is_dir() {
            true => fs::read_dir(&path).map(|_| true),
            false if metadata.is_file() => fs::File::open(&path).map(|_| true),
            // Opening a pipe would wait for its other end.
            false => Ok(false),
        });
        match looked {
            Ok(true) => Some(Source::Path(path)),
            Ok(false) => {
                let message = format!("{} is neither a file nor a directory", quoted_path(written));
                self.problem(span, message, "name a file or a directory")
            }
            Err(error) => self.unreadable(written, &error, span),
        }
    }

    fn stdin(&mut self, stdin: &StdinFile, span: &Range<usize>) -> Option<StdinPlan> {
        match stdin {
            StdinFile::Item => Some(StdinPlan::Item),
            StdinFile::Text(text) => Some(StdinPlan::Text(text.clone())),
            StdinFile::Source(source) => {
                let found = self.input(source, span)?;
                if let Source::Path(path) = &found
                    && path.is_dir()
                {
                    let message = format!("{} is a directory", quoted(&source.to_string()));
                    return self.problem(span, message, "stdin is a file; name one");
                }
                Some(StdinPlan::Source(found))
            }
        }
    }

    fn items(&mut self, foreach: &At<ForeachFile>) -> Option<TasksPlan> {
        match &foreach.value {
            ForeachFile::Files(patterns) => self.files(patterns).map(TasksPlan::Files),
            ForeachFile::Lines(file) => {
                let path = self.directory.join(&file.value);
                match lines_of(&path) {
                    Ok(lines) => Some(TasksPlan::Lines(lines)),
                    Err(LinesError::Read(error)) => {
                        self.unreadable(&file.value, &error, &file.span)
                    }
                    Err(LinesError::Unfit(why, hint)) => {
                        let message = format!("{} {why}", quoted_path(&file.value));
                        self.problem(&file.span, message, hint)
                    }
                }
            }
        }
    }

    /// The files of all patterns, each once.
    fn files(&mut self, patterns: &[At<String>]) -> Option<Vec<FileItem>> {
        let mut files = Vec::new();
        let before = self.problems.len();
        for At { value: text, span } in patterns {
            // A pattern that cannot be read is told with the text.
            let Ok(pattern) = Pattern::new(text) else { continue };
            match pattern.matches(self.directory) {
                Ok(matches) => files.extend(matches),
                Err(error) => {
                    let hint = match &error {
                        MatchError::Nothing { .. } => {
                            "patterns are relative to the job file; `**` stands for any number of \
                             directories, and hidden files need a pattern that begins with `.`"
                        }
                        MatchError::TooMany { .. } => {
                            "match fewer, or make a file of lines of them"
                        }
                        MatchError::NotText { .. } => "rename the file, or match others",
                        MatchError::List { .. } => "check that it is a directory you may read",
                    };
                    self.problem::<()>(span, error.to_string(), hint);
                }
            }
        }
        files.sort_unstable();
        files.dedup();
        let unfit = files.iter().find_map(|file| Some((file, item_problem(&file.text)?)));
        if let (Some((file, why)), Some(At { span, .. })) = (unfit, patterns.first()) {
            let message = format!("the file {} cannot be an item: {why}", quoted(&file.text));
            self.problem::<()>(span, message, "rename it, or match others");
        }
        (self.problems.len() == before).then_some(files)
    }

    fn unreadable<T>(&mut self, path: &Path, error: &io::Error, span: &Range<usize>) -> Option<T> {
        let joined = self.directory.join(path);
        let absolute = std::path::absolute(&joined).unwrap_or(joined);
        let (message, hint) = match error.kind() {
            io::ErrorKind::NotFound => (
                format!("there is no {}", quoted_path(path)),
                format!("paths are relative to the job file; this one is {}", absolute.display()),
            ),
            io::ErrorKind::PermissionDenied => (
                format!("{} cannot be read: permission denied", quoted_path(path)),
                "change who may read it".to_owned(),
            ),
            _ => (
                format!("{} cannot be read: {error}", quoted_path(path)),
                format!("this is {}", absolute.display()),
            ),
        };
        self.problem(span, message, hint)
    }

    fn problem<T>(
        &mut self,
        span: &Range<usize>,
        message: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) -> Option<T> {
        self.problems.push(Problem::error(span.clone(), message).hint(hint));
        None
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Why a file has no lines.
enum LinesError {
    Read(io::Error),
    /// What it has or is, and what to do.
    Unfit(String, &'static str),
}

/// The lines of a file that are not empty.
fn lines_of(path: &Path) -> Result<Vec<String>, LinesError> {
    let unfit = |why: &str, hint| LinesError::Unfit(why.to_owned(), hint);
    let metadata = fs::metadata(path).map_err(LinesError::Read)?;
    if !metadata.is_file() {
        return Err(unfit("is no file", "name a file with an item in each line"));
    }
    let file = fs::File::open(path).map_err(LinesError::Read)?;
    let mut bytes = Vec::new();
    file.take(MAX_LINES_BYTES + 1).read_to_end(&mut bytes).map_err(LinesError::Read)?;
    if bytes.len() as u64 > MAX_LINES_BYTES {
        let why = format!("has more than {}", short_bytes(MAX_LINES_BYTES));
        return Err(LinesError::Unfit(why, "make several jobs of it"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        LinesError::Unfit(format!("is not UTF-8 in line {line}"), "write items as UTF-8")
    })?;
    let lines: Vec<String> =
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let bad = text.lines().zip(1..).find_map(|(line, number)| Some((number, item_problem(line)?)));
    if let Some((number, why)) = bad {
        let why = format!("cannot be items in line {number}: {why}");
        return Err(LinesError::Unfit(why, "write items as plain text of at most 4,096 bytes"));
    }
    match lines.len() {
        0 => Err(unfit("has no line with an item", "write an item in each line")),
        count if count > MAX_TASKS as usize => {
            let most = grouped(u64::from(MAX_TASKS));
            let why =
                format!("has {} lines, and a stage at most {most} tasks", grouped(count as u64));
            Err(LinesError::Unfit(why, "make several jobs of it"))
        }
        _ => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory with a module, some data and a job file of this text.
    fn project(job: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| {
            fs::write(dir.path().join(name), bytes).expect("a file");
        };
        fs::create_dir(dir.path().join("data")).expect("a directory");
        write("a.wasm", b"\0asm\x01\0\0\0");
        write("data/1.csv", b"1");
        write("data/2.csv", b"2");
        write("lines.txt", b"one\r\n\n# two\r\nthree");
        write("latin.txt", b"one\n\xff\n");
        write("empty.txt", b"\n\n");
        write("steering.txt", b"one\n\x1b[2J\n");
        write("job.toml", job.as_bytes());
        let path = dir.path().join("job.toml");
        (dir, path)
    }

    fn planned(stage: &str) -> Result<JobPlan, Vec<String>> {
        let job = format!("[[stage]]\nmodule = \"a.wasm\"\n{stage}");
        let (dir, path) = project(&job);
        let (file, problems) = JobFile::parse(&job);
        assert_eq!(problems, []);
        let here = format!("{}/", dir.path().display());
        file.plan(&path).map_err(|problems| {
            let told = problems.iter().map(|problem| {
                format!("{} {}", &job[problem.span.clone()], problem.message.replace(&here, ""))
            });
            told.collect()
        })
    }

    #[test]
    fn a_job_without_a_name_has_its_files_name() {
        assert_eq!(planned("").expect("a plan").name, "job");
        assert_eq!(name_of(Path::new("a/\u{7}tiles.toml")), "_tiles");
        assert_eq!(name_of(Path::new("..")), "job");
    }

    #[test]
    fn files_are_items_in_the_order_of_their_paths_and_each_once() {
        let plan = planned("foreach = [\"data/2.csv\", \"data/*.csv\"]").expect("a plan");
        let TasksPlan::Files(files) = plan.stage.tasks else { panic!("files") };
        let texts: Vec<&str> = files.iter().map(|file| &file.text[..]).collect();
        assert_eq!(texts, ["data/1.csv", "data/2.csv"]);
    }

    #[test]
    fn lines_are_items_and_only_empty_ones_are_left_out() {
        let plan = planned("foreach.lines = \"lines.txt\"").expect("a plan");
        let lines = ["one", "# two", "three"].map(str::to_owned).to_vec();
        assert_eq!(plan.stage.tasks, TasksPlan::Lines(lines));
    }

    #[test]
    fn all_that_is_not_on_the_disk_is_told_at_once_where_it_is_named() {
        let told = planned(
            "foreach = \"data/*.txt\"\nstdin = \"data\"\ninputs = { a = \"none\", b = \"data\" }\n",
        );
        let expected = [
            "\"none\" there is no `none`",
            "\"data\" `data` is a directory",
            "\"data/*.txt\" the pattern `data/*.txt` matches no file in data",
        ];
        let mut told = told.expect_err("problems");
        told[2].truncate(expected[2].len());
        assert_eq!(told[..2], expected[..2]);
        assert!(told[2].starts_with("\"data/*.txt\" the pattern `data/*.txt` matches no file in "));
    }

    #[test]
    fn a_file_of_lines_that_cannot_be_one_is_told() {
        for (lines, why) in [
            ("latin.txt", "`latin.txt` is not UTF-8 in line 2"),
            ("empty.txt", "`empty.txt` has no line with an item"),
            ("data", "`data` is no file"),
            (
                "steering.txt",
                "`steering.txt` cannot be items in line 2: \"\u{fffd}[2J\" contains a control character",
            ),
            ("none", "there is no `none`"),
        ] {
            let told = planned(&format!("foreach = {{ lines = \"{lines}\" }}"));
            assert_eq!(told, Err(vec![format!("\"{lines}\" {why}")]));
        }
    }

    #[test]
    fn a_module_that_is_none_is_told_for_what_it_is() {
        let job = "[[stage]]\nmodule = \"job.toml\"";
        let (_dir, path) = project(job);
        let problems = JobFile::parse(job).0.plan(&path).expect_err("no module");
        assert!(problems[0].message.contains("not a Wasm module"), "{problems:?}");
    }
}
