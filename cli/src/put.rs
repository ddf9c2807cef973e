//! `weir put` and `weir get`: bytes into the store and out of it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use weir_sdk::{
    Client,
    precompile::AgentPrecompiled,
    proto::{agent::Precompiled, job::InputSource, metering::Metering},
};

use crate::{
    completions::candidates, connect::MasterFlag, json, place::Place, tally,
    task_flags::metering_parser, text,
};

/// Longest wait for agents to compile a module: longer than one may take by its agent's limits.
const PRECOMPILE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Put a file or a directory into the store and print its digest
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir put tiles                                   prints tree:blake3:...
  weir run --in tiles=$(weir put tiles) stitch.wasm
  weir put book.txt --json
  weir put --precompile tile.wasm                  agents compile it before tasks need it

It prints `blake3:...` of a file, `tree:blake3:...` of a directory.")]
pub(crate) struct PutArgs {
    /// The file or directory
    path: PathBuf,
    /// Let all agents compile the module, and wait until they have; those of which tasks wait go
    /// first
    #[arg(long)]
    precompile: bool,
    /// For tasks whose use is counted by `fuel` or by `epoch` [default: fuel]
    #[arg(long, value_name = "HOW", value_parser = metering_parser(), requires = "precompile")]
    metering: Option<Metering>,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Get a blob or a tree from the store
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir get blake3:6437... > book.txt
  weir get tree:blake3:d445... --out tiles
  weir get name:models/v2/README.md                a file in the tree of a name")]
pub(crate) struct GetArgs {
    /// `blake3:...` of a blob, `tree:blake3:...` of a tree or `name:NAME`, and `/PATH` in a tree
    #[arg(value_name = "DIGEST", add = candidates::places())]
    place: Place,
    /// Where to write: a file, or the directory of a tree [default: a blob goes to stdout]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    master: MasterFlag,
}

/// Puts.
///
/// # Errors
/// When the path cannot be read, or the store does not take it.
pub(crate) async fn put(args: PutArgs) -> Result<ExitCode> {
    let about = || format!("cannot put {}", args.path.display());
    let metadata = std::fs::metadata(&args.path).with_context(about)?;
    if args.precompile && metadata.is_dir() {
        bail!("{} is a directory; name the module that agents are to compile", args.path.display());
    }
    let client = args.master.connect().await?;
    let source = client.put_path(&args.path).await.with_context(about)?;
    if !args.json {
        text::print(&format!("{source}\n"))?;
    }
    let compiled = match args.precompile {
        true => Some(precompile(&client, source, &args).await?),
        false => None,
    };
    if args.json {
        text::print_json(&json::store::Put::new(source, compiled.as_deref()))?;
    }
    tell_compiled(&args.path, compiled.as_deref().unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

/// What came of a module on each agent.
async fn precompile(
    client: &Client,
    source: InputSource,
    args: &PutArgs,
) -> Result<Vec<AgentPrecompiled>> {
    let about = || format!("{} is put, but agents cannot compile it", args.path.display());
    let metering = args.metering.unwrap_or_default();
    // Made a directory since it was looked at: trees are no modules either.
    let InputSource::Blob(module) = source else { bail!("{}: it is a directory", about()) };
    let precompiling = client.precompile(module, metering).await.with_context(about)?;
    let told = precompiling.wait(PRECOMPILE_TIMEOUT).await.with_context(about)?;
    match told.len() {
        0 if metering == Metering::Fuel => {
            text::note("no agent is connected, so nobody compiled it");
        }
        0 => text::note(&format!(
            "no agent is connected that runs tasks metered by {metering}, so nobody compiled it"
        )),
        agents => {
            let ready = told.iter().filter(|told| told.came == Some(Precompiled::Ready)).count();
            let agents = tally::count(agents as u64, "agent");
            text::note(&format!("{ready} of {agents} can run it at once"));
        }
    }
    Ok(told)
}

/// Tells on which agents a module was not compiled, and why.
///
/// # Errors
/// When there are any.
fn tell_compiled(path: &Path, told: &[AgentPrecompiled]) -> Result<()> {
    let why = |told: &AgentPrecompiled| {
        let why = match &told.came {
            Some(Precompiled::Ready) => return None,
            Some(Precompiled::Refused { reason } | Precompiled::Failed { reason }) => reason,
            None => "it has not compiled it yet",
        };
        Some(format!("- agent {}: {why}", told.agent))
    };
    let failed: Vec<String> = told.iter().filter_map(why).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} is put, but was not compiled everywhere:\n{}", path.display(), failed.join("\n"))
}

/// Gets.
///
/// # Errors
/// When it is not in the store, is corrupt, or cannot be written.
pub(crate) async fn get(args: GetArgs) -> Result<ExitCode> {
    let about = || format!("cannot get {}", args.place);
    let client = args.master.connect().await?;
    let source = args.place.find(&client).await?.source;
    match (args.out, source) {
        (Some(path), source) => client.download(source, &path).await.with_context(about)?,
        (None, InputSource::Tree(_)) => {
            bail!("{} is a tree; name the directory for it with --out", args.place)
        }
        (None, InputSource::Blob(digest)) => {
            let mut blob = client.open(digest).await.with_context(about)?;
            while let Some(chunk) = blob.next_chunk().await.with_context(about)? {
                if std::io::stdout().is_terminal() && chunk.contains(&0) {
                    bail!("{digest} is binary and stdout is a terminal; name a file with --out");
                }
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&chunk).context("cannot write to stdout")?;
            }
            std::io::stdout().lock().flush().context("cannot write to stdout")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
