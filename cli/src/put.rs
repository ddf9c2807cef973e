//! `weir put` and `weir get`: bytes into the store and out of it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use weir_sdk::proto::job::InputSource;

use crate::{connect::MasterFlag, source::Stored, text};

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
  weir get tree:blake3:d445... --out tiles")]
pub(crate) struct GetArgs {
    /// `blake3:...` of a blob, `tree:blake3:...` of a tree
    digest: Stored,
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
        let kind = match source {
            InputSource::Blob(_) => "blob",
            InputSource::Tree(_) => "tree",
        };
        text::print_json(&json!({ "digest": Stored(source).to_string(), "kind": kind }))?;
    } else {
        text::print(&format!("{}\n", Stored(source)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gets.
///
/// # Errors
/// When it is not in the store, is corrupt, or cannot be written.
pub(crate) async fn get(args: GetArgs) -> Result<ExitCode> {
    let Stored(source) = args.digest;
    let about = || format!("cannot get {}", args.digest);
    let client = args.master.connect().await?;
    match (args.out, source) {
        (Some(path), source) => client.download(source, &path).await.with_context(about)?,
        (None, InputSource::Tree(_)) => {
            bail!("{} is a tree; name the directory for it with --out", args.digest)
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
