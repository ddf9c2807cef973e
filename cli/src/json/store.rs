//! What is in the store, and names for it, as `--json` prints them.

use schemars::JsonSchema;
use serde::Serialize;
use weir_sdk::{
    data::{Node, TreeEntry},
    precompile::AgentPrecompiled,
    proto::{agent::Precompiled, digest::Digest, job::InputSource, name::NamedSource},
};

/// What `put` put.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Put {
    /// `blake3:...` or `tree:blake3:...`
    digest: String,
    /// `blob` or `tree`.
    kind: &'static str,
    /// What came of it on each agent, with `--precompile`.
    compiled: Option<Vec<Compiled>>,
}

/// What came of a module on an agent.
#[derive(Debug, Serialize, JsonSchema)]
struct Compiled {
    /// The agent's name.
    agent: String,
    /// `ready`, `refused` (tasks can never run it there), `failed` (it could not be compiled now) or
    /// `late` (it has not told yet).
    result: &'static str,
    /// Why it is not ready.
    reason: Option<String>,
}

impl From<&AgentPrecompiled> for Compiled {
    fn from(told: &AgentPrecompiled) -> Compiled {
        let (result, reason) = match told.came.clone() {
            Some(Precompiled::Ready) => ("ready", None),
            Some(Precompiled::Refused { reason }) => ("refused", Some(reason)),
            Some(Precompiled::Failed { reason }) => ("failed", Some(reason)),
            None => ("late", None),
        };
        Compiled { agent: told.agent.clone(), result, reason }
    }
}

/// A blob of the namespace: a line of `store ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Blob {
    /// `blake3:...`
    digest: String,
    /// How many bytes.
    size_bytes: u64,
}

/// An entry of a tree: a line of `store ls TREE`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Entry {
    /// One path component.
    name: String,
    /// `blob` or `tree`.
    kind: &'static str,
    /// Of the blob, or of everything beneath the tree.
    size_bytes: u64,
    /// Whether a blob may be run.
    executable: bool,
    /// `blake3:...` or `tree:blake3:...`
    digest: String,
}

/// How full the store is, as `store stat` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StoreStat {
    /// Whose blobs are counted.
    pub(crate) namespace: String,
    /// How many.
    pub(crate) blobs: u64,
    /// Their bytes together.
    pub(crate) bytes: u64,
    /// Free on the store's disk, where the system tells.
    pub(crate) disk_free_bytes: Option<u64>,
    /// All there is on the store's disk.
    pub(crate) disk_total_bytes: Option<u64>,
}

/// Something in the store, as `store stat DIGEST` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StoredStat {
    /// `blake3:...` or `tree:blake3:...`
    pub(crate) digest: String,
    /// `blob` or `tree`.
    pub(crate) kind: &'static str,
    /// Where it was looked for.
    pub(crate) namespace: String,
    /// Whether it is there.
    pub(crate) stored: bool,
    /// Of the blob, or of everything beneath the tree.
    pub(crate) size_bytes: Option<u64>,
    /// Entries of the tree.
    pub(crate) entries: Option<u64>,
}

/// A name, as `name get`, `name ls` and `name set` print it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Name {
    /// The name.
    name: String,
    /// Whose it is.
    namespace: String,
    /// What it points at: `blake3:...` or `tree:blake3:...`
    target: String,
    /// When it was last pointed somewhere, in Unix milliseconds.
    set_ms: u64,
}

/// What `name rm` removed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NameRemoved {
    /// The name.
    pub(crate) name: String,
    /// Whose it was.
    pub(crate) namespace: String,
    /// Always true.
    pub(crate) removed: bool,
}

impl Put {
    /// Of what was put.
    pub(crate) fn new(source: InputSource, compiled: Option<&[AgentPrecompiled]>) -> Put {
        let compiled = compiled.map(|told| told.iter().map(Compiled::from).collect());
        Put { digest: source.to_string(), kind: kind(source), compiled }
    }
}

impl Blob {
    /// A blob of such a size.
    pub(crate) fn new(digest: Digest, size_bytes: u64) -> Blob {
        Blob { digest: digest.to_string(), size_bytes }
    }
}

impl From<&TreeEntry> for Entry {
    fn from(entry: &TreeEntry) -> Entry {
        let source = source_of(entry.node);
        Entry {
            name: entry.name.clone(),
            kind: kind(source),
            size_bytes: entry.size_bytes,
            executable: matches!(entry.node, Node::Blob { executable: true, .. }),
            digest: source.to_string(),
        }
    }
}

impl From<&NamedSource> for Name {
    fn from(named: &NamedSource) -> Name {
        Name {
            name: named.name.to_string(),
            namespace: named.namespace.to_string(),
            target: named.target.to_string(),
            set_ms: named.set_ms,
        }
    }
}

/// What an entry names.
pub(crate) fn source_of(node: Node) -> InputSource {
    match node {
        Node::Blob { digest, .. } => InputSource::Blob(digest),
        Node::Tree(digest) => InputSource::Tree(digest),
    }
}

/// The word for what a source is.
pub(crate) fn kind(source: InputSource) -> &'static str {
    match source {
        InputSource::Blob(_) => "blob",
        InputSource::Tree(_) => "tree",
    }
}
