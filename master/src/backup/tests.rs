//! A backup whole, damaged anywhere, cut off anywhere, and made a master again.

#[path = "../../../proto/tests/golden/files.rs"]
mod files;

use std::{fs, path::Path};

use bytes::Bytes;
use prost::Message as _;
use tempfile::TempDir;
use weir_proto::{id::ClusterId, wire};
use weir_scheduler::{
    apply::apply,
    members::{Role, genesis},
    snapshot,
};
use weir_store::blobs::{BlobStore, SMALL_BLOB_BYTES};

use super::*;
use crate::{
    control::Control,
    log::{Log as _, RedbLog},
};

const GOLDEN: &str = "tests/golden/backup-1.hex";

fn namespace(name: &str) -> Namespace {
    name.parse().expect("a namespace")
}

/// Blobs of two namespaces; a large one is as short as can be.
fn blobs() -> Vec<(Namespace, Bytes)> {
    let mut large = vec![0; SMALL_BLOB_BYTES as usize + 1];
    large[7] = 1;
    vec![
        (namespace("blue"), Bytes::from_static(b"first")),
        (namespace("blue"), Bytes::from_static(b"other")),
        (namespace("blue"), Bytes::new()),
        (namespace("default"), Bytes::from_static(b"first")),
        (namespace("default"), large.into()),
    ]
}

/// A backup, section by section.
fn sections(blobs: &[(Namespace, Bytes)]) -> Vec<Vec<u8>> {
    let (mut encoder, header) = Encoder::new();
    let about = wire::BackupAbout {
        cluster: 0xc3,
        index: 1,
        term: 5,
        taken_ms: 1_700_000_000_000,
        version: "0.1.0".to_owned(),
        without_blobs: false,
    };
    let mut state = genesis([(weir_proto::id::NodeId(7), "10.0.0.7:7400".to_owned())]);
    // As it was before there were levels.
    state.feature_level = 0;
    let page = Bytes::from_static(b"a page");
    let mut sections = vec![header, encoder.section(Tag::About, &about.encode_to_vec())];
    sections.push(encoder.section(Tag::State, &snapshot::encode(&state)));
    let entry = |namespace: &Namespace, blob: &Bytes| {
        [&entry_head(namespace, Digest::of(blob)), &blob[..]].concat()
    };
    sections.push(encoder.section(Tag::Page, &entry(&namespace("blue"), &page)));
    for (namespace, blob) in blobs {
        sections.push(encoder.section(Tag::Blob, &entry(namespace, blob)));
    }
    sections.push(encoder.end());
    sections
}

fn backup() -> Vec<u8> {
    sections(&blobs()).concat()
}

/// A backup in which every byte can be tried.
fn short_backup() -> Vec<u8> {
    sections(&blobs()[..4]).concat()
}

fn checked(bytes: &[u8]) -> Result<Contents, BackupError> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    fs::write(&file, bytes).expect("written");
    check(&file)
}

#[test]
fn a_backup_of_an_earlier_binary_is_read_and_written_as_it_was() {
    if files::is_update() {
        files::write(GOLDEN, &[("backup", backup())]);
    }
    let [(_, golden)] = &files::read(GOLDEN)[..] else { panic!("one file in {GOLDEN}") };
    assert!(*golden == backup(), "a backup is written otherwise than it was");
    let contents = checked(golden).expect("a backup of an earlier binary");
    assert_eq!((contents.cluster, contents.index), (ClusterId(0xc3), 1));
    assert_eq!((contents.pages, contents.blobs, contents.with_blobs), (1, 5, true));
    assert_eq!(contents.bytes, golden.len() as u64);
}

#[test]
fn a_backup_of_a_newer_binary_is_refused_with_both_formats() {
    let mut newer = backup();
    newer[MAGIC.len()..MAGIC.len() + 4].copy_from_slice(&2u32.to_le_bytes());
    let sum = blake3::hash(&newer[..MAGIC.len() + 4]);
    newer[MAGIC.len() + 4..HEADER_BYTES].copy_from_slice(sum.as_bytes());
    let refused = checked(&newer).expect_err("nobody knows format 2 yet");
    assert!(refused.to_string().contains("has format 2; this binary knows format 1"), "{refused}");
}

