//! `weir store`: what there is in the store, and how full it is.

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_sdk::{
    Client,
    data::{Node, Stat, StoreError, TreeEntry},
    proto::{
        digest::Digest,
        job::InputSource,
        units::{grouped, short_bytes},
    },
};

use crate::{
    completions::candidates,
    connect::LookArgs,
    json::store::{Blob, Entry, StoreStat, StoredStat, kind, source_of},
    place::Place,
    source::Stored,
    text::{self, Table},
};

/// Blobs that are asked for at once: a reader who stops early, such as `head`, waits for one page.
const PAGE: u32 = 1_000;

/// Look at the store
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir store stat
  weir store ls | head
  weir store ls name:models/v2")]
pub(crate) enum StoreCommand {
    /// List the blobs of the namespace, or the entries of a tree
    Ls(LsArgs),
    /// Show how full the store is, or what a digest is
    Stat(StatArgs),
}

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir store ls | head
  weir store ls tree:blake3:...
  weir store ls name:models/v2/weights       what is in `weights` of that tree")]
pub(crate) struct LsArgs {
    /// A tree, or something in it: `tree:blake3:...` or `name:NAME`, and `/PATH`
    #[arg(add = candidates::places())]
    place: Option<Place>,
    #[command(flatten)]
    look: LookArgs,
}

/// Arguments of `stat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir store stat
  weir store stat blake3:...
  weir store stat name:words --json | jq .size_bytes")]
