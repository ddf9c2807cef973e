//! `weir put` and `weir get`: bytes into the store and out of it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use weir_sdk::proto::job::InputSource;

use crate::{completions::candidates, connect::MasterFlag, json, place::Place, text};

/// Put a file or a directory into the store and print its digest
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir put tiles                                   prints tree:blake3:...
  weir run --in tiles=$(weir put tiles) stitch.wasm
  weir put book.txt --json

It prints `blake3:...` of a file, `tree:blake3:...` of a directory.")]
pub(crate) struct PutArgs {
    /// The file or directory
    path: PathBuf,
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
    std::fs::metadata(&args.path).with_context(about)?;
    let client = args.master.connect().await?;
    let source = client.put_path(&args.path).await.with_context(about)?;
    if args.json {
        text::print_json(&json::store::Put::new(source))?;
    } else {
        text::print(&format!("{source}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
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