#[test]
fn a_byte_that_changed_is_noticed_wherever_it_is_and_the_place_is_told() {
    let whole = short_backup();
    assert!(checked(&whole).is_ok());
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        fs::write(&file, &damaged).expect("written");
        let at = at as u64;
        match check(&file).expect_err("damaged") {
            BackupError::NotABackup { .. } => assert!(at < MAGIC.len() as u64, "byte {at}"),
            BackupError::Damaged { from, to, what, .. } => {
                assert!((from..to).contains(&at), "byte {at} is not in {from} to {to}: {what}");
            }
            BackupError::Cut { from, .. } => assert!(from <= at, "byte {at} is before {from}"),
            refused => panic!("byte {at}: {refused}"),
        }
    }
}

#[test]
fn a_backup_that_was_cut_off_is_noticed_wherever_it_ends() {
    let whole = short_backup();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).expect("written");
        match check(&file).expect_err("cut off") {
            BackupError::NotABackup { .. } => assert!(length < MAGIC.len() + 4, "{length} bytes"),
            BackupError::Cut { from, .. } => assert!(from <= length as u64, "{length} bytes"),
            refused => panic!("{length} bytes: {refused}"),
        }
    }
}

#[test]
fn sections_that_stand_elsewhere_or_are_too_many_or_too_few_are_noticed() {
    let whole = sections(&blobs());
    let (first_blob, end) = (4, whole.len() - 1);
    let mut swapped = whole.clone();
    swapped.swap(first_blob, first_blob + 1);
    let mut fewer = whole.clone();
    fewer.remove(end - 1);
    let mut longer = whole.clone();
    longer.push(b"and more".to_vec());
    let mut twice = whole.clone();
    twice.insert(end, whole[end - 1].clone());
    // Each section of it is whole, and stands where it should.
    let mut spliced = whole;
    let others = [(namespace("blue"), Bytes::from_static(b"fiRst"))];
    spliced[first_blob] = sections(&others)[first_blob].clone();
    for damaged in [swapped, fewer, longer, twice, spliced] {
        let refused = checked(&damaged.concat()).expect_err("not as it was written");
        assert!(matches!(refused, BackupError::Damaged { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_master_goes_on_from_a_backup_in_a_cluster_of_its_own() {
    let place = tempfile::tempdir().expect("a directory");
    let (file, dir) = (place.path().join("backup"), place.path().join("new"));
    fs::write(&file, backup()).expect("written");
    // An empty directory is as good as none.
    fs::create_dir(&dir).expect("made");
    let restored = restore(&file, &dir).await.expect("restored");
    assert_ne!(restored.cluster, ClusterId(0xc3));

    let mut log = RedbLog::open(&dir.join("raft")).expect("a log");
    let identity = log.identity().expect("readable").expect("it is somebody's");
    assert_eq!((identity.cluster, identity.node), (restored.cluster, restored.node));
    let recovered = log.recover().expect("readable");
    let master = Control::new(identity, &recovered, 1, apply).expect("a master");
    assert!(master.term() > 5, "no lease of the old cluster has its term");
    let (node, member) = master.state().members.get_min().expect("a member");
    assert_eq!((*node, member.role, master.state().members.len()), (identity.node, Role::Voter, 1));

    let store = BlobStore::open(dir.join("store")).await.expect("a store");
    for (namespace, blob) in blobs() {
        assert_eq!(store.get(&namespace, Digest::of(&blob)).await.expect("there"), blob);
    }
    assert!(store.get(&namespace("blue"), Digest::of(b"a page")).await.is_ok());
    assert_eq!(
        store.namespaces().await.expect("listed"),
        [namespace("blue"), namespace("default")]
    );
}

#[tokio::test]
async fn what_cannot_be_restored_leaves_the_directory_as_it_was() {
    let place = tempfile::tempdir().expect("a directory");
    let (file, dir) = (place.path().join("backup"), place.path().join("new"));
    let mut damaged = backup();
    let last_blob = damaged.len() - 200;
    damaged[last_blob] ^= 1;
    fs::write(&file, damaged).expect("written");
    let refused = restore(&file, &dir).await.expect_err("damaged");
    assert!(matches!(refused, RestoreError::Backup(BackupError::Damaged { .. })), "{refused}");
    assert_eq!(names(&place), ["backup"]);

    fs::write(&file, backup()).expect("written");
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("notes"), "mine").expect("written");
    let refused = restore(&file, &dir).await.expect_err("something is there");
    assert!(matches!(refused, RestoreError::NotEmpty { .. }), "{refused}");
    assert_eq!(names(&place), ["backup", "new"]);
    assert_eq!(fs::read_to_string(dir.join("notes")).expect("still there"), "mine");
}

fn names(dir: &TempDir) -> Vec<String> {
    let path: &Path = dir.path();
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(path).expect("readable").map(name).collect();
    names.sort();
    names
}
