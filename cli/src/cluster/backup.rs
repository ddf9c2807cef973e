//! `weir cluster backup`, and what is done with its file: `check-backup` and `restore`.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use weir_master::backup::{Contents, check, restore};
use weir_sdk::proto::units::{grouped, short_bytes};

use crate::{
    clock, config,
    connect::LookArgs,
    json::backup::{Backup, Restored},
    tally::count,
    text::{self, plain},
};

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster backup weir.backup
  weir cluster backup --force /backups/weir.backup --json | jq .index
  weir cluster backup --without-blobs small.backup

The cluster goes on meanwhile. The backup is of one moment: all that was acknowledged before the command began
is in it. Without blobs it has jobs, results and names, but no module, input or large output: jobs that go on
then need theirs to be put again.")]
pub(crate) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Leave blobs out, but for results
    #[arg(long)]
    without_blobs: bool,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    look: LookArgs,
}

/// Arguments of `check-backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster check-backup weir.backup
  weir cluster check-backup weir.backup --json | jq .taken_ms

Needs no cluster. Exits with 125 where the file is cut off, damaged, or of a newer Weir, and says where.")]
pub(crate) struct CheckArgs {
    /// The file
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir cluster restore weir.backup /var/lib/weir/master
  weir master --data-dir /var/lib/weir/master
  weir cluster restore weir.backup ~/.local/share/weir/master        for `weir dev`

Makes the first master of a new cluster; others join it with `weir master --join`. Stop all masters of the old
cluster first. Tasks without a result run again, but for those with --once: they end as if their agent was lost.")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The new master's directory: empty, or not there yet
    #[arg(value_name = "DATA_DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Takes a backup. It gets its name once it is whole, checked and durable.
///
/// # Errors
/// When there is such a file, it cannot be written, or the cluster does not give all of it.
pub(super) async fn take(args: BackupArgs) -> Result<ExitCode> {
    let file = &args.file;
    let shown = file.display();
    if !args.force && file.symlink_metadata().is_ok() {
        bail!("{shown} is there already; --force replaces it");
    }
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let client = args.look.master.connect().await?;
    let beside = tempfile::Builder::new().prefix(".weir-backup-").tempfile_in(parent);
    let mut beside = beside.with_context(|| format!("cannot write into {}", parent.display()))?;
    let mut backup = client.backup(!args.without_blobs).await?;
    while let Some(bytes) = backup.next().await? {
        beside.write_all(&bytes).with_context(|| format!("cannot write {shown}"))?;
    }
    beside.as_file().sync_all().with_context(|| format!("cannot write {shown}"))?;
    let contents = check(beside.path()).context("the backup is not whole; take it again")?;
    let kept = match args.force {
        true => beside.persist(file),
        false => beside.persist_noclobber(file),
    };
    kept.map_err(|kept| kept.error).with_context(|| format!("cannot write {shown}"))?;
    File::open(parent).and_then(|parent| parent.sync_all())?;
    tell(&contents, file, args.look.json)
}

/// Checks a backup.
///
/// # Errors
/// When it is not whole, or none.
pub(super) fn check_file(args: &CheckArgs) -> Result<ExitCode> {
    tell(&check(&args.file)?, &args.file, args.json)
}

/// Makes a master's data directory of a backup.
///
/// # Errors
/// When the backup is not whole, the directory is not empty, or it cannot be written.
pub(super) async fn restore_to(args: RestoreArgs) -> Result<ExitCode> {
    let restored = restore(&args.file, &args.dir).await?;
    if args.json {
        text::print_json(&Restored::new(&restored, &args.file, &args.dir))?;
        return Ok(ExitCode::SUCCESS);
    }
    let dir = args.dir.display().to_string();
    let dir = plain(&dir);
    let mut out = about(&restored.contents, &args.file);
    out.push_str(&format!("restored     as {} of {}, in {dir}\n", restored.node, restored.cluster));
    if restored.lost_once > 0 {
        let tasks = count(restored.lost_once, "task");
        out.push_str(&format!("lost         {tasks} with --once and without a result\n"));
    }
    out.push_str(&format!("\nstart it with `weir master --data-dir {dir}`\n"));
    say(&out)
}

fn tell(contents: &Contents, file: &Path, json: bool) -> Result<ExitCode> {
    if json {
        text::print_json(&Backup::new(contents, file))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&about(contents, file))
}

fn say(out: &str) -> Result<ExitCode> {
    if !config::current().quiet.value {
        text::print(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn about(contents: &Contents, file: &Path) -> String {
    let blobs = match contents.with_blobs {
        true => grouped(contents.blobs),
        false => "left out".to_owned(),
    };
    format!(
        "backup       {}, {}, whole\ncluster      {}, after log entry {}\ntaken        {}, by \
         version {}\njobs         {}, {} active\nnames        {}\nresults      in {}\nblobs        \
         {blobs}\n",
        plain(&file.display().to_string()),
        short_bytes(contents.bytes),
        contents.cluster,
        grouped(contents.index),
        clock::utc(contents.taken_ms),
        plain(&contents.version),
        grouped(contents.jobs),
        grouped(contents.active_jobs),
        grouped(contents.names),
        count(contents.pages, "page"),
    )
}
