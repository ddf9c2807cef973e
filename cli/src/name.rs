//! `weir name`: names for what is in the store, which may be pointed elsewhere.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use weir_sdk::{
    Client,
    proto::{
        job::InputSource,
        name::{Expected, Name, NamedSource},
    },
    source::Source,
};

use crate::{
    clock::{ago, now_ms},
    completions::candidates,
    connect::{LookArgs, StaleFlag},
    json::{self, store::NameRemoved},
    source::Stored,
    text::{self, Table},
};

/// Give names to what is in the store
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir name set words ./words.txt
  weir name ls
  weir get name:words")]
pub(crate) enum NameCommand {
    /// Point a name at something in the store, or at a path that is put first
    Set(SetArgs),
    /// Print what a name points at
    Get(GetArgs),
    /// List names
    Ls(LsArgs),
    /// Remove a name; what it points at stays in the store
    Rm(RmArgs),
}

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir name set words ./words.txt
  weir name set models/v2 tree:blake3:... --if-absent
  weir run --in text=name:words count.wasm")]
pub(crate) struct SetArgs {
    /// The name: letters, digits, `.`, `_`, `-`, with `/` between parts
    #[arg(add = candidates::names())]
    name: Name,
    /// A path here, a digest, or `name:NAME` of another name
    #[arg(add = candidates::sources())]
    source: Source,
    /// Only if there is no such name yet
    #[arg(long, conflicts_with = "if_points_at")]
    if_absent: bool,
    /// Only if it points at this
    #[arg(long = "if", value_name = "DIGEST", id = "if_points_at")]
    if_points_at: Option<Stored>,
    #[command(flatten)]
    look: LookArgs,
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir name get words
  weir get $(weir name get words)        the same as `weir get name:words`")]
pub(crate) struct GetArgs {
    /// The name
    #[arg(add = candidates::names())]
    name: Name,
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    stale: StaleFlag,
}

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir name ls
  weir name ls models/")]
pub(crate) struct LsArgs {
    /// Only names that begin with this
    #[arg(default_value = "", hide_default_value = true, add = candidates::names())]
    prefix: String,
    #[command(flatten)]
    look: LookArgs,
    #[command(flatten)]
    stale: StaleFlag,
}

/// Arguments of `rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir name rm words
  weir name rm words --if $(weir name get words)")]
pub(crate) struct RmArgs {
    /// The name
    #[arg(add = candidates::names())]
    name: Name,
    /// Only if it points at this
    #[arg(long = "if", value_name = "DIGEST", id = "if_points_at")]
    if_points_at: Option<Stored>,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the command.
///
/// # Errors
/// When no master answers, there is no such name, it is not as expected, or its target cannot be put.
pub(crate) async fn run(command: NameCommand) -> Result<ExitCode> {
    match command {
        NameCommand::Set(args) => set(args).await?,
        NameCommand::Get(args) => get(args).await?,
        NameCommand::Ls(args) => ls(args).await?,
        NameCommand::Rm(args) => rm(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(args: SetArgs) -> Result<()> {
    let about = || format!("cannot set name {}", args.name);
    if let Source::Path(path) = &args.source {
        std::fs::metadata(path).with_context(|| format!("cannot put {}", path.display()))?;
    }
    let expected = match args.if_points_at {
        Some(Stored(source)) => Expected::PointsAt(source),
        None if args.if_absent => Expected::Absent,
        None => Expected::Anything,
    };
    let client = args.look.master.connect().await?;
    let target = target_of(&client, &args.source).await.with_context(about)?;
    client.set_name(&args.name, target, expected).await.with_context(about)?;
    if args.look.json {
        let named = client.name(&args.name).await?;
        return text::print_json(&json::store::Name::from(&named));
    }
    Ok(text::print(&format!("{target}\n"))?)
}

/// What a name shall point at; a path is put first.
async fn target_of(client: &Client, source: &Source) -> Result<InputSource> {
    match source {
        Source::Stored(source) => Ok(*source),
        Source::Path(path) => Ok(client.put_path(path).await?),
        Source::Name(name) => Ok(client.name(name).await?.target),
    }
}

async fn get(args: GetArgs) -> Result<()> {
    let client = args.stale.of(args.look.master.connect().await?);
    let named = client.name(&args.name).await?;
    if args.look.json {
        return text::print_json(&json::store::Name::from(&named));
    }
    Ok(text::print(&format!("{}\n", named.target))?)
}

async fn ls(args: LsArgs) -> Result<()> {
    let client = args.stale.of(args.look.master.connect().await?);
    let (names, more) = client.names(&args.prefix).await?;
    if args.look.json {
        text::print_json(&names.iter().map(json::store::Name::from).collect::<Vec<_>>())?;
    } else if names.is_empty() {
        text::note(&nothing(&client, &args.prefix));
    } else {
        text::print_table(&table(&names, now_ms()))?;
    }
    if more {
        let listed = names.len();
        text::note(&format!(
            "there are more than these {listed} names; a longer prefix tells others"
        ));
    }
    Ok(())
}

async fn rm(args: RmArgs) -> Result<()> {
    let client = args.look.master.connect().await?;
    let expected = args.if_points_at.map_or(Expected::Anything, |at| Expected::PointsAt(at.0));
    let removed = client.remove_name(&args.name, expected).await;
    removed.with_context(|| format!("cannot remove name {}", args.name))?;
    let (name, namespace) = (args.name.to_string(), client.namespace().to_string());
    if args.look.json {
        return text::print_json(&NameRemoved { name, namespace, removed: true });
    }
    Ok(text::print(&format!("name {name} was removed\n"))?)
}

fn nothing(client: &Client, prefix: &str) -> String {
    let namespace = client.namespace();
    if prefix.is_empty() {
        format!("no names in namespace {namespace} yet; `weir name set NAME PATH` makes one")
    } else {
        format!("no name in namespace {namespace} begins with {prefix:?}")
    }
}

fn table(names: &[NamedSource], now_ms: u64) -> Table {
    let mut table = Table::new(&["NAME", "KIND", ">SET", "POINTS AT"]);
    for named in names {
        table.row([
            named.name.to_string(),
            match named.target {
                InputSource::Blob(_) => "blob",
                InputSource::Tree(_) => "tree",
            }
            .to_owned(),
            ago(named.set_ms, now_ms),
            named.target.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::{digest::Digest, id::Namespace};

    use super::*;

    #[test]
    fn a_listed_name_shows_what_it_points_at_and_since_when() {
        let named = NamedSource {
            namespace: Namespace::default_namespace(),
            name: "models/v2".parse().expect("a name"),
            target: InputSource::Tree(Digest::of(b"x")),
            set_ms: 1_000,
        };
        let shown = table(std::slice::from_ref(&named), 61_000).render(None);
        let row = shown.lines().nth(1).expect("a row");
        let expected = format!("models/v2  tree  1m00s ago  {}", named.target);
        assert_eq!(row, expected);
    }
}