pub(crate) struct StatArgs {
    /// A blob or a tree: `blake3:...`, `tree:blake3:...` or `name:NAME`, and `/PATH` in a tree
    #[arg(add = candidates::places())]
    place: Option<Place>,
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the command.
///
/// # Errors
/// When no master answers, or there is no such thing in the store.
pub(crate) async fn run(command: StoreCommand) -> Result<ExitCode> {
    match command {
        StoreCommand::Ls(args) => ls(args).await?,
        StoreCommand::Stat(args) => stat(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(LsArgs { place, look }: LsArgs) -> Result<()> {
    let client = look.master.connect().await?;
    match place {
        None => ls_blobs(&client, look.json).await,
        Some(place) => {
            let found = place.find(&client).await?;
            let entries = match found.source {
                InputSource::Tree(digest) => client.tree(digest).await?.entries().to_vec(),
                InputSource::Blob(_) => match found.entry {
                    Some(entry) => vec![entry],
                    None => bail!("{place} is a blob; `weir store stat` tells its size"),
                },
            };
            ls_entries(&entries, look.json)
        }
    }
}

/// Lists blobs page by page, so that there may be many and a reader may stop.
async fn ls_blobs(client: &Client, json: bool) -> Result<()> {
    let mut after = None;
    loop {
        let page = client.blobs(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        let lines: serde_json::Result<String> = page
            .iter()
            .map(|(digest, size_bytes)| match json {
                true => text::json_line(&Blob::new(*digest, *size_bytes)),
                false => Ok(format!("{digest}  {:>10}\n", short_bytes(*size_bytes))),
            })
            .collect();
        text::print(&lines?)?;
        after = Some(*last);
    }
    if after.is_none() && !json {
        let namespace = client.namespace();
        text::note(&format!(
            "nothing in the store of namespace {namespace} yet; `weir put PATH` puts something there"
        ));
    }
    Ok(())
}

fn ls_entries(entries: &[TreeEntry], json: bool) -> Result<()> {
    if json {
        for entry in entries {
            text::print_json_line(&Entry::from(entry))?;
        }
        return Ok(());
    }
    if entries.is_empty() {
        text::note("the tree is empty");
        return Ok(());
    }
    Ok(text::print_table(&entries_table(entries))?)
}

fn entries_table(entries: &[TreeEntry]) -> Table {
    let mut table = Table::new(&["KIND", ">SIZE", "NAME", "DIGEST"]);
    for entry in entries {
        let (kind, slash) = match entry.node {
            Node::Tree(_) => ("tree", "/"),
            Node::Blob { executable: true, .. } => ("blob*", ""),
            Node::Blob { executable: false, .. } => ("blob", ""),
        };
        table.row([
            kind.to_owned(),
            short_bytes(entry.size_bytes),
            format!("{}{slash}", entry.name),
            source_of(entry.node).to_string(),
        ]);
    }
    table
}

async fn stat(StatArgs { place, look }: StatArgs) -> Result<()> {
    let client = look.master.connect().await?;
    let Some(place) = place else {
        let stat = client.store_stat().await?;
        let namespace = client.namespace().to_string();
        if look.json {
            return text::print_json(&store_stat(namespace, &stat));
        }
        return Ok(text::print(&about_store(&namespace, &stat))?);
    };
    let stat = stat_of(&client, &place).await?;
    if look.json {
        return text::print_json(&stat);
    }
    Ok(text::print(&about_stored(&stat))?)
}

fn store_stat(namespace: String, stat: &Stat) -> StoreStat {
    StoreStat {
        namespace,
        blobs: stat.blobs,
        bytes: stat.bytes,
        disk_free_bytes: stat.disk.map(|(free, _)| free),
        disk_total_bytes: stat.disk.map(|(_, total)| total),
    }
}

fn about_store(namespace: &str, stat: &Stat) -> String {
    let mut out = format!(
        "namespace    {namespace}\nblobs        {}, {}\n",
        grouped(stat.blobs),
        short_bytes(stat.bytes)
    );
    if let Some((free, total)) = stat.disk {
        let (free, total) = (short_bytes(free), short_bytes(total));
        out.push_str(&format!("disk         {free} free of {total}\n"));
    }
    out
}

fn about_stored(stat: &StoredStat) -> String {
    let stored = if stat.stored { "yes" } else { "no" };
    let mut out = format!(
        "digest       {}\nkind         {}\nstored       {stored}, in namespace {}\n",
        stat.digest, stat.kind, stat.namespace
    );
    if let Some(bytes) = stat.size_bytes {
        out.push_str(&format!("size         {} ({} bytes)\n", short_bytes(bytes), grouped(bytes)));
    }
    if let Some(entries) = stat.entries {
        out.push_str(&format!("entries      {}\n", grouped(entries)));
    }
    out
}

/// What is known of something; that a digest is not in the store is an answer too.
async fn stat_of(client: &Client, place: &Place) -> Result<StoredStat> {
    let source = match place {
        Place::Stored(Stored(source), path) if path.is_empty() => *source,
        place => place.find(client).await?.source,
    };
    let (mut size_bytes, mut entries) = (None, None);
    match source {
        InputSource::Blob(digest) => size_bytes = size(client, digest).await?,
        InputSource::Tree(digest) => match client.tree(digest).await {
            Ok(tree) => {
                size_bytes = Some(tree.size_bytes());
                entries = Some(tree.entries().len() as u64);
            }
            Err(StoreError::NotThere { .. }) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(StoredStat {
        digest: source.to_string(),
        kind: kind(source),
        namespace: client.namespace().to_string(),
        stored: size_bytes.is_some(),
        size_bytes,
        entries,
    })
}

/// The size of a blob; none where it is not in the store. Blobs are listed by digest, so the one
/// after the digest before it is either it or another.
async fn size(client: &Client, digest: Digest) -> Result<Option<u64>> {
    let mut before = digest.0;
    for byte in before.iter_mut().rev() {
        let borrows = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrows {
            break;
        }
    }
    let after = (digest.0 != [0; 32]).then_some(Digest(before));
    let next = client.blobs(after, 1).await?;
    Ok(next.first().filter(|(found, _)| *found == digest).map(|(_, size)| *size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn entries_are_listed_with_kind_and_size() {
        let blob = Node::Blob { digest: digest(), executable: false };
        let entries = [
            TreeEntry { name: "a\x1b.txt".to_owned(), node: blob, size_bytes: 7 },
            TreeEntry { name: "deep".to_owned(), node: Node::Tree(digest()), size_bytes: 4 << 20 },
        ];
        let shown = entries_table(&entries).render(None);
        let row = format!("tree  4.00 MiB  deep/   tree:{}", digest());
        assert_eq!(shown.lines().nth(2), Some(&*row), "{shown}");
        assert!(!shown.contains('\x1b'));
    }

    #[test]
    fn a_store_shows_what_is_left_of_its_disk_where_that_is_known() {
        let mut stat = Stat { blobs: 1_234, bytes: 3 << 20, disk: Some((1 << 30, 4 << 30)) };
        let shown = about_store("default", &stat);
        let expected = "namespace    default\nblobs        1,234, 3.00 MiB\ndisk         1.00 GiB \
                        free of 4.00 GiB\n";
        assert_eq!(shown, expected);
        stat.disk = None;
        assert!(!about_store("default", &stat).contains("disk"));
    }
}
